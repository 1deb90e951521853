"""Text that a peer chose, made safe for logs, files, JSON and screens.

pjsua2 hands header text over as it came: invalid UTF-8 as lone surrogates (which msgspec, orjson and
sqlite3 refuse), NUL, ESC, bidirectional marks, any length. It passes through here once, at the boundary.
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

MAX_TEXT_CHARS: Final = 256
MAX_HEADER_CHARS: Final = 512
MAX_HEADERS: Final = 32
_MAX_HEADER_LINES: Final = 256
_REPLACEMENT: Final = "\ufffd"

_COMPACT: Final = {
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "v": "via",
    "c": "content-type",
    "l": "content-length",
    "s": "subject",
    "k": "supported",
    "r": "refer-to",
    "b": "referred-by",
}
_FOR_DIALPLAN: Final = frozenset(
    {"user-to-user", "diversion", "p-asserted-identity", "remote-party-id", "subject", "reason"}
)
# RFC 3261 §25.1, token.
_TOKEN: Final = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}")
_NAME_ADDR: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<([^>]*)>')
_URI: Final = re.compile(r"\s*(sips?|tel):(?:([^@;>\s]*)@)?([^;>?\s]*)", re.IGNORECASE)
# What the stack writes itself, or what would change where a message goes.
_RESERVED: Final = frozenset(
    [
        "via",
        "from",
        "to",
        "call-id",
        "cseq",
        "contact",
        "max-forwards",
        "content-length",
        "content-type",
        "route",
        "record-route",
        "require",
        "proxy-require",
        "supported",
        "allow",
        "expires",
        "authorization",
        "proxy-authorization",
        "www-authenticate",
        "proxy-authenticate",
        "refer-to",
        "referred-by",
        "replaces",
        "event",
        "session-expires",
        "min-se",
    ]
)


def clean_peer_text(text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
    """At most ``max_chars`` characters; all that do not print become U+FFFD.

    That covers control characters, line breaks, bidirectional and zero-width marks and lone surrogates.
    """
    cut = text[:max_chars]
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else _REPLACEMENT for c in cut)


@dataclass(frozen=True, slots=True)
class NameAddress:
    """A From, To or Contact value, cleaned: ``"Ann" <sip:ann@example.org>;tag=1``."""

    display_name: str = ""
    user: str = ""
    host: str = ""


def parse_name_address(value: str) -> NameAddress:
    """Read what can be read; parts that are missing or malformed stay empty."""
    found = _NAME_ADDR.match(value)
    name, uri = ("", value)
    if found:
        name = re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]
        uri = found[3]
    address = _URI.match(uri)
    if not address:
        return NameAddress(display_name=clean_peer_text(name.strip()))
    scheme, user, host = address.groups()
    if scheme.lower() == "tel":
        user, host = host, ""
    user = unquote((user or "").partition(":")[0])
    return NameAddress(
        clean_peer_text(name.strip()), clean_peer_text(user, 128), clean_peer_text(host, 128)
    )


def parse_sip_headers(message: str) -> list[tuple[str, str]]:
    """Headers of a SIP message in order, names in lower case and spelt out, values raw but unfolded."""
    head = message.replace("\r\n", "\n").partition("\n\n")[0]
    lines = re.sub(r"\n[ \t]+", " ", head).split("\n")[1 : 1 + _MAX_HEADER_LINES]
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if colon and name:
            headers.append((_COMPACT.get(name, name), value.strip()))
    return headers


def request_uri(message: str) -> str:
    """The Request-URI of a SIP request, raw; empty when the first line has none."""
    parts = message.split("\n", 1)[0].split(" ")
    return parts[1] if len(parts) > 2 else ""


def dialplan_headers(headers: list[tuple[str, str]]) -> dict[str, str]:
    """The headers a dialplan may want: X-* and a few that carry identity, cleaned and bounded.

    The first of several headers of one name counts.
    """
    kept: dict[str, str] = {}
    for name, value in headers:
        wanted = name.startswith("x-") or name in _FOR_DIALPLAN
        if wanted and name not in kept and _TOKEN.fullmatch(name) and len(kept) < MAX_HEADERS:
            kept[name] = clean_peer_text(value, MAX_HEADER_CHARS)
    return kept


def outgoing_headers(headers: dict[str, str]) -> dict[str, str]:
    """What of ``headers`` may be put on a message of ours: no reserved name, no line break, bounded."""
    return {
        name: clean_peer_text(value, MAX_HEADER_CHARS)
        for name, value in list(headers.items())[:MAX_HEADERS]
        if _TOKEN.fullmatch(name) and name.lower() not in _RESERVED
    }
