"""A whole call on virtual time: the worker's own core, a pretended edge, no socket and no waiting.

    caller ─ 20 ms frames, keys ─► CallCore ─ effects ─► engines (called in line)
      ▲                                                    │ results after a set latency
      └────────────── PlayoutQueue ◄── BotAudio, Clear ◄───┘

The same audio and the same engines give the same call each time, as fast as the CPU allows. ``run`` is
for a caller who makes frames (the scenario tests); ``voicebot.offline`` drives it from packets.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from voicebot.core.delivery import Delivery
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import AskRouter, CallTool
from voicebot.dialogue.events import Event, RouteFinished, ToolFinished
from voicebot.link.binary_media import BotAudio, CallerAudio, SentAudio
from voicebot.link.codec import FromEdge
from voicebot.link.messages import (
    Answer,
    Clear,
    Cleared,
    ClearedUtterance,
    Dial,
    Dtmf,
    EdgeMessage,
    EndUtterance,
    Hangup,
    Pause,
    Played,
    Record,
    Reject,
    Result,
    Start,
    Stop,
    Transfer,
    TransferProgress,
    Unpause,
)
from voicebot.rtp.playout import PlayoutFrame, PlayoutQueue
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import (
    BeginRecognition,
    BeginSynthesis,
    CancelRecognition,
    Effect,
    EndCall,
    EndRecognition,
    FeedRecognition,
    Heard,
    Input,
    SpeechAudio,
    SpeechDone,
    ToEdge,
)

FRAME_MS = 20
FRAME_SAMPLES = 160
ULAW_SILENCE_FRAME = b"\xff" * FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Key:
    """The caller presses a key."""

    digit: str


class VirtualCaller(Protocol):
    """The far end. Called once per 20 ms, with what it hears."""

    def tick(self, now_ms: int, heard: bytes, *, heard_silence: bool) -> bytes | Key | None:
        """What the caller does in this tick: 160 bytes of mu-law, a key, or None to hang up."""
        ...


class VirtualRecogniser(Protocol):
    """One turn's recogniser, called in line."""

    def accept(self, payload: bytes) -> str | None:
        """Take mu-law audio; the partial text when it changed."""
        ...

    def finish(self) -> tuple[str, float, *tuple[str, ...]]:
        """Final text, confidence (0 to 1), and other readings, best first."""
        ...


@dataclass(frozen=True, slots=True)
class VirtualEngines:
    """The engines of a virtual call with the latencies that they pretend to have."""

    recognise: Callable[[Expectation], VirtualRecogniser]
    synthesise: Callable[[str, Delivery], bytes]
    call_tool: Callable[[CallTool], ToolFinished] = lambda c: ToolFinished(
        request=c.request, outcome="error"
    )
    ask_router: Callable[[AskRouter], RouteFinished] = lambda a: RouteFinished(
        request=a.request, intent=None
    )
    asr_final_ms: int = 0
    synthesis_ms: int = 0
    tool_ms: int = 0
    transfer_code: int = 200


@dataclass(slots=True)
class VirtualRecord:
    """What happened. ``spoken`` is the text of all utterances that were begun, in order."""

    effects: list[tuple[float, Effect]] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    bot_audio: bytearray = field(default_factory=bytearray)
    ended_ms: float | None = None
    answered_ms: float | None = None
    rejected: int | None = None
    recording_paused: bool = False
    transferred_to: str | None = None

    def of(self, kind: type) -> list[Effect]:
        """All effects of one kind, in order."""
        return [effect for _, effect in self.effects if isinstance(effect, kind)]


class VirtualCall:
    """Runs one call to its end.

    Args:
        core: The call.
        engines: What carries out its effects.
        caller: The far end, for ``run``.
    """

    def __init__(
        self, core: CallCore, engines: VirtualEngines, caller: VirtualCaller | None = None
    ) -> None:
        self._core = core
        self._engines = engines
        self._caller = caller
        self._playout = PlayoutQueue()
        self._recogniser: VirtualRecogniser | None = None
        self._pending: list[tuple[float, int, EdgeMessage | Input | Event]] = []
        self._serial = count()
        self._hang_up = False
        self._position = 0
        self.record = VirtualRecord()

    def run(self, start: Start, *, limit_ms: int = 120_000) -> VirtualRecord:
        """Play the call until one side hangs up, or until ``limit_ms`` of virtual time."""
        assert self._caller is not None
        self.put(0, start)
        for frame, now_ms in enumerate(range(0, limit_ms, FRAME_MS)):
            out = self.send(now_ms)
            said = self._caller.tick(now_ms, out.payload, heard_silence=out.silence)
            if said is None:
                self.put(now_ms, Stop(reason="caller hung up"))
            elif isinstance(said, Key):
                self.put(now_ms, Dtmf(digit=said.digit))
            audio = said if isinstance(said, bytes) else ULAW_SILENCE_FRAME
            position = self.position_samples
            self._take(CallerAudio(frame, frame * FRAME_SAMPLES, now_ms * 1000, position, audio), now_ms)
            self.deliver(now_ms)
            if self.finish_tick(now_ms, Stop(reason="bot hung up", ended_by="bot")):
                break
        return self.record

    @property
    def position_samples(self) -> int:
        """How much has been sent to the caller."""
        return self._position

    def put(self, at_ms: float, item: EdgeMessage | Input | Event) -> None:
        """Something happens at this time, or is taken at the next ``deliver`` after it."""
        heapq.heappush(self._pending, (at_ms, next(self._serial), item))

    def send(self, now_ms: float) -> PlayoutFrame:
        """The first half of a tick: what the caller hears in the next 20 ms."""
        self.deliver(now_ms)
        out = self._playout.next_frame()
        self._position = out.position_samples + FRAME_SAMPLES
        self.record.bot_audio += out.payload
        if not out.silence:
            self._take(SentAudio(self._position, out.payload), now_ms)
        for played in self._playout.take_played():
            self.put(
                now_ms,
                Played(
                    utterance=played.utterance,
                    played_ms=int(played.played_ms),
                    edge_us=int((now_ms + FRAME_MS) * 1000),
                    finished=played.finished,
                ),
            )
        return out

    def hear(self, audio: CallerAudio, now_ms: float) -> None:
        """20 ms of the caller arrive; what was due before is delivered already."""
        self._take(audio, now_ms)

    def deliver(self, now_ms: float) -> None:
        """Let everything happen that is due by now."""
        deadline = self._core.next_deadline_ms()
        if deadline is not None and deadline <= now_ms:
            self._carry_out(self._core.advance(now_ms), now_ms)
        while self._pending and self._pending[0][0] <= now_ms:
            self._take(heapq.heappop(self._pending)[2], now_ms)

    def finish_tick(self, now_ms: float, bot_hung_up: Stop) -> bool:
        """The end of a tick: whether the call is over; ``bot_hung_up`` follows the last words."""
        if self._hang_up and self._playout.queued_ms <= 0:
            self._take(bot_hung_up, now_ms)
        if self._core.over or self.record.rejected is not None:
            self.record.ended_ms = now_ms
            return True
        return False

    def _take(self, item: FromEdge | Input | Event, now_ms: float) -> None:
        self._carry_out(self._core.handle(item, now_ms), now_ms)

    def _carry_out(self, effects: Iterable[Effect], now_ms: float) -> None:
        engines = self._engines
        for effect in effects:
            if not isinstance(effect, FeedRecognition):
                self.record.effects.append((now_ms, effect))
            match effect:
                case ToEdge():
                    self._edge(effect, now_ms)
                case BeginRecognition():
                    self._recogniser = engines.recognise(effect.expectation)
                case FeedRecognition():
                    partial = self._recogniser.accept(effect.payload) if self._recogniser else None
                    if partial is not None:
                        self.put(now_ms, Heard(effect.turn, partial, 0.0, final=False))
                case EndRecognition():
                    if self._recogniser is not None:
                        text, confidence, *others = self._recogniser.finish()
                        heard = Heard(
                            effect.turn, text, confidence, final=True, alternatives=tuple(others)
                        )
                        self.put(now_ms + engines.asr_final_ms, heard)
                        self._recogniser = None
                case CancelRecognition():
                    self._recogniser = None
                case BeginSynthesis():
                    self.record.spoken.append(effect.text)
                    audio = engines.synthesise(effect.text, effect.delivery)
                    at_ms = now_ms + engines.synthesis_ms
                    self.put(at_ms, SpeechAudio(effect.utterance, audio))
                    self.put(at_ms, SpeechDone(effect.utterance))
                case CallTool():
                    self.put(now_ms + engines.tool_ms, engines.call_tool(effect))
                case AskRouter():
                    self.put(now_ms + engines.tool_ms, engines.ask_router(effect))
                case EndCall():
                    self.record.ended_ms = now_ms
                case _:
                    pass

    def _edge(self, effect: ToEdge, now_ms: float) -> None:
        match effect.message:
            case BotAudio() as audio:
                self._playout.enqueue(audio.generation, audio.utterance, audio.payload)
            case EndUtterance(utterance=utterance):
                self._playout.end_of_utterance(utterance)
            case Clear() as clear:
                cleared = tuple(
                    ClearedUtterance(
                        utterance=c.utterance, played_ms=int(c.played_ms), dropped_ms=int(c.dropped_ms)
                    )
                    for c in self._playout.clear(clear.generation, clear.ramp_ms)
                )
                self.put(now_ms, Cleared(generation=clear.generation, utterances=cleared))
            case Pause(ramp_ms=ramp_ms):
                self._playout.pause(ramp_ms)
            case Unpause():
                self._playout.resume()
            case Answer(request=request):
                self.record.answered_ms = now_ms
                self.put(now_ms, Result(request=request, ok=True, code=200))
            case Reject(code=code):
                self.record.rejected = code
            case Transfer() as transfer:
                self.record.transferred_to = transfer.uri
                code = self._engines.transfer_code
                self.put(now_ms, TransferProgress(request=transfer.request, code=code, final=True))
            case Dial(request=request):
                self.put(
                    now_ms, Result(request=request, ok=False, code=480)
                )  # nobody is there to answer
            case Record(paused=paused):
                self.record.recording_paused = paused
            case Hangup():
                self._hang_up = True
            case _:
                pass
