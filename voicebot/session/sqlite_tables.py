"""The tables of the SQLite store and what is done to them; called on the store's own threads only."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.session.claims import judge_claim, unknown_effect
from voicebot.session.records import (
    Claim,
    Effect,
    Purged,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
)
from voicebot.session.stored_text import clean_session, clean_text, clean_turn
from voicebot.session.write_ahead_log import enter_write_ahead_log

SCHEMA_VERSION: Final = 2
_CREATION_MS: Final = (
    5000  # creating the file takes milliseconds; a slow disk gets as long as a caller waits
)
_SCHEMA: Final = """
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, call_id TEXT NOT NULL, sip_call_id TEXT NOT NULL, caller TEXT NOT NULL,
  called TEXT NOT NULL, dialplan TEXT NOT NULL, edge TEXT NOT NULL DEFAULT '',
  started_at TEXT NOT NULL, answered_at TEXT NOT NULL, recording TEXT NOT NULL,
  ended_at TEXT NOT NULL, ended_by TEXT NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_start ON sessions (started_at);
CREATE INDEX sessions_by_caller ON sessions (caller, started_at);
CREATE TABLE leases (
  session_id TEXT PRIMARY KEY, lease INTEGER NOT NULL, owner TEXT NOT NULL, boot TEXT NOT NULL,
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE turns (
  session_id TEXT NOT NULL, turn INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (session_id, turn)
) WITHOUT ROWID;
CREATE TABLE states (
  session_id TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE effects (
  key TEXT PRIMARY KEY, session_id TEXT NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL,
  state TEXT NOT NULL, owner TEXT NOT NULL, lease INTEGER NOT NULL, outcome BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX effects_by_session ON effects (session_id);
"""
_MIGRATIONS: Final = {
    1: """
ALTER TABLE sessions ADD COLUMN edge TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN until_ms INTEGER NOT NULL DEFAULT 0;
""",
}
_SESSION_FIELDS: Final = SessionRecord.__struct_fields__
_EFFECT_FIELDS: Final = Effect.__struct_fields__
_OPEN_SESSION: Final = (
    f"INSERT INTO sessions ({', '.join(_SESSION_FIELDS)}) "  # noqa: S608 - own names
    f"VALUES ({', '.join('?' * len(_SESSION_FIELDS))}) ON CONFLICT (session_id) DO UPDATE SET "
    + ", ".join(
        f"{name} = CASE {name} WHEN '' THEN excluded.{name} ELSE {name} END"
        for name in _SESSION_FIELDS
        if name != "session_id"
    )
)

_SET_LEASE: Final = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)"

_encode = msgspec.json.Encoder().encode
_decode_turn = msgspec.json.Decoder(TurnRecord).decode


def open_database(path: Path, *, busy_ms: int) -> sqlite3.Connection:
    """Open or create the store's file, readable by its owner only.

    Args:
        path: The database file; its folder must exist.
        busy_ms: How long a statement waits for another process's lock.

    Raises:
        SessionStoreError: The file is no database of ours, or cannot be opened.
    """
    try:
        # Only a new file: closing any descriptor of an open database lets go of all locks that this
        # process has on it. Another one that closes it then believes to be the last: it deletes the log.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(path, isolation_level=None, timeout=busy_ms / 1000)
    except (OSError, sqlite3.Error) as error:
        raise SessionStoreError(f"{path}: {error}") from error
    try:
        # Only at the first opening is there something to wait for: another process creating the file.
        database.execute(f"PRAGMA busy_timeout = {_CREATION_MS}")
        enter_write_ahead_log(database, limit_s=_CREATION_MS / 1000)
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA secure_delete = ON")  # what is purged is overwritten, not only unlinked
        _create_tables(database)
        database.execute(f"PRAGMA busy_timeout = {int(busy_ms)}")
    except (sqlite3.Error, SessionStoreError) as error:
        database.close()
        raise SessionStoreError(f"{path}: {error}") from error
    return database


def _create_tables(database: sqlite3.Connection) -> None:
    while (version := _version(database)) < SCHEMA_VERSION:
        database.execute("BEGIN IMMEDIATE")
        if _version(database) == version:  # nobody was faster
            statements, reached = (
                (_MIGRATIONS[version], version + 1) if version else (_SCHEMA, SCHEMA_VERSION)
            )
            for statement in statements.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {reached}")
        database.execute("COMMIT")
    if version != SCHEMA_VERSION:
        raise SessionStoreError(f"schema version {version}: this program knows {SCHEMA_VERSION}")


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _fence(database: sqlite3.Connection, session_id: str, lease: int) -> None:
    row = database.execute("SELECT lease FROM leases WHERE session_id = ?", (session_id,)).fetchone()
    if row is not None and row[0] > lease:
        raise StaleLeaseError(f"session {session_id}: lease {lease} was replaced by {row[0]}")
    if row is None or row[0] < lease:
        database.execute(_SET_LEASE, (session_id, lease, "", "", 0))


def open_session(database: sqlite3.Connection, record: SessionRecord, lease: int) -> None:
    """See ``SessionStore.open_session``."""
    _fence(database, record.session_id, lease)
    database.execute(_OPEN_SESSION, msgspec.structs.astuple(clean_session(record)))


def append_turn(
    database: sqlite3.Connection, session_id: str, turn: int, record: TurnRecord, lease: int
) -> None:
    """See ``SessionStore.append_turn``."""
    _fence(database, session_id, lease)
    database.execute(
        "INSERT OR REPLACE INTO turns VALUES (?, ?, ?)", (session_id, turn, _encode(clean_turn(record)))
    )


def save_state(
    database: sqlite3.Connection, session_id: str, state: bytes, version: int, lease: int
) -> None:
    """See ``SessionStore.save_state``."""
    _fence(database, session_id, lease)
    database.execute(
        "INSERT INTO states VALUES (?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET "
        "version = excluded.version, body = excluded.body WHERE excluded.version >= version",
        (session_id, version, state),
    )


def end_session(
    database: sqlite3.Connection, session_id: str, ending: SessionEnding, lease: int
) -> None:
    """See ``SessionStore.end_session``."""
    _fence(database, session_id, lease)
    database.execute(
        "UPDATE sessions SET ended_at = ?, ended_by = ?, reason = ? "
        "WHERE session_id = ? AND ended_at = ''",
        (ending.ended_at, ending.ended_by, clean_text(ending.reason), session_id),
    )


def load(database: sqlite3.Connection, session_id: str) -> StoredSession | None:
    """See ``SessionStore.load``. One transaction, so that all parts fit together."""
    database.execute("BEGIN")
    try:
        found = database.execute(
            f"SELECT {', '.join(_SESSION_FIELDS)} FROM sessions WHERE session_id = ?",  # noqa: S608 - own names
            (session_id,),
        ).fetchone()
        if found is None:
            return None
        key = (session_id,)
        turns = database.execute("SELECT turn, body FROM turns WHERE session_id = ?", key).fetchall()
        state = database.execute("SELECT version, body FROM states WHERE session_id = ?", key).fetchone()
        lease = database.execute("SELECT lease FROM leases WHERE session_id = ?", key).fetchone()
        effects = _effects(database, "session_id", session_id)
    finally:
        database.execute("COMMIT")
    return StoredSession(
        record=SessionRecord(**dict(zip(_SESSION_FIELDS, found, strict=True))),
        turns={turn: _decode_turn(body) for turn, body in turns},
        state=state[1] if state else b"",
        state_version=state[0] if state else -1,
        lease=lease[0] if lease else 0,
        effects=tuple(effects),
    )


def recent(
    database: sqlite3.Connection,
    limit: int,
    caller: str | None,
    edge: str | None,
    *,
    open_only: bool,
) -> list[SessionRecord]:
    """See ``SessionStore.recent``."""
    rows = database.execute(
        f"SELECT {', '.join(_SESSION_FIELDS)} FROM sessions "  # noqa: S608 - own names
        "WHERE (?1 IS NULL OR caller = ?1) AND (?2 IS NULL OR edge = ?2) AND (ended_at = '' OR NOT ?3) "
        "ORDER BY started_at DESC, session_id DESC LIMIT ?4",
        (caller, edge, open_only, limit),
    )
    return [SessionRecord(**dict(zip(_SESSION_FIELDS, row, strict=True))) for row in rows]


def add_effect(database: sqlite3.Connection, effect: Effect) -> bool:
    """See ``SessionStore.add_effect``."""
    _fence(database, effect.session_id, effect.lease)
    planned = msgspec.structs.replace(effect, state="pending", owner="", outcome=b"")
    added = database.execute(
        f"INSERT OR IGNORE INTO effects ({', '.join(_EFFECT_FIELDS)}) "  # noqa: S608 - own names
        f"VALUES ({', '.join('?' * len(_EFFECT_FIELDS))})",
        msgspec.structs.astuple(planned),
    )
    return added.rowcount == 1


def claim_effect(database: sqlite3.Connection, key: str, owner: str, lease: int) -> Claim:
    """See ``SessionStore.claim_effect``."""
    found = _effects(database, "key", key)
    if not found:
        return unknown_effect(key)
    effect = found[0]
    _fence(database, effect.session_id, lease)
    claim = judge_claim(effect, owner, lease)
    if claim.verdict in ("granted", "in_doubt"):
        database.execute(
            "UPDATE effects SET state = 'claimed', owner = ?, lease = ? WHERE key = ?",
            (owner, lease, key),
        )
    return claim


def finish_effect(database: sqlite3.Connection, key: str, outcome: bytes) -> bool:
    """See ``SessionStore.finish_effect``."""
    done = database.execute(
        "UPDATE effects SET state = 'done', outcome = ? WHERE key = ? AND state != 'done'",
        (outcome, key),
    )
    return done.rowcount == 1 or bool(_effects(database, "key", key))


def acquire_lease(
    database: sqlite3.Connection, session_id: str, owner: str, now: tuple[str, int], ttl_ms: int
) -> int | None:
    """See ``SessionStore.acquire_lease``; ``now`` is boot id and milliseconds since boot."""
    boot, now_ms = now
    row = database.execute(
        "SELECT lease, owner, boot, until_ms FROM leases WHERE session_id = ?", (session_id,)
    ).fetchone()
    newest, holder, holder_boot, until_ms = row or (0, "", "", 0)
    if holder not in ("", owner) and holder_boot == boot and now_ms < until_ms:
        return None
    database.execute(_SET_LEASE, (session_id, newest + 1, owner, boot, now_ms + ttl_ms))
    return int(newest) + 1


def hold_lease(
    database: sqlite3.Connection, session_id: str, owner: str, lease: int, now: tuple[str, int]
) -> bool:
    """Let a lease run out at ``now``; whether it is still the owner's."""
    held = database.execute(
        "UPDATE leases SET boot = ?, until_ms = ? WHERE session_id = ? AND owner = ? AND lease = ?",
        (*now, session_id, owner, lease),
    )
    return held.rowcount == 1


def purge(database: sqlite3.Connection, older_than: str | None, caller: str | None) -> Purged:
    """See ``SessionStore.purge``."""
    if older_than is None and caller is None:
        return Purged()
    rows = database.execute(
        "SELECT session_id, recording FROM sessions WHERE (?1 IS NULL OR caller = ?1) "
        "AND (?2 IS NULL OR started_at < ?2) AND (ended_at != '' OR ?2 IS NULL)",
        (caller, older_than),
    ).fetchall()
    for table in ("sessions", "turns", "states", "effects", "leases"):
        database.executemany(
            f"DELETE FROM {table} WHERE session_id = ?",  # noqa: S608 - own names
            [(row[0],) for row in rows],
        )
    return Purged(
        sessions=tuple(row[0] for row in rows), recordings=tuple(row[1] for row in rows if row[1])
    )


def checkpoint(database: sqlite3.Connection) -> None:
    """Empty the write-ahead log, as far as nobody is reading from it."""
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _effects(database: sqlite3.Connection, column: str, value: str) -> list[Effect]:
    rows = database.execute(
        f"SELECT {', '.join(_EFFECT_FIELDS)} FROM effects WHERE {column} = ?",  # noqa: S608 - own names
        (value,),
    )
    return [Effect(**dict(zip(_EFFECT_FIELDS, row, strict=True))) for row in rows]
