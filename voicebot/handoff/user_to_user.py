"""The ``User-to-User`` header (RFC 7433): the small identifier that travels in band.

User-to-User: 63616c6c3d633132;encoding=hex        the bytes ``call=c12``
Refer-To: <sip:2000@pbx?User-to-User=63616c6c3d633132%3Bencoding%3Dhex>   for desks that read it there
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from voicebot.core.errors import ProtocolError

HEADER: Final = "User-to-User"
MAX_BYTES: Final = 128  # what an ISDN on the way carries at most (ITU-T Q.931 4.5.30)
_VALUE: Final = re.compile(r"\s*(?P<data>[0-9A-Fa-f]*)\s*(?P<parameters>(?:;[^;]*)*)\s*")


def encode_user_to_user(data: bytes) -> str:
    """Header value of ``data``, at most 128 bytes.

    Raises:
        ValueError: It is empty or too long.
    """
    if not 0 < len(data) <= MAX_BYTES:
        raise ValueError(f"user-to-user data has {len(data)} bytes, 1 to {MAX_BYTES} are allowed")
    return f"{data.hex()};encoding=hex"


def decode_user_to_user(value: str) -> bytes:
    """The bytes of a header value; ``encoding=hex`` is the default (RFC 7433 section 4.1).

    Raises:
        ProtocolError: Another encoding, or no hexadecimal digits.
    """
    found = _VALUE.fullmatch(value)
    if not found or len(found["data"]) % 2 or not found["data"]:
        raise ProtocolError("user-to-user: no hexadecimal value")
    for parameter in found["parameters"].split(";"):
        name, _, setting = parameter.partition("=")
        if name.strip().lower() == "encoding" and setting.strip().lower() != "hex":
            raise ProtocolError("user-to-user: unknown encoding")
    return bytes.fromhex(found["data"])


def encode_fields(fields: Mapping[str, str]) -> str:
    """Header value of named fields (as a URL query); what does not fit is left out."""
    kept: dict[str, str] = {}
    for name, text in fields.items():
        if text and len(urlencode({**kept, name: text})) <= MAX_BYTES:
            kept[name] = text
    return encode_user_to_user(urlencode(kept).encode()) if kept else ""


def decode_fields(value: str) -> dict[str, str]:
    """What ``encode_fields`` put in.

    Raises:
        ProtocolError: As ``decode_user_to_user``.
    """
    return dict(parse_qsl(decode_user_to_user(value).decode("utf-8", "replace")))


def in_refer_to(uri: str, value: str) -> str:
    """``uri`` with the header inside it (RFC 3261 19.1.1: escaped)."""
    return f"{uri}?{HEADER}={quote(value, safe='')}" if value else uri
