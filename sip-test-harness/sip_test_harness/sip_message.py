"""SIP messages: parsing and building (RFC 3261 sections 7 and 25), written for a test caller.

Bytes that are not UTF-8 survive a round trip (surrogate escapes), because a test wants to send
and see them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sip_test_harness.errors import SyntaxRefusedError

_COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}
_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_STATUS: Final = re.compile(r"SIP/2\.0 (\d{3})(?: (.*))?", re.DOTALL)
_REQUEST: Final = re.compile(r"(\S+) (\S+) SIP/2\.0")
MAGIC_COOKIE: Final = "z9hG4bK"
"""A branch that begins so is globally unique (RFC 3261 8.1.1.7)."""

Header = tuple[str, str]


def canonical(name: str) -> str:
    """Return a header name in lower case, compact forms written out."""
    low = name.strip().lower()
    return _COMPACT.get(low, low)


def split_commas(value: str) -> list[str]:
    """Split a header value at commas outside quotes and angle brackets."""
    parts: list[str] = []
    start = depth = 0
    quoted = escaped = False
    for index, char in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            depth += 1
        elif char == ">":
            depth = max(0, depth - 1)
        elif char == "," and depth == 0:
            parts.append(value[start:index].strip())
            start = index + 1
    parts.append(value[start:].strip())
    return [part for part in parts if part]


def address_uri(value: str) -> str:
    """Return the URI in a From, To, Contact, Route or Refer-To value."""
    found = re.search(r"<([^>]*)>", value)
    return found.group(1) if found else value.split(";", maxsplit=1)[0].strip()


def parameter(value: str, name: str) -> str | None:
    """Return a header parameter (after the closing bracket), "" when it has no value."""
    tail = value[value.rfind(">") + 1 :]
    for part in tail.split(";")[0 if ">" in value else 1 :]:
        key, _, content = part.partition("=")
        if key.strip().lower() == name:
            return content.strip().strip('"')
    return None


@dataclass
class SipMessage:
    """What requests and responses share: ordered headers and a body."""

    headers: list[Header] = field(default_factory=list)
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Return every value of a header, top first, not split at commas."""
        wanted = canonical(name)
        return [value for key, value in self.headers if canonical(key) == wanted]

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a header, or the default."""
        values = self.all(name)
        return values[0] if values else default

    def listed(self, name: str) -> list[str]:
        """Return the values of a list header (Via, Route, Contact), split at commas."""
        return [part for value in self.all(name) for part in split_commas(value)]

    @property
    def call_id(self) -> str:
        """The Call-ID, or ""."""
        return self.get("call-id")

    @property
    def branch(self) -> str:
        """The branch parameter of the topmost Via, or ""."""
        vias = self.listed("via")
        return (parameter(vias[0], "branch") or "") if vias else ""

    @property
    def cseq(self) -> tuple[int, str]:
        """Sequence number and method; (0, "") when missing or malformed."""
        number, _, method = self.get("cseq").strip().partition(" ")
        return (int(number), method.strip()) if number.isdecimal() else (0, "")

    @property
    def from_tag(self) -> str:
        """The tag of From, or ""."""
        return parameter(self.get("from"), "tag") or ""

    @property
    def to_tag(self) -> str:
        """The tag of To, or ""."""
        return parameter(self.get("to"), "tag") or ""

    @property
    def contact_uri(self) -> str:
        """The URI of the first Contact, or ""."""
        contacts = self.listed("contact")
        return address_uri(contacts[0]) if contacts else ""

    @property
    def start_line(self) -> str:
        """The first line, without its line end."""
        raise NotImplementedError

    def encode(self) -> bytes:
        """Return the bytes to send; Content-Length is added when it is missing."""
        lines = [self.start_line, *(f"{name}: {value}" for name, value in self.headers)]
        if not self.all("content-length"):
            lines.append(f"Content-Length: {len(self.body)}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        return head.encode("utf-8", "surrogateescape") + self.body


@dataclass
class SipRequest(SipMessage):
    """A SIP request."""

    method: str = "OPTIONS"
    uri: str = ""

    @property
    def start_line(self) -> str:
        """The request line."""
        return f"{self.method} {self.uri} SIP/2.0"


@dataclass
class SipResponse(SipMessage):
    """A SIP response."""

    status: int = 200
    reason: str = "OK"

    @property
    def start_line(self) -> str:
        """The status line."""
        return f"SIP/2.0 {self.status} {self.reason}"


def parse(data: bytes) -> SipRequest | SipResponse:
    """Parse one datagram.

    Raises:
        SyntaxRefusedError: no SIP start line, a broken header, or a body shorter than stated.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise SyntaxRefusedError("no empty line ends the headers")
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    headers: list[Header] = []
    for line in lines[1:]:
        if line[:1] in {" ", "\t"}:
            if not headers:
                raise SyntaxRefusedError("a continuation line before any header")
            name, value = headers[-1]
            headers[-1] = (name, f"{value} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name.strip()):
            raise SyntaxRefusedError(f"not a header: {line[:60]!r}")
        headers.append((name.strip(), value.strip()))
    message = _start(lines[0])
    message.headers = headers
    length = message.get("content-length")
    if length:
        if not length.isdecimal() or int(length) > len(body):
            raise SyntaxRefusedError(f"Content-Length {length!r} but {len(body)} bytes of body")
        body = body[: int(length)]
    message.body = body
    return message


def _start(line: str) -> SipRequest | SipResponse:
    status = _STATUS.fullmatch(line)
    if status:
        return SipResponse(status=int(status.group(1)), reason=status.group(2) or "")
    request = _REQUEST.fullmatch(line)
    if not request:
        raise SyntaxRefusedError(f"not a SIP start line: {line[:60]!r}")
    return SipRequest(method=request.group(1), uri=request.group(2))


def response_to(
    request: SipRequest,
    status: int,
    reason: str,
    *,
    to_tag: str = "",
    headers: list[Header] | None = None,
    body: bytes = b"",
) -> SipResponse:
    """Build a response with the headers that RFC 3261 8.2.6.2 copies from the request."""
    copied = [
        (name, value)
        for name, value in request.headers
        if canonical(name) in {"via", "from", "call-id", "cseq", "record-route"}
    ]
    to = request.get("to")
    if to_tag and parameter(to, "tag") is None:
        to = f"{to};tag={to_tag}"
    return SipResponse(
        headers=[*copied, ("To", to), *(headers or [])], body=body, status=status, reason=reason
    )


@dataclass(frozen=True)
class SipUri:
    """A sip: URI cut into parts; the port defaults to 5060."""

    user: str
    host: str
    port: int
    parameters: str = ""

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"sip:{user}{self.host}:{self.port}{self.parameters}"


_URI: Final = re.compile(r"sip:(?:([^@]*)@)?([A-Za-z0-9.\-]+)(?::(\d{1,5}))?([;?].*)?")


def parse_uri(text: str) -> SipUri:
    """Parse ``sip:user@host:port;parameters``.

    Raises:
        SyntaxRefusedError: another scheme, no host, or a port above 65535.
    """
    found = _URI.fullmatch(text.strip())
    if not found or int(found.group(3) or 5060) > 65535:
        raise SyntaxRefusedError(f"not a SIP address: {text[:80]!r} (sip:user@host:port)")
    return SipUri(
        found.group(1) or "", found.group(2), int(found.group(3) or 5060), found.group(4) or ""
    )
