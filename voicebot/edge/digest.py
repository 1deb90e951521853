"""Digest authentication of callers (RFC 3261 section 22, RFC 7616): challenge and check.

A nonce is a time and its signature, so nothing is kept between challenge and answer. Known and unknown
users get the same answers after the same work.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

NONCE_LIFE_S: Final = 60.0
MAX_HEADER_CHARS: Final = 2048
_FIELD = re.compile(r'([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HASHES: Final = {"MD5": "md5", "SHA-256": "sha256"}


class DigestOutcome(Enum):
    """What an Authorization header is worth."""

    MISSING = "missing"
    STALE = "stale"
    GOOD = "good"
    BAD = "bad"


class DigestGate:
    """Checks digest answers.

    Args:
        realm: Of the challenge.
        passwords: By user name.
        secret: Signs nonces; random bytes of this process.
        algorithm: Which hash is asked for: SHA-256, or MD5 for old exchanges.
    """

    def __init__(
        self, realm: str, passwords: Mapping[str, str], secret: bytes, algorithm: str = "MD5"
    ) -> None:
        if algorithm not in _HASHES:
            raise ValueError(f"{algorithm!r} is no digest algorithm: {', '.join(_HASHES)}")
        self._realm = realm
        self._passwords = dict(passwords)
        self._secret = secret
        self._algorithm = algorithm

    def challenge(self, now_s: float, *, stale: bool = False) -> str:
        """Value of a WWW-Authenticate header."""
        return (
            f'Digest realm="{self._realm}", nonce="{self._nonce(now_s)}", '
            f'algorithm={self._algorithm}, qop="auth"{", stale=true" if stale else ""}'
        )

    def check(self, method: str, uri: str, authorization: str, now_s: float) -> DigestOutcome:
        """What an Authorization header is worth.

        Args:
            method: Of the request.
            uri: Request-URI of the request; the answer must be for this one.
            authorization: The header's value.
            now_s: Monotonic seconds of this process.
        """
        scheme, _, rest = authorization[:MAX_HEADER_CHARS].partition(" ")
        if scheme.lower() != "digest":
            return DigestOutcome.MISSING
        given = {name.lower(): quoted or bare for name, quoted, bare in _FIELD.findall(rest)}
        if not self._is_ours(given.get("nonce", "")):
            return DigestOutcome.BAD
        expected = self._answer(method, given)
        good = hmac.compare_digest(expected.encode(), given.get("response", "").lower().encode())
        known = given.get("username", "") in self._passwords
        if not (good and known and given.get("uri") == uri and given.get("qop") == "auth"):
            return DigestOutcome.BAD
        age_s = now_s - int(given["nonce"].partition("-")[0], 16) / 1000
        return DigestOutcome.GOOD if 0 <= age_s <= NONCE_LIFE_S else DigestOutcome.STALE

    def _answer(self, method: str, given: Mapping[str, str]) -> str:
        user = given.get("username", "")
        # An unknown user costs the same hash, over a password that nobody has.
        password = self._passwords.get(user, self._secret.hex())
        identity = self._hash(f"{user}:{self._realm}:{password}")
        request = self._hash(f"{method}:{given.get('uri', '')}")
        middle = f"{given.get('nonce', '')}:{given.get('nc', '')}:{given.get('cnonce', '')}:auth"
        return self._hash(f"{identity}:{middle}:{request}")

    def _hash(self, text: str) -> str:
        data = text.encode("utf-8", "surrogateescape")
        return hashlib.new(_HASHES[self._algorithm], data, usedforsecurity=False).hexdigest()

    def _nonce(self, now_s: float) -> str:
        stamp = f"{int(now_s * 1000):x}"
        return f"{stamp}-{self._sign(stamp)}"

    def _is_ours(self, nonce: str) -> bool:
        stamp, _, signature = nonce.partition("-")
        if not re.fullmatch(r"[0-9a-f]{1,16}", stamp):
            return False
        return hmac.compare_digest(self._sign(stamp).encode(), signature.encode("utf-8", "replace"))

    def _sign(self, stamp: str) -> str:
        return hmac.new(self._secret, stamp.encode(), "sha256").hexdigest()[:32]
