"""The durable side of one call: session and turns in the store, the call record at the end."""

import asyncio
import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable
from typing import Final

import msgspec

from voicebot.core.endings import FAULTS, OUR_PROGRAMS
from voicebot.core.errors import SessionStoreError, StaleLeaseError
from voicebot.dialogue.actions import CallTool, StoreTurn
from voicebot.dialogue.events import ToolFinished
from voicebot.link.messages import Start, Stop
from voicebot.session.call_detail_record import (
    CallDetailLog,
    CallDetailRecord,
    latency_of,
    transcript_of,
)
from voicebot.session.records import (
    Effect,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
    utc_text,
)
from voicebot.session.store import SessionStore
from voicebot.telemetry.log import get_logger
from voicebot.worker.effects import CallState, SaveState, TurnMeasured

ORPHAN_LOOK_S: Final = 0.25
ORPHAN_RETRY_S: Final = 0.01
UNREAD_LIMIT_S: Final = 10.0  # beyond the grace, while the store does not answer: the call may well live
TAKE_OVER_LIMIT_S: Final = 10.0
TAKE_OVER_LOOK_S: Final = 0.05
IN_DOUBT_S: Final = 2.0
IN_DOUBT_DEAD_S: Final = 0.2  # its link broke: it is most likely dead, and nothing will come
IN_DOUBT_LOOK_S: Final = 0.05
_NOBODY: Final = ("anonymous", "unknown", "unavailable", "restricted", "private", "withheld")


def turn_record(turn: StoreTurn, at_ms: int) -> TurnRecord:
    """A turn as it is kept."""
    return TurnRecord(
        who="bot" if turn.who == "bot" else "caller",
        text=turn.text,
        at_ms=at_ms,
        step=turn.step,
        intent=turn.intent,
        slots=turn.slots,
        confidence=turn.confidence,
        by=turn.by,
        routed_by=turn.routed_by,
    )


class CallJournal:
    """Keeps what happens in one call.

    Args:
        store: The worker's session store.
        records: Where the call record goes.
        dialplan: Name of the dialplan that serves the call.
        orphan_grace_s: How long a call whose link broke may turn up at another worker.
        ring_back_s: How long after a call that was cut off its caller may go on; 0: never.
        wall_clock_s: Time of day, for people; durations come from the link's own clock.
    """

    def __init__(
        self,
        store: SessionStore,
        records: CallDetailLog,
        dialplan: str,
        orphan_grace_s: float = 5.0,
        ring_back_s: float = 0.0,
        wall_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._records = records
        self._dialplan = dialplan
        self._orphan_grace_s = orphan_grace_s
        self._ring_back_s = ring_back_s
        self._wall_clock_s = wall_clock_s
        self._lease = 0
        self._start: Start | None = None
        self._started_at = ""
        self._started_s = 0.0
        self._turns: dict[int, TurnRecord] = {}
        self._workers = 1
        self._had_ended = False
        self._owner = ""
        self._called: set[str] = set()
        self._log = get_logger()

    async def started(self, start: Start) -> None:
        """A call began."""
        self._start = start
        self._lease = start.resume.lease if start.resume is not None else 0
        self._started_at = utc_text(self._wall_clock_s())
        self._started_s = time.monotonic() - (start.resume.talk_ms / 1000 if start.resume else 0)
        self._log = self._log.bind(call_id=start.call_id, session_id=start.session_id)
        record = SessionRecord(
            session_id=start.session_id,
            call_id=start.call_id,
            sip_call_id=start.sip_call_id,
            caller=start.caller,
            called=start.called,
            dialplan=self._dialplan,
            edge=start.edge,
            started_at=self._started_at,
            answered_at=self._started_at,
            recording=start.recording,
        )
        self._owner = f"{os.uname().nodename}:{os.getpid()}:{self._lease}"
        self._log.info("call_started", caller=start.caller, called=start.called)
        try:
            await self._store.open_session(record, lease=self._lease)
        except SessionStoreError as error:
            self._log.error("session_not_opened", error=str(error))

    async def taken_over(self, start: Start) -> CallState | None:
        """Another worker began this call: what it left, and its turns for the call record.

        A store that does not answer at once is asked again: the caller waits meanwhile, but to begin
        anew would throw away what was said, and write over it.

        Returns:
            What to go on from; None when nothing usable was stored.
        """
        try:
            stored = await self._loaded(start.session_id)
            self._had_ended = stored is not None and bool(stored.record.ended_at)
            if stored is None or not stored.state:
                return None
            state = msgspec.json.decode(stored.state, type=CallState)
        except (SessionStoreError, msgspec.DecodeError) as error:
            self._log.error("call_not_resumed", session_id=start.session_id, error=str(error))
            return None
        self._turns = dict(stored.turns)
        self._started_at = stored.record.started_at or self._started_at
        self._workers = self._lease + 1
        return state

    async def _loaded(self, session_id: str) -> StoredSession | None:
        until_s = time.monotonic() + TAKE_OVER_LIMIT_S
        while True:
            try:
                return await self._store.load(session_id)
            except SessionStoreError:
                if time.monotonic() >= until_s:
                    raise
                await asyncio.sleep(TAKE_OVER_LOOK_S)

    async def cut_off(self, start: Start) -> CallState | None:
        """What the last call of this caller left, when a fault of ours cut it off a moment ago.

        Returns:
            None as well when somebody else may be ringing (no number, another number was called), when
            the last call of this caller ended as it should, or nothing usable was stored.
        """
        if not self._ring_back_s or start.caller.strip().lower() in ("", *_NOBODY):
            return None
        try:
            latest = await self._store.recent(2, caller=start.caller)
            last = next((r for r in latest if r.session_id != start.session_id), None)
            if last is None or not self._was_cut_off(last, start):
                return None
            stored = await self._store.load(last.session_id)
            if stored is None or not stored.state:
                return None
            return msgspec.json.decode(stored.state, type=CallState)
        except (SessionStoreError, msgspec.DecodeError) as error:
            self._log.error("last_call_not_read", error=str(error))
            return None

    def _was_cut_off(self, last: SessionRecord, start: Start) -> bool:
        fault = last.ended_by in OUR_PROGRAMS and last.reason in FAULTS
        if not fault or (last.called, last.dialplan) != (start.called, self._dialplan):
            return False
        try:
            ended_s = dt.datetime.fromisoformat(last.ended_at).timestamp()
        except ValueError:
            return False
        return abs(self._wall_clock_s() - ended_s) <= self._ring_back_s

    async def state(self, save: SaveState) -> None:
        """Keep what another worker needs to go on.

        Raises:
            SessionStoreError: The store cannot take it.
            StaleLeaseError: Another worker has the call.
        """
        assert self._start is not None
        session_id = self._start.session_id
        state = msgspec.json.encode(save.state)
        await self._store.save_state(session_id, state, version=save.version, lease=self._lease)

    async def turn(self, turn: StoreTurn, at_ms: int) -> None:
        """A turn is finished; returns when it is safe.

        Raises:
            SessionStoreError: The store cannot take it; the call record still will.
        """
        assert self._start is not None
        record = turn_record(turn, at_ms)
        self._turns[turn.turn] = record
        await self._store.append_turn(self._start.session_id, turn.turn, record, lease=self._lease)

    async def measured(self, turn: TurnMeasured) -> None:
        """A turn was answered: its stages go into its record."""
        record = self._turns.get(turn.turn)
        if record is None or self._start is None:
            return
        measured = msgspec.structs.replace(
            record,
            stages_ms=turn.stages_ms,
            response_onset_ms=turn.response_onset_ms,
            overspent=turn.overspent,
        )
        self._turns[turn.turn] = measured
        try:
            await self._store.append_turn(self._start.session_id, turn.turn, measured, lease=self._lease)
        except SessionStoreError as error:
            self._log.error("turn_times_not_stored", turn_id=turn.turn, error=str(error))

    async def begin_tool(self, call: CallTool, *, may_repeat: bool) -> ToolFinished | None:
        """Note in the outbox that a tool is about to be called.

        Args:
            call: Its arguments are not kept: they may be secrets.
            may_repeat: The tool can be called again when nobody knows whether it was.

        Returns:
            None: call it. Else what came of it in an earlier life of this call; ``error`` when it may
            have been called, nobody knows what came of it, and it must not be called twice.

        Raises:
            StaleLeaseError: Another worker has the call.
        """
        key = call.idempotency_key
        if self._start is None or key in self._called:
            return None  # the tool client gives the same answer to the same key
        effect = Effect(
            key=key,
            session_id=self._start.session_id,
            kind="tool",
            payload=msgspec.json.encode({"tool": call.tool}),
            lease=self._lease,
        )
        try:
            await self._store.add_effect(effect)
            claim = await self._store.claim_effect(key, self._owner, lease=self._lease)
        except StaleLeaseError:
            raise
        except SessionStoreError as error:
            self._log.error("tool_not_noted", tool=call.tool, error=str(error))
            return None
        self._called.add(key)
        match claim.verdict:
            case "done":
                done = msgspec.json.decode(claim.effect.outcome, type=ToolFinished)
                self._log.info("tool_known", tool=call.tool, outcome=done.outcome)
                return msgspec.structs.replace(done, request=call.request)
            case "busy":
                raise StaleLeaseError("another worker calls this tool")
            case "in_doubt" if not may_repeat:
                known = await self._awaited(key)
                outcome = known.outcome if known else "error"
                self._log.warning("tool_in_doubt", tool=call.tool, outcome=outcome)
                known = known or ToolFinished(request=call.request, outcome="error")
                return msgspec.structs.replace(known, request=call.request)
            case _:
                return None

    async def _awaited(self, key: str) -> ToolFinished | None:
        """The worker before us may only have hung, and still write down what came of its call."""
        assert self._start is not None
        resume = self._start.resume
        may_live = resume is not None and resume.silent
        until_s = time.monotonic() + (IN_DOUBT_S if may_live else IN_DOUBT_DEAD_S)
        while time.monotonic() < until_s:
            await asyncio.sleep(IN_DOUBT_LOOK_S)
            with contextlib.suppress(SessionStoreError):
                stored = await self._store.load(self._start.session_id)
                for effect in stored.effects if stored is not None else ():
                    if effect.key == key and effect.state == "done":
                        return msgspec.json.decode(effect.outcome, type=ToolFinished)
        return None

    async def finish_tool(self, call: CallTool, done: ToolFinished) -> None:
        """Note what came of a tool; a failure is logged, the call goes on."""
        try:
            await self._store.finish_effect(call.idempotency_key, msgspec.json.encode(done))
        except SessionStoreError as error:
            self._log.error("tool_outcome_not_noted", tool=call.tool, error=str(error))

    async def _has_record(self, session_id: str) -> bool:
        """Whether the worker before us died after it had written the record, not before."""
        try:
            return await asyncio.to_thread(self._records.has, session_id)
        except OSError as error:
            self._log.error("records_not_read", error=str(error))
            return False

    async def ended(self, reason: str, stop: Stop | None) -> bool:
        """The call is over: close the session and write the call record.

        Without a ``stop`` only our link is over: the call may go on at another worker, which then writes
        the record.

        Returns:
            Whether the call is over, not only our part of it.
        """
        start = self._start
        if start is None or (stop is None and await self._went_elsewhere(start)):
            return False
        ended_at = utc_text(self._wall_clock_s())
        ended_by = stop.ended_by if stop is not None else "edge"
        ending = SessionEnding(ended_at=ended_at, ended_by=ended_by, reason=reason)
        try:
            await self._store.end_session(start.session_id, ending, lease=self._lease)
        except SessionStoreError as error:
            if stop is None and isinstance(error, StaleLeaseError):
                return False  # taken over since we looked: the call lives, and has its record to come
            self._log.error("session_not_closed", error=str(error))
        if self._had_ended and await self._has_record(start.session_id):
            return True
        stats = msgspec.to_builtins(stop.stats) if stop is not None and stop.stats is not None else {}
        sip = stop.sip if stop is not None else ()
        record = CallDetailRecord(
            call_id=start.call_id,
            session_id=start.session_id,
            sip_call_id=start.sip_call_id,
            caller=start.caller,
            caller_name=start.caller_name,
            called=start.called,
            dialplan=self._dialplan,
            started_at=self._started_at,
            answered_at=self._started_at,
            ended_at=ended_at,
            talk_ms=int((time.monotonic() - self._started_s) * 1000),
            ended_by=ended_by,
            reason=reason,
            sip_code=stop.sip_code if stop is not None else 0,
            turns=len(self._turns),
            transcript=transcript_of(self._turns),
            recording=start.recording,
            recording_partial=stop is not None and stop.recording_partial,
            line={k: v for k, v in stats.items() if k != "type"},
            latency=latency_of(self._turns),
            workers=self._workers,
            ring_ms=next((s.at_ms for s in sip if s.sent and s.text.startswith("200")), 0),
            sip=sip,
        )
        try:
            await self._records.append(record)
        except SessionStoreError as error:
            self._log.error("call_record_not_written", error=str(error), record=repr(record))
        self._log.info("call_ended", reason=reason, ended_by=ended_by, turns=len(self._turns))
        return True

    async def _went_elsewhere(self, start: Start) -> bool:
        """Whether another worker has the call, or its record is written; a slow store is waited for."""
        until_s = time.monotonic() + self._orphan_grace_s
        while True:
            last = time.monotonic() >= until_s
            try:
                stored = await self._store.load(start.session_id)
            except SessionStoreError:
                last = time.monotonic() >= until_s + UNREAD_LIMIT_S
            else:
                if stored is not None and (stored.lease > self._lease or stored.record.ended_at):
                    return True
            if last:
                return False
            await asyncio.sleep(min(ORPHAN_LOOK_S, max(until_s - time.monotonic(), ORPHAN_RETRY_S)))
