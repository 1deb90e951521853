"""The embedded store: SQLite in WAL mode, one writer thread, one reader thread.

    caller ─ bounded queue ─► writer thread ─ one transaction for all that waits ─► COMMIT ─► caller

``synchronous = NORMAL``: a commit survives the death of the process at once, a power cut may take the
last commits (the database stays sound). Several processes may share the file.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from voicebot.core.errors import SessionStoreError
from voicebot.session import sqlite_tables as tables
from voicebot.session.boot_clock import boot_id, boot_ms
from voicebot.session.records import (
    Claim,
    Effect,
    Purged,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
)

MAX_QUEUED: Final = 1024
MAX_BATCH: Final = 64
BUSY_MS: Final = 30

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"

    def settle(self, result: Any, error: BaseException | None) -> None:
        """Hand the outcome to the waiting task, unless its loop is gone."""
        try:
            self.loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            return

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():  # the caller gave up waiting
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class _DatabaseThread:
    """One thread with one connection and a bounded queue of work."""

    def __init__(self, path: Path, *, busy_ms: int, max_queued: int, transactions: bool) -> None:
        self._path = path
        self._busy_ms = busy_ms
        self._transactions = transactions
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_queued)
        self._thread = threading.Thread(target=self._run, name="session store", daemon=True)
        self._opened = threading.Event()
        self._open_error: SessionStoreError | None = None
        self._stopping = False

    def start(self) -> None:
        """Open the database; blocks until it is open.

        Raises:
            SessionStoreError: It cannot be opened.
        """
        self._thread.start()
        self._opened.wait()
        if self._open_error is not None:
            raise self._open_error

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` on the thread.

        Raises:
            SessionStoreError: The queue is full or the database refused.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise SessionStoreError("the session store's queue is full") from None
        result: T = await job.future
        return result

    def stop(self) -> None:
        """Finish what is queued and end; blocks."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            database = tables.open_database(self._path, busy_ms=self._busy_ms)
        except SessionStoreError as error:
            self._open_error = error
            return
        finally:
            self._opened.set()
        try:
            while (batch := self._batch()) is not None:
                self._work(database, batch)
        finally:
            database.close()

    def _batch(self) -> list[_Job] | None:
        first = None if self._stopping else self._jobs.get()
        if first is None:
            return None
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._stopping = True
                break
            batch.append(job)
        return batch

    def _work(self, database: sqlite3.Connection, batch: list[_Job]) -> None:
        outcomes: list[tuple[Any, BaseException | None]] = []
        try:
            if self._transactions:
                database.execute("BEGIN IMMEDIATE")
            outcomes = [self._do(database, job) for job in batch]
            if self._transactions:
                database.execute("COMMIT")
        except sqlite3.Error as error:
            if database.in_transaction:
                database.execute("ROLLBACK")
            outcomes = [(None, _as_store_error(error))] * len(batch)
        for job, (result, error_of_job) in zip(batch, outcomes, strict=True):
            job.settle(result, error_of_job)

    def _do(self, database: sqlite3.Connection, job: _Job) -> tuple[Any, BaseException | None]:
        if self._transactions:
            database.execute("SAVEPOINT job")
        try:
            return job.work(database), None
        except sqlite3.OperationalError:
            if self._transactions:
                raise  # full, locked, unreadable: the whole batch is lost
            return None, SessionStoreError("session store: cannot be read")
        except Exception as error:  # noqa: BLE001 - a job's own failure is its caller's
            if self._transactions:
                database.execute("ROLLBACK TO job")
            return None, _as_store_error(error)
        finally:
            if database.in_transaction and self._transactions:
                database.execute("RELEASE job")


def _as_store_error(error: BaseException) -> SessionStoreError:
    if isinstance(error, SessionStoreError):
        return error
    return SessionStoreError(f"session store: {type(error).__name__}: {error}")


class SqliteSessionStore:
    """``SessionStore`` in one file.

    Args:
        path: The database file; its folder is made when missing.
        busy_ms: How long a write waits for another process's lock before it fails.
        max_queued: Writes that may wait; further ones fail at once.
        clock_ms: Clock of the leases, common to all processes that share the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_ms: int = BUSY_MS,
        max_queued: int = MAX_QUEUED,
        clock_ms: Callable[[], int] = boot_ms,
    ) -> None:
        self._clock_ms = clock_ms
        self._boot = boot_id()
        self._path = path
        self._busy_ms = busy_ms
        self._max_queued = max_queued
        self._writer: _DatabaseThread | None = None
        self._reader: _DatabaseThread | None = None

    async def start(self) -> None:
        """See ``SessionStore``."""
        if self._writer is not None:
            return

        def thread(*, transactions: bool) -> _DatabaseThread:
            made = _DatabaseThread(
                self._path,
                busy_ms=self._busy_ms,
                max_queued=self._max_queued,
                transactions=transactions,
            )
            made.start()
            return made

        def start() -> tuple[_DatabaseThread, _DatabaseThread]:
            try:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise SessionStoreError(f"{self._path.parent}: {error}") from error
            return thread(transactions=True), thread(transactions=False)

        self._writer, self._reader = await asyncio.to_thread(start)

    async def close(self) -> None:
        """See ``SessionStore``."""
        writer, reader = self._writer, self._reader
        self._writer = self._reader = None
        for thread in (reader, writer):
            if thread is not None:
                await asyncio.to_thread(thread.stop)

    async def open_session(self, record: SessionRecord, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        await self._write(lambda db: tables.open_session(db, record, lease))

    async def append_turn(
        self, session_id: str, turn: int, record: TurnRecord, *, lease: int = 0
    ) -> None:
        """See ``SessionStore``."""
        await self._write(lambda db: tables.append_turn(db, session_id, turn, record, lease))

    async def save_state(self, session_id: str, state: bytes, *, version: int, lease: int = 0) -> None:
        """See ``SessionStore``."""
        await self._write(lambda db: tables.save_state(db, session_id, state, version, lease))

    async def end_session(self, session_id: str, ending: SessionEnding, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        await self._write(lambda db: tables.end_session(db, session_id, ending, lease))

    async def load(self, session_id: str) -> StoredSession | None:
        """See ``SessionStore``."""
        return await self._read(lambda db: tables.load(db, session_id))

    async def recent(
        self,
        limit: int = 50,
        *,
        caller: str | None = None,
        edge: str | None = None,
        open_only: bool = False,
    ) -> list[SessionRecord]:
        """See ``SessionStore``."""
        return await self._read(lambda db: tables.recent(db, limit, caller, edge, open_only=open_only))

    async def add_effect(self, effect: Effect) -> bool:
        """See ``SessionStore``."""
        return await self._write(lambda db: tables.add_effect(db, effect))

    async def claim_effect(self, key: str, owner: str, *, lease: int = 0) -> Claim:
        """See ``SessionStore``."""
        return await self._write(lambda db: tables.claim_effect(db, key, owner, lease))

    async def finish_effect(self, key: str, outcome: bytes) -> bool:
        """See ``SessionStore``."""
        return await self._write(lambda db: tables.finish_effect(db, key, outcome))

    async def acquire_lease(self, session_id: str, owner: str, ttl_ms: int) -> int | None:
        """See ``SessionStore``."""
        now = (self._boot, self._clock_ms())
        return await self._write(lambda db: tables.acquire_lease(db, session_id, owner, now, ttl_ms))

    async def renew_lease(self, session_id: str, owner: str, lease: int, ttl_ms: int) -> bool:
        """See ``SessionStore``."""
        until = (self._boot, self._clock_ms() + ttl_ms)
        return await self._write(lambda db: tables.hold_lease(db, session_id, owner, lease, until))

    async def release_lease(self, session_id: str, owner: str, lease: int) -> None:
        """See ``SessionStore``."""
        await self._write(lambda db: tables.hold_lease(db, session_id, owner, lease, ("", 0)))

    async def purge(self, *, older_than: str | None = None, caller: str | None = None) -> Purged:
        """See ``SessionStore``; what was deleted is overwritten in the file and its log."""
        purged = await self._write(lambda db: tables.purge(db, older_than, caller))
        if purged.sessions:
            await self._read(tables.checkpoint)
        return purged

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await _open(self._writer).run(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await _open(self._reader).run(work)


def _open(thread: _DatabaseThread | None) -> _DatabaseThread:
    if thread is None:
        raise SessionStoreError("the session store is not open")
    return thread
