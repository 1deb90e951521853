"""Signed webhooks and short-lived tokens; both are HMAC-SHA-256 over bytes with a time in them.

A webhook carries ``X-Voicebot-Signature: t=<unix seconds>,v1=<hex>`` over ``<t>.<body>``; receivers
refuse old times, so that a captured message cannot be replayed. A token is ``<subject>.<expiry>.<hex>``.
"""

import hashlib
import hmac
from typing import Final

SIGNATURE_HEADER: Final = "X-Voicebot-Signature"
MAX_AGE_S: Final = 300


def sign_body(secret: bytes, body: bytes, now_s: int) -> str:
    """Header value for ``body`` sent at ``now_s`` (seconds since 1970)."""
    return f"t={now_s},v1={_mac(secret, b'%d.' % now_s + body)}"


def body_is_genuine(
    secret: bytes, body: bytes, header: str, now_s: int, *, max_age_s: int = MAX_AGE_S
) -> bool:
    """Whether ``header`` belongs to ``body`` and is not older than ``max_age_s``."""
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    sent = parts.get("t", "")
    if not (sent.isascii() and sent.isdigit()) or abs(now_s - int(sent)) > max_age_s:
        return False
    return hmac.compare_digest(_mac(secret, sent.encode() + b"." + body), parts.get("v1", ""))


def issue_token(secret: bytes, subject: str, expires_s: int) -> str:
    """A token that opens ``subject`` (letters, digits, ``_`` and ``-``) until ``expires_s``."""
    return f"{subject}.{expires_s}.{_mac(secret, f'token.{subject}.{expires_s}'.encode())}"


def token_opens(secret: bytes, token: str, subject: str, now_s: int) -> bool:
    """Whether ``token`` was issued for ``subject`` and has not run out."""
    named, _, rest = token.partition(".")
    expires, _, mac = rest.partition(".")
    if not (expires.isascii() and expires.isdigit() and mac.isascii()):
        return False
    genuine = hmac.compare_digest(_mac(secret, f"token.{named}.{expires}".encode()), mac)
    return genuine and named == subject and now_s < int(expires)


def _mac(secret: bytes, message: bytes) -> str:
    return hmac.new(secret, message, hashlib.sha256).hexdigest()
