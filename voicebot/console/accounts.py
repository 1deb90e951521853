"""Who may use the console: users with roles, passwords, sessions, and how often one may guess."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from voicebot.config.settings import ConsoleUser

ROLES: Final = ("viewer", "agent", "supervisor", "admin")
SESSION_COOKIE: Final = "voicebot_session"
MAX_SESSIONS: Final = 1000
MAX_FAILURES: Final = 5
BAN_S: Final = 60.0
MAX_SOURCES: Final = 10_000
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who is let in. ``csrf`` is empty for bearer tokens: no browser sends those by itself."""

    name: str
    role: str
    sip: str = ""
    skills: tuple[str, ...] = ()
    csrf: str = ""

    def may(self, role: str) -> bool:
        """Whether this role is enough."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(slots=True)
class _Session:
    identity: Identity
    until_s: float


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until_s: float = 0.0


def hash_password(password: str, salt: bytes | None = None) -> str:
    """``scrypt:<salt>:<hash>``, both hexadecimal."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"scrypt:{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT).hex()}"


def password_fits(password: str, stored: str) -> bool:
    """Whether ``hash_password`` of it gives ``stored``; takes the same time for malformed ones."""
    _, _, rest = stored.partition(":")
    salt, _, _ = rest.partition(":")
    try:
        wanted = hash_password(password, bytes.fromhex(salt))
    except ValueError:
        wanted = hash_password(password, b"0" * 16)
    return hmac.compare_digest(wanted.encode(), stored.encode())


@dataclass(slots=True)
class Accounts:
    """All that decides who somebody is.

    Attributes:
        users: From the settings.
        token: The bearer token of the installation; its owner is ``admin``.
        clock_s: Monotonic seconds.
        session_s: How long a login lasts without use.
    """

    users: tuple[ConsoleUser, ...]
    token: str
    clock_s: Callable[[], float]
    session_s: float = 12 * 3600.0
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _failures: dict[str, _Failures] = field(default_factory=dict)

    def login(self, name: str, password: str, source: str) -> str | None:
        """Session id for the right password, or for the token as password; None otherwise."""
        if self.banned(source):
            return None
        user = next((u for u in self.users if u.name == name), None)
        # The hash is computed for unknown names too: time tells nobody who exists.
        stored = user.password_hash if user is not None else "scrypt:00:00"
        fits = password_fits(password, stored)
        if user is not None and fits:
            identity = Identity(user.name, user.role, user.sip, user.skills, secrets.token_urlsafe(24))
        elif name in {"", "admin"} and user is None and self._is_token(password):
            identity = Identity("admin", "admin", csrf=secrets.token_urlsafe(24))
        else:
            self._failed(source)
            return None
        self._failures.pop(source, None)
        return self._open(identity)

    def by_session(self, session_id: str) -> Identity | None:
        """Who has this session; using it prolongs it."""
        session = self._sessions.get(session_id)
        now_s = self.clock_s()
        if session is None or session.until_s <= now_s:
            self._sessions.pop(session_id, None)
            return None
        session.until_s = now_s + self.session_s
        return session.identity

    def by_token(self, token: str, source: str) -> Identity | None:
        """Who has this bearer token."""
        if self.banned(source):
            return None
        if self._is_token(token):
            return Identity("token", "admin")
        self._failed(source)
        return None

    def logout(self, session_id: str) -> None:
        """End a session."""
        self._sessions.pop(session_id, None)

    def banned(self, source: str) -> bool:
        """Whether this address guessed too often."""
        failures = self._failures.get(source)
        return (
            failures is not None and failures.count >= MAX_FAILURES and self.clock_s() < failures.until_s
        )

    def _is_token(self, text: str) -> bool:
        return bool(self.token) and hmac.compare_digest(text.encode(), self.token.encode())

    def _open(self, identity: Identity) -> str:
        if len(self._sessions) >= MAX_SESSIONS:
            oldest = min(self._sessions, key=lambda name: self._sessions[name].until_s)
            del self._sessions[oldest]
        session_id = secrets.token_urlsafe(32)
        self._sessions[session_id] = _Session(identity, self.clock_s() + self.session_s)
        return session_id

    def _failed(self, source: str) -> None:
        now_s = self.clock_s()
        if len(self._failures) >= MAX_SOURCES:
            self._failures = {k: v for k, v in self._failures.items() if v.until_s > now_s}
        failures = self._failures.setdefault(source, _Failures())
        if failures.until_s <= now_s:
            failures.count = 0
        failures.count += 1
        failures.until_s = now_s + BAN_S
