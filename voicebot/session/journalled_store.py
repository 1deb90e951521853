"""A store that never keeps a call waiting: what the real one does not take in time goes to a journal.

              write fails or is late                   journal empty again
    STORING ──────────────────────────► JOURNALLING ──────────────────────► STORING
                                         │  ▲
                                         └──┘ a task tries the store again, oldest entry first

While journalling, writes go straight to the journal, so their order is kept. If the journal cannot be
written either (the same full disk), they wait in memory, bounded and counted.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, TypeVar, assert_never

import structlog

from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.session.claims import judge_claim
from voicebot.session.journal import (
    AddEffect,
    AppendTurn,
    ClaimEffect,
    EndSession,
    Entry,
    FinishEffect,
    OpenSession,
    SaveState,
)
from voicebot.session.pending_writes import JournalStatistics, PendingWrites
from voicebot.session.records import (
    Claim,
    Effect,
    Purged,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
)
from voicebot.session.store import SessionStore

WRITE_LIMIT_MS: Final = 35
READ_LIMIT_MS: Final = 500
REPLAY_LIMIT_MS: Final = 1000
FIRST_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 1.0

T = TypeVar("T")


class JournalledSessionStore:
    """``SessionStore`` around another one; the one that programs use.

    A write takes at most ``write_limit_ms`` plus 10 ms. Reads go to the real store and may raise
    SessionStoreError; ``claim_effect`` is granted locally while the store is away (once per process:
    the idempotency key must do the rest).

    Args:
        inner: The real store.
        folder: Where journals are; shared by the processes of one machine.
        write_limit_ms: How long a write may take before it goes to the journal.
    """

    def __init__(
        self, inner: SessionStore, folder: Path, *, write_limit_ms: int = WRITE_LIMIT_MS
    ) -> None:
        self._inner = inner
        self._write_limit_s = write_limit_ms / 1000
        self._planned: dict[str, Effect] = {}
        self._replay: asyncio.Task[None] | None = None
        self._inner_started = False
        self._adopting = asyncio.Lock()
        self.statistics = JournalStatistics()
        self._pending = PendingWrites(folder, self.statistics)

    @property
    def degraded(self) -> bool:
        """Whether writes go to the journal at the moment."""
        return self._replay is not None

    async def start(self) -> None:
        """Open the store and write to it what dead processes left in their journals."""
        if self._pending.is_open:
            return
        await self._pending.open()
        try:
            await self._start_inner()
        except SessionStoreError as error:
            self._degrade(error)
        if not self._pending.empty:
            self._start_replay()

    async def close(self) -> None:
        """Write what can be written within a second; the journal keeps the rest for the next start."""
        if self._replay is not None:
            await asyncio.wait({self._replay}, timeout=REPLAY_LIMIT_MS / 1000)
            if self._replay is not None:
                self._replay.cancel()
                await asyncio.wait({self._replay})
                self._replay = None
        await self._pending.close()
        await self._inner.close()

    async def settled(self) -> None:
        """Wait until the files are as they will stay (tests)."""
        await self._pending.settle()

    async def open_session(self, record: SessionRecord, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        if lease:  # a takeover: after this the store refuses what the worker before has acknowledged
            await self._adopt_journals()
        await self._write(OpenSession(record=record, lease=lease))

    async def append_turn(
        self, session_id: str, turn: int, record: TurnRecord, *, lease: int = 0
    ) -> None:
        """See ``SessionStore``."""
        await self._write(AppendTurn(session_id=session_id, turn=turn, record=record, lease=lease))

    async def save_state(self, session_id: str, state: bytes, *, version: int, lease: int = 0) -> None:
        """See ``SessionStore``."""
        await self._write(SaveState(session_id=session_id, state=state, version=version, lease=lease))

    async def end_session(self, session_id: str, ending: SessionEnding, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        await self._write(EndSession(session_id=session_id, ending=ending, lease=lease))
        for key in [k for k, e in self._planned.items() if e.session_id == session_id]:
            del self._planned[key]

    async def load(self, session_id: str) -> StoredSession | None:
        """See ``SessionStore``; what a process that died left in its journal is written first."""
        await self._adopt_journals()
        return await self._read(self._inner.load(session_id))

    async def recent(
        self,
        limit: int = 50,
        *,
        caller: str | None = None,
        edge: str | None = None,
        open_only: bool = False,
    ) -> list[SessionRecord]:
        """See ``SessionStore``; what is still in a journal is not there yet."""
        return await self._read(self._inner.recent(limit, caller=caller, edge=edge, open_only=open_only))

    async def add_effect(self, effect: Effect) -> bool:
        """See ``SessionStore``."""
        added = await self._write(AddEffect(effect=effect))
        if added is None:
            added = effect.key not in self._planned
        if added:
            self._planned[effect.key] = effect
        return added

    async def claim_effect(self, key: str, owner: str, *, lease: int = 0) -> Claim:
        """See ``SessionStore``."""
        claim = None
        if not self.degraded:
            try:
                claim = await self._in_time(self._inner.claim_effect(key, owner, lease=lease))
            except StaleLeaseError:
                raise
            except SessionStoreError as error:
                self._degrade(error)
        if claim is None:
            claim = self._claim_alone(key, owner, lease)
            if claim.verdict in ("granted", "in_doubt"):
                await self._pending.put(ClaimEffect(key=key, owner=owner, lease=lease))
        self._planned[key] = claim.effect
        return claim

    async def finish_effect(self, key: str, outcome: bytes) -> bool:
        """See ``SessionStore``."""
        known = await self._write(FinishEffect(key=key, outcome=outcome))
        planned = self._planned.pop(key, None) is not None
        return planned if known is None else known

    async def acquire_lease(self, session_id: str, owner: str, ttl_ms: int) -> int | None:
        """See ``SessionStore``."""
        return await self._read(self._inner.acquire_lease(session_id, owner, ttl_ms))

    async def renew_lease(self, session_id: str, owner: str, lease: int, ttl_ms: int) -> bool:
        """See ``SessionStore``."""
        return await self._read(self._inner.renew_lease(session_id, owner, lease, ttl_ms))

    async def release_lease(self, session_id: str, owner: str, lease: int) -> None:
        """See ``SessionStore``."""
        await self._read(self._inner.release_lease(session_id, owner, lease))

    async def purge(self, *, older_than: str | None = None, caller: str | None = None) -> Purged:
        """See ``SessionStore``."""
        return await self._inner.purge(older_than=older_than, caller=caller)

    # ------------------------------------------------------------------ storing

    async def _adopt_journals(self) -> None:
        """Whoever takes a session over needs what the one before has acknowledged."""
        async with self._adopting:
            await self._pending.adopt()
        if self._pending.adopted:
            # Also when another call adopted them: all calls of a dead worker come at the same moment.
            replay = self._start_replay()
            await asyncio.wait({replay}, timeout=READ_LIMIT_MS / 1000)
        await self._pending.wait_for_other_adopters(READ_LIMIT_MS / 1000)

    async def _write(self, entry: Entry) -> bool | None:
        """The store's answer; None when the journal took the entry."""
        if not self.degraded:
            try:
                return await self._in_time(self._apply(entry))
            except StaleLeaseError:
                raise
            except SessionStoreError as error:
                self._degrade(error)
        await self._pending.put(entry)
        return None

    async def _in_time(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._write_limit_s):
                return await work
        except TimeoutError:
            raise SessionStoreError("the session store is late") from None

    async def _read(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(READ_LIMIT_MS / 1000):
                return await work
        except TimeoutError:
            raise SessionStoreError("the session store does not answer") from None

    async def _apply(self, entry: Entry) -> bool:
        """Whether the store knew what this is about, or took it as new."""
        inner = self._inner
        match entry:
            case OpenSession():
                await inner.open_session(entry.record, lease=entry.lease)
            case AppendTurn():
                await inner.append_turn(entry.session_id, entry.turn, entry.record, lease=entry.lease)
            case SaveState():
                await inner.save_state(
                    entry.session_id, entry.state, version=entry.version, lease=entry.lease
                )
            case EndSession():
                await inner.end_session(entry.session_id, entry.ending, lease=entry.lease)
            case AddEffect():
                return await inner.add_effect(entry.effect)
            case ClaimEffect():
                await inner.claim_effect(entry.key, entry.owner, lease=entry.lease)
            case FinishEffect():
                return await inner.finish_effect(entry.key, entry.outcome)
            case _:
                assert_never(entry)
        return True

    async def _start_inner(self) -> None:
        await self._inner.start()
        self._inner_started = True

    # ------------------------------------------------------------------ journalling

    def _degrade(self, error: SessionStoreError) -> None:
        if self._replay is None:
            self.statistics.outages += 1
            structlog.get_logger().error("session_store_degraded", error=str(error))
            self._start_replay()

    def _claim_alone(self, key: str, owner: str, lease: int) -> Claim:
        planned = self._planned.get(key)
        if planned is None:  # planned by another process: it may have begun
            effect = Effect(key=key, session_id="", kind="", state="claimed", owner=owner, lease=lease)
            return Claim(verdict="in_doubt", effect=effect)
        return judge_claim(planned, owner, lease)

    # ------------------------------------------------------------------ replay

    def _start_replay(self) -> asyncio.Task[None]:
        if self._replay is None:
            self._replay = asyncio.create_task(self._replay_until_empty())
        return self._replay

    async def _replay_until_empty(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                await self._probe()
                await self._pending.drain(self._replay_one)
            except (SessionStoreError, OSError):
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, MAX_RETRY_S)
                continue
            # No await between this check and the change of state: nothing can slip in between.
            if self._pending.empty:
                break
            await asyncio.sleep(0)
        self._pending.drop_adopted()
        self._replay = None
        replayed = self.statistics.replayed_writes
        structlog.get_logger().info("session_store_recovered", replayed=replayed)

    async def _probe(self) -> None:
        if not self._inner_started:
            await self._start_inner()
        await self._read(self._inner.recent(1))

    async def _replay_one(self, entry: Entry) -> None:
        try:
            async with asyncio.timeout(REPLAY_LIMIT_MS / 1000):
                await self._apply(entry)
        except StaleLeaseError:
            self.statistics.stale_writes += 1
        except TimeoutError:
            raise SessionStoreError("the session store is late") from None
        else:
            self.statistics.replayed_writes += 1
