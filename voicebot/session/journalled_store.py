"""A store that never keeps a call waiting: what the real one does not take in time goes to a journal.

              write fails or is late                   journal empty again
    STORING ──────────────────────────► JOURNALLING ──────────────────────► STORING
                                         │  ▲
                                         └──┘ a task tries the store again, oldest entry first

While journalling, writes go straight to the journal, so their order is kept. If the journal cannot be
written either (the same full disk), they wait in memory, bounded and counted.

Whoever takes a session over needs all that the worker before has acknowledged, also what is only in a
journal. A dead one's is adopted; one that hangs keeps its lock, so what its journal holds of the session
is copied before its lease becomes stale. What was loaded is completed from all journals of the machine.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.session.claims import judge_claim
from voicebot.session.entries import apply, in_order, with_entries
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
LOAD_LIMIT_MS: Final = 3000  # who takes a call over waits for it on a machine that has no time, too
REPLAY_LIMIT_MS: Final = 1000
ADOPT_LIMIT_MS: Final = 200
JOURNALS_LIMIT_MS: Final = 5000
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
            try:
                await self._copy(record.session_id)
            except SessionStoreError as error:
                structlog.get_logger().error("journals_not_copied", error=str(error))
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
        """See ``SessionStore``; with what waits in a journal of this machine, whoever wrote it."""
        await self._adopt_journals()
        # The journals first: what is written from them meanwhile is then read from the store.
        waiting = await self._waiting(session_id)
        stored = await self._read(self._inner.load(session_id), LOAD_LIMIT_MS)
        return await with_entries(stored, session_id, waiting) if waiting else stored

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
            await self._look_for(effect)
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
                session = claim.effect.session_id
                await self._pending.put(
                    ClaimEffect(key=key, owner=owner, lease=lease, session_id=session)
                )
        self._planned[key] = claim.effect
        return claim

    async def finish_effect(self, key: str, outcome: bytes) -> bool:
        """See ``SessionStore``."""
        planned = self._planned.get(key)
        session = planned.session_id if planned is not None else ""
        known = await self._write(FinishEffect(key=key, outcome=outcome, session_id=session))
        self._planned.pop(key, None)
        return planned is not None if known is None else known

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
        async with self._adopting:
            await self._pending.adopt()
        if self._pending.adopted:
            # Also when another call adopted them: all calls of a dead worker come at the same moment.
            # The wait is no condition: what is not written by then is read from the journals.
            replay = self._start_replay()
            await asyncio.wait({replay}, timeout=ADOPT_LIMIT_MS / 1000)

    async def _copy(self, session_id: str) -> None:
        """Write what the journals of others hold of a session, with the leases of those others.

        They write it too, unless they hang or are dead: every write is harmless when done twice.
        """
        for entry in in_order(await self._waiting(session_id, of_others=True)):
            with contextlib.suppress(StaleLeaseError):
                await self._write(entry)

    async def _look_for(self, effect: Effect) -> None:
        """Without the store: what the worker before may have planned, begun or done."""
        if effect.key in self._planned:
            return
        session_id = effect.session_id
        before = msgspec.structs.replace(effect, state="claimed", lease=effect.lease - 1)
        try:
            waiting = await self._waiting(session_id)
            stored = await self._read(self._inner.load(session_id))
        except SessionStoreError:
            if effect.lease:  # nobody can say whether the worker before has begun it
                self._planned[effect.key] = before
            return
        unread = StoredSession(record=SessionRecord(session_id=session_id, call_id=""))
        known = await with_entries(stored or unread, session_id, waiting)
        effects = known.effects if known is not None else ()
        begun = {e.key: e for e in effects if e.state != "pending"}
        if effect.key in begun:
            self._planned[effect.key] = begun[effect.key]

    async def _waiting(self, session_id: str, *, of_others: bool = False) -> list[Entry]:
        """What the journals hold of a session: files, so the limit is for a disk that stands still."""
        try:
            async with asyncio.timeout(JOURNALS_LIMIT_MS / 1000):
                return await self._pending.of_session(session_id, of_others=of_others)
        except TimeoutError:
            raise SessionStoreError("the journals cannot be read") from None

    async def _write(self, entry: Entry) -> bool | None:
        """The store's answer; None when the journal took the entry."""
        if not self.degraded:
            try:
                return await self._in_time(apply(self._inner, entry))
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

    async def _read(self, work: Awaitable[T], limit_ms: int | None = None) -> T:
        try:
            async with asyncio.timeout((limit_ms or READ_LIMIT_MS) / 1000):
                return await work
        except TimeoutError:
            raise SessionStoreError("the session store does not answer") from None

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
                await apply(self._inner, entry)
        except StaleLeaseError:
            self.statistics.stale_writes += 1
        except TimeoutError:
            raise SessionStoreError("the session store is late") from None
        else:
            self.statistics.replayed_writes += 1
