"""Writes that wait for the store: in the journals of this machine, else in memory; oldest first."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import structlog

from voicebot.core.errors import SessionStoreError
from voicebot.session.journal import Entry, Journal, session_of

JOURNAL_LIMIT_MS: Final = 10
MAX_IN_MEMORY: Final = 10_000

T = TypeVar("T")


@dataclass(slots=True)
class JournalStatistics:
    """Counts since the start; ``lost_writes`` above 0 is an alarm."""

    journalled_writes: int = 0
    replayed_writes: int = 0
    stale_writes: int = 0
    unreadable_entries: int = 0
    lost_writes: int = 0
    outages: int = 0


class PendingWrites:
    """A queue on disk. All file work is done on one thread, in order.

    Args:
        folder: Where journals are; shared by the processes of one machine.
        statistics: Counted in.
    """

    def __init__(self, folder: Path, statistics: JournalStatistics) -> None:
        self._folder = folder
        self._statistics = statistics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="session journal")
        self._journals: list[Journal] = []  # adopted ones first, our own last
        self._in_memory: deque[Entry] = deque()
        self._putting = 0

    @property
    def is_open(self) -> bool:
        """Whether ``open`` was called."""
        return bool(self._journals)

    @property
    def empty(self) -> bool:
        """Whether nothing waits, and nothing is on its way to the journal."""
        waiting = self._putting or self._in_memory
        return not waiting and all(journal.empty for journal in self._journals)

    async def open(self) -> None:
        """Create this process's journal and adopt those that dead processes left.

        Raises:
            SessionStoreError: The folder cannot be written.
        """
        try:
            self._journals = await self._on_thread(lambda: _open(self._folder))
        except OSError as error:
            raise SessionStoreError(f"{self._folder}: {error}") from error

    @property
    def adopted(self) -> bool:
        """Whether there are journals of other processes that have not been written to their end."""
        return len(self._journals) > 1

    async def adopt(self) -> None:
        """Adopt what processes that have died meanwhile left."""
        try:
            self._journals[:0] = await self._on_thread(lambda: Journal.adopt(self._folder))
        except OSError as error:
            structlog.get_logger().error("session_journal_failed", error=str(error))

    async def of_session(self, session_id: str, *, of_others: bool = False) -> list[Entry]:
        """What waits of a session, here or in the journal of any process, dead, alive or hung.

        Args:
            session_id: Of which session.
            of_others: Leave out what is in our own journals and in memory.
        """
        own = {journal.path for journal in self._journals} if of_others else set()
        try:
            entries = await self._on_thread(lambda: Journal.of_session(self._folder, session_id, own))
        except OSError as error:
            structlog.get_logger().error("session_journal_failed", error=str(error))
            entries = []
        if of_others:
            return entries
        return entries + [e for e in self._in_memory if session_of(e) == session_id]

    async def put(self, entry: Entry) -> None:
        """Append; returns once it is in the file, or after 10 ms."""
        self._statistics.journalled_writes += 1
        self._putting += 1
        writing = asyncio.ensure_future(self._on_thread(lambda: self._append(entry)))
        writing.add_done_callback(self._put_done)
        # A disk that stands still must not stop the call: the thread goes on without us.
        await asyncio.wait({writing}, timeout=JOURNAL_LIMIT_MS / 1000)

    async def drain(self, apply: Callable[[Entry], Awaitable[None]]) -> None:
        """Hand all entries to ``apply`` in order; what it raises on stays, with all that follows."""
        for journal in tuple(self._journals):
            while entries := await self._on_thread(journal.read):
                await self._drain_some(journal, entries, apply)
        while self._in_memory:
            entry = self._in_memory[0]
            await apply(entry)
            if self._in_memory and self._in_memory[0] is entry:  # it was not pushed out meanwhile
                self._in_memory.popleft()

    def drop_adopted(self) -> None:
        """Delete the adopted journals, which are empty now."""
        adopted, self._journals = self._journals[:-1], self._journals[-1:]
        for journal in adopted:
            self._thread.submit(journal.close)

    async def settle(self) -> None:
        """Wait until the thread has done what it was given so far."""
        await self._on_thread(lambda: None)

    async def close(self) -> None:
        """Keep what is left for the next start."""
        await self._on_thread(self._close_journals)
        self._thread.shutdown(wait=False)

    def _put_done(self, writing: "asyncio.Future[None]") -> None:
        self._putting -= 1
        writing.exception()

    async def _drain_some(
        self,
        journal: Journal,
        entries: list[tuple[Entry | None, int]],
        apply: Callable[[Entry], Awaitable[None]],
    ) -> None:
        done = None
        try:
            for entry, offset in entries:
                if entry is None:
                    self._statistics.unreadable_entries += 1
                else:
                    await apply(entry)
                done = offset
        finally:
            if done is not None:
                reached = done
                await self._on_thread(lambda: journal.advance(reached))

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # ------------------------------------------------------------------ on the thread

    def _append(self, entry: Entry) -> None:
        if not self._in_memory:  # else it would overtake what is there
            try:
                self._journals[-1].append(entry)
            except OSError as error:
                structlog.get_logger().error("session_journal_failed", error=str(error))
            else:
                return
        if len(self._in_memory) >= MAX_IN_MEMORY:
            self._in_memory.popleft()
            self._statistics.lost_writes += 1
        self._in_memory.append(entry)

    def _close_journals(self) -> None:
        journals, self._journals = self._journals, []
        with contextlib.suppress(OSError, IndexError):
            while self._in_memory:
                journals[-1].append(self._in_memory[0])
                self._in_memory.popleft()
        self._statistics.lost_writes += len(self._in_memory)
        for journal in journals:
            journal.close()


def _open(folder: Path) -> list[Journal]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [*Journal.adopt(folder), Journal.create(folder)]
