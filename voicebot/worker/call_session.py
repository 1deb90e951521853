"""One call, live: carries out what the pure core wants, with real engines, tasks and time.

    link ─► inbox ─► CallCore.handle ─► effects ─► link, recogniser, voices, tools, store
              ▲                                          │
              └────────────── results ◄──────────────────┘

All tasks of a call live in one task group: whatever goes wrong in one ends this call, tells the edge
and touches no other.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from voicebot.core.delivery import PLAIN_DELIVERY, Delivery
from voicebot.core.endings import INTERNAL_ERROR, WORKER_STOPPED
from voicebot.core.errors import RecognitionError, SessionStoreError, StaleLeaseError, SynthesisError
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import AskRouter, CallTool, StoreTurn
from voicebot.dialogue.events import RouteFinished, ToolFinished, ToolSaid
from voicebot.link.binary_media import SentAudio
from voicebot.link.messages import Acknowledge, LegAudio, Start, Stop
from voicebot.link.server import WorkerLink
from voicebot.session.redaction import redact_text
from voicebot.telemetry import metrics
from voicebot.telemetry.log import failure_fields, get_logger
from voicebot.worker.call_core import CallCore, Dialogue
from voicebot.worker.call_inbox import CallInbox
from voicebot.worker.call_meter import CallMeter
from voicebot.worker.call_traces import CallTraces
from voicebot.worker.call_watch import CallWatch
from voicebot.worker.effects import (
    AskAhead,
    BeginRecognition,
    BeginSynthesis,
    BudgetOverspent,
    CallState,
    CancelRecognition,
    CancelSynthesis,
    ConsoleCommand,
    Effect,
    EndCall,
    EndRecognition,
    FeedRecognition,
    HandoffNews,
    Heard,
    LegSpeech,
    Persist,
    RecognitionFailed,
    RenderAhead,
    SaveState,
    SpeechAudio,
    SpeechDone,
    ToEdge,
    TurnMeasured,
)
from voicebot.worker.ordered_writes import OrderedWrites

LEG_AUDIO_BYTES: Final = 16_000
STORE_LIMIT_S: Final = 0.05  # a slow disk must not be heard; the store's own journal keeps the turn
LAST_CALL_LIMIT_S: Final = 0.3  # with a slow store the caller hears it ring for so much longer
YIELD_AFTER_ITEMS: Final = 10


class TurnRecogniser(Protocol):
    """One turn being recognised."""

    def feed(self, payload: bytes) -> None:
        """Take mu-law audio; never waits."""
        ...

    async def finish(self) -> Heard:
        """Force the final result."""
        ...

    def cancel(self) -> None:
        """Throw it away."""
        ...


@dataclass(frozen=True, slots=True)
class Engines:
    """What a worker lends to its calls.

    Attributes:
        recognise: Begins a turn: number, what is expected, and where partial results go.
        speak: Gives the mu-law audio of a text piece by piece; closing the iterator stops the voice.
        call_tool: Runs a tool, which may say sentences while it runs.
        ask_router: Asks the language model.
        may_repeat: Whether a tool call that may have happened already can be made again.
    """

    recognise: Callable[[int, Expectation, Callable[[Heard], None]], TurnRecogniser]
    speak: Callable[[str, Delivery], AsyncIterator[bytes]]
    call_tool: Callable[[CallTool, Callable[[str], Awaitable[None]]], Awaitable[ToolFinished]]
    ask_router: Callable[[AskRouter], Coroutine[None, None, RouteFinished]]
    may_repeat: Callable[[CallTool], bool] = lambda _: True


class CallJournal(Protocol):
    """The durable side of one call."""

    async def started(self, start: Start) -> None:
        """A call began."""
        ...

    async def taken_over(self, start: Start) -> CallState | None:
        """Another worker began this call: what it left."""
        ...

    async def cut_off(self, start: Start) -> CallState | None:
        """What the last call of this caller left, when a fault of ours cut it off a moment ago."""
        ...

    async def turn(self, turn: StoreTurn, at_ms: int) -> None:
        """A turn is finished; returns when it is safe."""
        ...

    async def state(self, save: SaveState) -> None:
        """Keep what another worker needs to go on."""
        ...

    async def measured(self, turn: TurnMeasured) -> None:
        """A turn was answered."""
        ...

    async def begin_tool(self, call: CallTool, *, may_repeat: bool) -> ToolFinished | None:
        """Note that a tool is about to be called; what came of it if somebody called it before."""
        ...

    async def finish_tool(self, call: CallTool, done: ToolFinished) -> None:
        """Note what came of it."""
        ...

    async def ended(self, reason: str, stop: Stop | None) -> bool:
        """The call is over: write the call record; False when it goes on at another worker."""
        ...


def _now_ms() -> float:
    return time.monotonic_ns() / 1e6


class CallSession:
    """Runs one call from its first link message to its end.

    Args:
        link: The edge's link.
        core: The call's pure core.
        engines: Shared by all calls of the worker.
        journal: Store and call record of this call.
        restore: Gives the dialogue of a stored state, or None when it cannot go on.
        offer: Gives the dialogue that offers to go on with a call that was cut off, or None.
        clock_ms: Monotonic clock in milliseconds.
        watch: Told what happens; may put commands of the console into the call.
        traces: Writes the spans of the call.
    """

    def __init__(
        self,
        link: WorkerLink,
        core: CallCore,
        engines: Engines,
        journal: CallJournal,
        restore: Callable[[Start, CallState], Dialogue | None],
        offer: Callable[[Start, CallState], Dialogue | None] = lambda _start, _state: None,
        clock_ms: Callable[[], float] = _now_ms,
        watch: CallWatch | None = None,
        traces: CallTraces | None = None,
    ) -> None:
        self._watch = watch or CallWatch()
        self._traces = traces
        self._meter = CallMeter()
        self._link = link
        self._core = core
        self._engines = engines
        self._journal = journal
        self._restore = restore
        self._offer = offer
        self._clock_ms = clock_ms
        self._inbox = CallInbox(link)
        self._recogniser: TurnRecogniser | None = None
        self._voice: asyncio.Task[None] | None = None
        self._asked_ahead: dict[tuple[str, tuple[str, ...]], asyncio.Task[RouteFinished]] = {}
        self._started_ms = 0.0
        self._end: EndCall | None = None
        self._replaced = False
        self._writes = OrderedWrites(STORE_LIMIT_S, self._not_written)
        self._log = get_logger()

    @property
    def inbox_depth(self) -> int:
        """Messages that wait to be handled."""
        return len(self._inbox)

    async def run(self) -> None:
        """Serve the call until it is over; never raises for what one call did."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._watch.opened(self._command)
                await self._serve(tasks)
                if self._voice is not None:
                    self._voice.cancel()
        except* Exception as group:  # noqa: BLE001  the call ends here, with its record; others go on
            self._log.error("call_failed", **failure_fields(group.exceptions[0]))
            self._end = self._end or EndCall(INTERNAL_ERROR, None)
        finally:
            self._inbox.close()
            if self._recogniser is not None:
                self._recogniser.cancel()
            end = self._end or EndCall("taken over" if self._replaced else WORKER_STOPPED, None)
            self._watch.ended(end.reason)
            self._meter.line(self._core.echo_return_loss_db)
            await self._writes.settled()
            if await self._journal.ended(end.reason, end.stop):
                self._watch.closed()

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        in_a_row = 0
        deadline_ms = self._core.next_deadline_ms()
        while not self._core.over and not self._replaced:
            # After a takeover there is a queue to catch up with, and taking from it never waits: let the
            # other calls and the heartbeats have their turn.
            in_a_row += 1
            if in_a_row % YIELD_AFTER_ITEMS == 0:
                await asyncio.sleep(0)
            if deadline_ms is not None and deadline_ms <= self._clock_ms():
                await self._carry_out(self._core.advance(self._clock_ms()), tasks)
                deadline_ms = self._core.next_deadline_ms()
                continue
            item = self._inbox.take()
            if item is None:
                in_a_row = 0
                wait_s = None if deadline_ms is None else (deadline_ms - self._clock_ms()) / 1000
                await self._inbox.wait(wait_s)
                continue
            while isinstance(item, SentAudio):  # nothing is due by it, the caller's frame is next
                self._watch.item(item)
                await self._carry_out(self._core.handle(item, self._clock_ms()), tasks)
                item = self._inbox.take()
            if item is None:
                continue
            if isinstance(item, Start):
                self._started_ms = self._clock_ms() - (item.resume.talk_ms if item.resume else 0)
                self._log = self._log.bind(call_id=item.call_id, session_id=item.session_id)
                await self._journal.started(item)
                await self._take_over(item)
            if not (self._core.listens_to_secret and isinstance(item, Heard)):
                self._watch.item(item)
            self._see(item)
            await self._carry_out(self._core.handle(item, self._clock_ms()), tasks)
            deadline_ms = self._core.next_deadline_ms()

    def _see(self, thing: object) -> None:
        self._meter.see(thing, self._clock_ms())
        if self._traces is not None:
            self._traces.see(thing)

    def _command(self, command: ConsoleCommand) -> None:
        self._inbox.offer(command)

    async def _take_over(self, start: Start) -> None:
        """A call that another worker began goes on from what that one stored; else it begins anew."""
        if start.resume is None:
            if start.originated is None:  # somebody whom we call has not rung back
                await self._offer_to_go_on(start)
            return
        state = await self._journal.taken_over(start)
        dialogue = self._restore(start, state) if state is not None else None
        if state is not None and dialogue is not None:
            self._core.take_over(dialogue, state)
        elif state is not None:
            # It begins anew rather than to fail in a place that the dialplan has not any more.
            self._log.error("call_not_resumed", error="its place is not in this dialplan")
        metrics.TAKEOVERS.labels("restored" if dialogue is not None else "anew").inc()
        self._log.info("call_taken_over", restored=dialogue is not None, lease=start.resume.lease)

    async def _offer_to_go_on(self, start: Start) -> None:
        """A caller whose last call was cut off by a fault of ours rings back."""
        state = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_CALL_LIMIT_S):
                state = await self._journal.cut_off(start)
        dialogue = self._offer(start, state) if state is not None else None
        if dialogue is not None:
            self._core.begin_with(dialogue)
            metrics.RING_BACKS.inc()
        if state is not None:
            self._log.info("caller_rings_back", offered=dialogue is not None)

    async def _carry_out(self, effects: list[Effect], tasks: asyncio.TaskGroup) -> None:
        engines = self._engines
        for effect in effects:
            if self._replaced:
                return  # what follows from a turn that could not be stored is not ours to do
            self._see(effect)
            match effect:
                case ToEdge(message=Acknowledge()) if self._writes.behind:
                    # The edge forgets what is acknowledged: not before it is safe.
                    self._writes.then(self._link.send(effect.message))
                case ToEdge():
                    await self._link.send(effect.message)
                case BeginRecognition():
                    self._begin_recognition(effect)
                case FeedRecognition():
                    if self._recogniser is not None:
                        self._recogniser.feed(effect.payload)
                case EndRecognition():
                    if self._recogniser is not None:
                        recogniser, self._recogniser = self._recogniser, None
                        tasks.create_task(self._final(effect.turn, recogniser))
                case CancelRecognition():
                    if self._recogniser is not None:
                        self._recogniser.cancel()
                        self._recogniser = None
                case BeginSynthesis():
                    self._voice = tasks.create_task(self._speak(effect))
                case CancelSynthesis():
                    if self._voice is not None:
                        self._voice.cancel()
                case CallTool():
                    tasks.create_task(self._result(self._call_tool(effect)))
                case AskRouter():
                    ahead = self._asked_ahead.pop((effect.text, effect.intents), None)
                    answer = ahead if ahead is not None else engines.ask_router(effect)
                    tasks.create_task(self._routed(effect, answer))
                case AskAhead(ask=ask):
                    if (ask.text, ask.intents) not in self._asked_ahead:
                        task = tasks.create_task(engines.ask_router(ask))
                        self._asked_ahead[ask.text, ask.intents] = task
                case RenderAhead():
                    tasks.create_task(self._render_ahead(effect))
                case Persist():
                    self._forget_ahead()
                    at_ms = int(self._clock_ms() - self._started_ms)
                    self._watch.said(effect.turn, at_ms)
                    await self._write(self._journal.turn(effect.turn, at_ms))
                case SaveState():
                    await self._write(self._journal.state(effect))
                case TurnMeasured():
                    await self._measured(effect)
                case BudgetOverspent(stage=stage, action=action):
                    self._log.warning("budget_overspent", stage=stage, action=action)
                case LegSpeech():
                    tasks.create_task(self._speak_to_leg(effect))
                case HandoffNews():
                    await self._watch.handoff(effect)
                case EndCall():
                    self._end = effect

    def _begin_recognition(self, effect: BeginRecognition) -> None:
        def partial(heard: Heard) -> None:
            self._inbox.offer(heard)  # where there is no room a later partial says more

        try:
            self._recogniser = self._engines.recognise(effect.turn, effect.expectation, partial)
        except RecognitionError as error:
            self._log.error("recogniser_failed", stage="start", error=str(error))
            self._recogniser = _Deaf(effect.turn, str(error))

    async def _final(self, turn: int, recogniser: TurnRecogniser) -> None:
        try:
            heard: Heard | RecognitionFailed = await recogniser.finish()
        except RecognitionError as error:
            self._log.error("recogniser_failed", stage="final", error=str(error))
            heard = RecognitionFailed(turn, str(error))
        await self._inbox.put(heard)

    async def _speak(self, effect: BeginSynthesis) -> None:
        error = ""
        try:
            async for payload in self._engines.speak(effect.text, effect.delivery):
                await self._inbox.put(SpeechAudio(effect.utterance, payload))
        except SynthesisError as failure:
            error = str(failure)
            self._log.error("voice_failed", utterance=effect.utterance, error=error)
        await self._inbox.put(SpeechDone(effect.utterance, error))

    async def _speak_to_leg(self, effect: LegSpeech) -> None:
        with contextlib.suppress(SynthesisError):  # without a brief the digit still works
            async for payload in self._engines.speak(effect.text, PLAIN_DELIVERY):
                for at in range(0, len(payload), LEG_AUDIO_BYTES):
                    piece = payload[at : at + LEG_AUDIO_BYTES]
                    await self._link.send(
                        LegAudio(leg=effect.leg, utterance=effect.utterance, payload=piece)
                    )
        await self._link.send(LegAudio(leg=effect.leg, utterance=effect.utterance, last=True))

    async def _render_ahead(self, effect: RenderAhead) -> None:
        with contextlib.suppress(SynthesisError):  # the real attempt reports it
            async for _ in self._engines.speak(effect.text, effect.delivery):
                pass

    def _forget_ahead(self) -> None:
        """The turn is decided: questions asked ahead that nobody repeated are of no use."""
        for task in self._asked_ahead.values():
            task.cancel()
        self._asked_ahead.clear()

    async def _routed(self, ask: AskRouter, answer: Awaitable[RouteFinished]) -> None:
        await self._inbox.put(replace(await answer, request=ask.request))

    async def _result(self, waiting: Awaitable[ToolFinished]) -> None:
        await self._inbox.put(await waiting)

    async def _call_tool(self, call: CallTool) -> ToolFinished:
        """Call a tool through the outbox: whoever takes the call over knows that it was called."""
        may_repeat = self._engines.may_repeat(call)
        try:
            known = await self._journal.begin_tool(call, may_repeat=may_repeat)
        except StaleLeaseError:
            await self._fall_silent()
            return ToolFinished(request=call.request, outcome="error")
        if known is not None:
            return known

        async def said(text: str) -> None:
            await self._inbox.put(ToolSaid(request=call.request, text=text))

        done = await self._engines.call_tool(call, said)
        await self._journal.finish_tool(call, done)
        return done

    async def _fall_silent(self) -> None:
        """We hung, and another worker has the call by now."""
        if not self._replaced:
            self._log.warning("call_lost_to_another_worker")
        self._replaced = True
        await self._link.abort()

    async def _write(self, write: Coroutine[None, None, None]) -> None:
        if not await self._writes.put(write):
            metrics.STORE_LATE.inc()
            self._log.error("not_stored_in_time", limit_s=STORE_LIMIT_S)

    async def _not_written(self, error: SessionStoreError) -> None:
        if isinstance(error, StaleLeaseError):
            await self._fall_silent()
            return
        metrics.STORE_LATE.inc()
        self._log.error("not_stored", error=str(error))

    async def _measured(self, turn: TurnMeasured) -> None:
        self._log.info(
            "turn",
            turn_id=turn.turn,
            text=redact_text(turn.text),
            intent=turn.intent,
            confidence=turn.confidence,
            by=turn.by,
            routed_by=turn.routed_by,
            end_reason=turn.end_reason,
            hold_ms=turn.hold_ms,
            response_onset_ms=turn.response_onset_ms,
            hops_ms=turn.hops_ms,
            stages_ms=turn.stages_ms,
            speculation=turn.speculation,
            overspent=turn.overspent,
        )
        await self._write(self._journal.measured(turn))


class _Deaf:
    """Stands for a recogniser that could not be started: the caller is asked again, or keys."""

    def __init__(self, turn: int, reason: str) -> None:
        self._turn = turn
        self._reason = reason

    def feed(self, payload: bytes) -> None:
        """Hear nothing."""

    async def finish(self) -> Heard:
        """Fail as the start did."""
        raise RecognitionError(self._reason)

    def cancel(self) -> None:
        """Nothing to throw away."""
