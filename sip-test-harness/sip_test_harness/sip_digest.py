"""Digest authentication of a client (RFC 7616, RFC 2617 for MD5 without qop)."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sip_test_harness.errors import SyntaxRefusedError

_PAIR: Final = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


@dataclass(frozen=True)
class Credentials:
    """User name and password for digest challenges."""

    user: str
    password: str


def answer_challenge(
    challenge: str,
    credentials: Credentials,
    method: str,
    uri: str,
    cnonce: str | None = None,
) -> str:
    """Return the Authorization value for a WWW- or Proxy-Authenticate value.

    Args:
        challenge: the header's value, beginning with ``Digest``.
        credentials: user and password.
        method: the request's method.
        uri: the request's URI.
        cnonce: the client nonce; random when None.

    Raises:
        SyntaxRefusedError: not a Digest challenge, or an unknown algorithm or qop.
    """
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() != "digest":
        raise SyntaxRefusedError(f"not a Digest challenge: {challenge[:40]!r}")
    fields = {key.lower(): quoted or bare for key, quoted, bare in _PAIR.findall(rest)}
    algorithm = fields.get("algorithm", "MD5")
    # MD5 is what RFC 3261 peers speak; it protects nothing here.
    functions = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
    function = functions.get(algorithm.upper())
    if function is None:
        raise SyntaxRefusedError(f"digest algorithm {algorithm!r} is not supported")

    def digest(text: str) -> str:
        return function(text.encode()).hexdigest()

    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    secret = digest(f"{credentials.user}:{realm}:{credentials.password}")
    action = digest(f"{method}:{uri}")
    parts = [
        f'username="{credentials.user}"',
        f'realm="{realm}"',
        f'nonce="{nonce}"',
        f'uri="{uri}"',
        f"algorithm={algorithm}",
    ]
    offered = {item.strip() for item in fields.get("qop", "").split(",") if item.strip()}
    if offered:
        if "auth" not in offered:
            raise SyntaxRefusedError(f"digest qop {fields['qop']!r} is not supported")
        cnonce = cnonce or secrets.token_hex(8)
        response = digest(f"{secret}:{nonce}:00000001:{cnonce}:auth:{action}")
        parts += ["qop=auth", "nc=00000001", f'cnonce="{cnonce}"']
    else:
        response = digest(f"{secret}:{nonce}:{action}")
    if "opaque" in fields:
        parts.append(f'opaque="{fields["opaque"]}"')
    return "Digest " + ", ".join([*parts, f'response="{response}"'])
