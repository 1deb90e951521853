"""Which store a program uses, from one URL; each is wrapped so that it never keeps a call waiting."""

from pathlib import Path
from typing import Final

from voicebot.core.errors import ConfigError
from voicebot.session.journalled_store import JournalledSessionStore
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.sqlite_store import SqliteSessionStore
from voicebot.session.store import SessionStore

SQLITE_FILE: Final = "sessions.db"
JOURNAL_FOLDER: Final = "journal"


def session_store(url: str, data_dir: Path, *, replicas: int = 0) -> JournalledSessionStore:
    """The session store of a program, not started yet.

    Args:
        url: Empty for ``sessions.db`` in ``data_dir``; ``sqlite:///path``; for Redis ``redis://``,
            ``rediss://`` or ``unix://``; ``memory:`` for tests.
        data_dir: Where the SQLite file and the journals are.
        replicas: How many Redis replicas must confirm a write.

    Raises:
        ConfigError: The URL names no store, or the ``redis`` package is missing.
    """
    return JournalledSessionStore(_inner(url, data_dir, replicas), data_dir / JOURNAL_FOLDER)


def _inner(url: str, data_dir: Path, replicas: int) -> SessionStore:
    scheme = url.partition(":")[0]
    if not url:
        return SqliteSessionStore(data_dir / SQLITE_FILE)
    if scheme == "sqlite" and url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return SqliteSessionStore(Path(url.removeprefix("sqlite://")))
    if scheme == "memory":
        return MemorySessionStore()
    if scheme in ("redis", "rediss", "unix"):
        try:
            from voicebot.session.redis_store import RedisSessionStore  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise ConfigError("Redis needs the extra: uv sync --extra redis", key="store.url") from None
        return RedisSessionStore(url, replicas=replicas)
    raise ConfigError(f"{scheme!r} is no session store: sqlite, redis, rediss or unix", key="store.url")
