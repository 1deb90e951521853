"""The file of the SQLite store: rights, versions, sharing, damage."""

import asyncio
import sqlite3
import stat
import subprocess
import sys

import pytest

from voicebot.core.errors import SessionStoreError
from voicebot.session.records import SessionRecord, TurnRecord
from voicebot.session.sqlite_store import SqliteSessionStore

VERSION_1 = """
CREATE TABLE sessions (
  session_id TEXT PRIMARY KEY, call_id TEXT NOT NULL, sip_call_id TEXT NOT NULL, caller TEXT NOT NULL,
  called TEXT NOT NULL, dialplan TEXT NOT NULL, started_at TEXT NOT NULL, answered_at TEXT NOT NULL,
  recording TEXT NOT NULL, ended_at TEXT NOT NULL, ended_by TEXT NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE leases (session_id TEXT PRIMARY KEY, lease INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE turns (
  session_id TEXT NOT NULL, turn INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (session_id, turn)
) WITHOUT ROWID;
CREATE TABLE states (session_id TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE effects (
  key TEXT PRIMARY KEY, session_id TEXT NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL,
  state TEXT NOT NULL, owner TEXT NOT NULL, lease INTEGER NOT NULL, outcome BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO sessions VALUES ('s0','c0','','100','','','2026','','','','','');
INSERT INTO leases VALUES ('s0', 4);
PRAGMA user_version = 1;
"""


async def test_a_file_of_version_1_is_brought_up(tmp_path):
    """Sessions and leases of the older file stay."""
    database = sqlite3.connect(tmp_path / "s.db")
    database.executescript(VERSION_1)
    database.close()
    store = SqliteSessionStore(tmp_path / "s.db")
    await store.start()
    assert [r.caller for r in await store.recent()] == ["100"]
    assert await store.acquire_lease("s0", "w1", 1000) == 5
    await store.close()


async def test_a_file_of_a_newer_program_is_left_alone(tmp_path):
    """Downgrading does not destroy records."""
    database = sqlite3.connect(tmp_path / "s.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SessionStoreError, match="version 99"):
        await SqliteSessionStore(tmp_path / "s.db").start()


async def test_what_is_no_database_is_an_error(tmp_path):
    """Neither a text file nor a folder is taken for a store."""
    (tmp_path / "s.db").write_text("this is not a database, and long enough to tell" * 10)
    with pytest.raises(SessionStoreError):
        await SqliteSessionStore(tmp_path / "s.db").start()
    with pytest.raises(SessionStoreError):
        await SqliteSessionStore(tmp_path).start()


async def test_the_file_is_its_owner_s_only(tmp_path):
    """Database and write-ahead log are not for others' eyes."""
    store = SqliteSessionStore(tmp_path / "data" / "s.db")
    await store.start()
    await store.open_session(SessionRecord(session_id="s1", call_id="c1"))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "data").iterdir()}
    await store.close()
    assert set(modes.values()) == {0o600}
    assert "s.db-wal" in modes


async def test_two_processes_may_share_the_file(tmp_path):
    """Two stores write at once; each sees the other's sessions."""
    stores = [SqliteSessionStore(tmp_path / "s.db", busy_ms=5000) for _ in range(2)]
    await asyncio.gather(*(s.start() for s in stores))
    await asyncio.gather(
        *(
            s.append_turn(f"s{i}", n, TurnRecord(who="caller", text="x"))
            for i, s in enumerate(stores)
            for n in range(50)
        )
    )
    await stores[0].open_session(SessionRecord(session_id="s1", call_id="c1"))
    assert len((await stores[1].load("s1")).turns) == 50
    for store in stores:
        await store.close()


async def test_a_closed_or_flooded_store_says_so(tmp_path):
    """Neither waits: the caller decides what to do."""
    store = SqliteSessionStore(tmp_path / "s.db", max_queued=1)
    with pytest.raises(SessionStoreError, match="not open"):
        await store.recent()
    await store.start()
    writes = [store.append_turn("s1", n, TurnRecord(who="caller", text="x" * 1000)) for n in range(500)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    await store.close()
    refused = [o for o in outcomes if o is not None]
    assert refused
    assert all("queue is full" in str(o) for o in refused)
    assert len(refused) < 500


async def test_one_bad_write_does_not_spoil_its_neighbours(tmp_path):
    """Writes that share a transaction fail one by one."""
    store = SqliteSessionStore(tmp_path / "s.db")
    await store.start()
    outcomes = await asyncio.gather(
        store.append_turn("s1", 0, TurnRecord(who="caller", text="a")),
        store.append_turn("s1", 2**70, TurnRecord(who="caller", text="too large a number")),
        store.append_turn("s1", 1, TurnRecord(who="caller", text="b")),
        return_exceptions=True,
    )
    await store.open_session(SessionRecord(session_id="s1", call_id="c1"))
    assert [type(o) for o in outcomes] == [type(None), SessionStoreError, type(None)]
    assert [t.text for t in (await store.load("s1")).turns.values()] == ["a", "b"]
    await store.close()


async def test_what_is_purged_is_not_in_the_file_any_more(tmp_path):
    """Neither the database nor its log holds the words of a caller who was erased."""
    store = SqliteSessionStore(tmp_path / "s.db")
    await store.start()
    await store.open_session(SessionRecord(session_id="s1", call_id="c1", caller="100"))
    for n in range(50):
        await store.append_turn("s1", n, TurnRecord(who="caller", text=f"a very private word {n}"))

    def found():
        return any(b"very private word" in path.read_bytes() for path in tmp_path.iterdir())

    assert found()
    await store.purge(caller="100")
    assert not found()
    await store.close()


_WRITES = """
import asyncio, sys
from pathlib import Path
from voicebot.session.records import SessionRecord, TurnRecord
from voicebot.session.sqlite_store import SqliteSessionStore
async def main():
    store = SqliteSessionStore(Path(sys.argv[1]))
    await store.start()
    await store.open_session(SessionRecord(session_id="s1", call_id="c1"))
    print("open", flush=True)
    sys.stdin.readline()
    await store.append_turn("s1", 0, TurnRecord(who="caller", text="kept"))
    print("written", flush=True)
    sys.stdin.readline()
asyncio.run(main())
"""


async def test_who_opens_and_closes_the_file_takes_it_from_nobody(tmp_path):
    """A worker has the file open; `voicebot calls purge` comes and goes. What the worker writes then is there.

    Found by hand: the last to close a database deletes its log, and a worker's second connection had let go
    of the locks that tell others that it is not the last.
    """
    path = tmp_path / "s.db"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WRITES, str(path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert await worker.stdout.readline() == b"open\n"
        log = (tmp_path / "s.db-wal").stat().st_ino
        visitor = SqliteSessionStore(path)
        await visitor.start()
        await visitor.close()
        assert (tmp_path / "s.db-wal").stat().st_ino == log
        worker.stdin.write(b"\n")
        assert await worker.stdout.readline() == b"written\n"
        await visitor.start()
        assert (await visitor.load("s1")).turns[0].text == "kept"
        await visitor.close()
    finally:
        worker.kill()
        await worker.wait()
