"""A whole call on virtual time: the worker's own core, a pretended edge, no socket and no waiting.

    caller ─ 20 ms frames, keys ─► CallCore ─ effects ─► engines (called in line)
      ▲                                                    │ results after a set latency
      └────────────── PlayoutQueue ◄── BotAudio, Clear ◄───┘

The same audio and the same engines give the same call each time, as fast as the CPU allows. Used by
the scenario tests and by offline replay.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

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
    Dtmf,
    EdgeMessage,
    EndUtterance,
    Hangup,
    Pause,
    Played,
    Reject,
    Result,
    Start,
    Stop,
    Transfer,
    TransferProgress,
    Unpause,
)
from voicebot.rtp.playout import PlayoutQueue
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

    def finish(self) -> tuple[str, float]:
        """Final text and confidence, 0 to 1."""
        ...


@dataclass(frozen=True, slots=True)
class VirtualEngines:
    """The engines of a virtual call with the latencies that they pretend to have."""

    recognise: Callable[[Expectation], VirtualRecogniser]
    synthesise: Callable[[str], bytes]
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

    effects: list[tuple[int, Effect]] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)
    bot_audio: bytearray = field(default_factory=bytearray)
    ended_ms: int | None = None
    rejected: int | None = None
    transferred_to: str | None = None

    def of(self, kind: type) -> list[Effect]:
        """All effects of one kind, in order."""
        return [effect for _, effect in self.effects if isinstance(effect, kind)]


class VirtualCall:
    """Runs one call to its end.

    Args:
        core: The call.
        engines: What carries out its effects.
        caller: The far end.
    """

    def __init__(self, core: CallCore, engines: VirtualEngines, caller: VirtualCaller) -> None:
        self._core = core
        self._engines = engines
        self._caller = caller
        self._playout = PlayoutQueue()
        self._recogniser: VirtualRecogniser | None = None
        self._pending: list[tuple[int, int, EdgeMessage | Input | Event]] = []
        self._serial = count()
        self._hang_up = False
        self.record = VirtualRecord()

    def run(self, start: Start, *, limit_ms: int = 120_000) -> VirtualRecord:
        """Play the call until one side hangs up, or until ``limit_ms`` of virtual time."""
        self._put(0, start)
        for frame, now_ms in enumerate(range(0, limit_ms, FRAME_MS)):
            self._deliver(now_ms)
            out = self._playout.next_frame()
            self.record.bot_audio += out.payload
            position = out.position_samples + FRAME_SAMPLES
            if not out.silence:
                self._take(SentAudio(position, out.payload), now_ms)
            for played in self._playout.take_played():
                self._put(
                    now_ms,
                    Played(
                        utterance=played.utterance,
                        played_ms=int(played.played_ms),
                        edge_us=(now_ms + FRAME_MS) * 1000,
                        finished=played.finished,
                    ),
                )
            said = self._caller.tick(now_ms, out.payload, heard_silence=out.silence)
            if said is None:
                self._put(now_ms, Stop(reason="caller hung up"))
            elif isinstance(said, Key):
                self._put(now_ms, Dtmf(digit=said.digit))
            audio = said if isinstance(said, bytes) else ULAW_SILENCE_FRAME
            position = out.position_samples + FRAME_SAMPLES
            self._take(CallerAudio(frame, frame * FRAME_SAMPLES, now_ms * 1000, position, audio), now_ms)
            self._deliver(now_ms)
            if self._hang_up and self._playout.queued_ms <= 0:
                self._take(Stop(reason="bot hung up", ended_by="bot"), now_ms)
            if self._core.over or self.record.rejected is not None:
                self.record.ended_ms = now_ms
                break
        return self.record

    def _put(self, at_ms: int, item: EdgeMessage | Input | Event) -> None:
        heapq.heappush(self._pending, (at_ms, next(self._serial), item))

    def _deliver(self, now_ms: int) -> None:
        deadline = self._core.next_deadline_ms()
        if deadline is not None and deadline <= now_ms:
            self._carry_out(self._core.advance(now_ms), now_ms)
        while self._pending and self._pending[0][0] <= now_ms:
            self._take(heapq.heappop(self._pending)[2], now_ms)

    def _take(self, item: FromEdge | Input | Event, now_ms: int) -> None:
        self._carry_out(self._core.handle(item, now_ms), now_ms)

    def _carry_out(self, effects: Iterable[Effect], now_ms: int) -> None:
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
                        self._put(now_ms, Heard(effect.turn, partial, 0.0, final=False))
                case EndRecognition():
                    if self._recogniser is not None:
                        text, confidence = self._recogniser.finish()
                        heard = Heard(effect.turn, text, confidence, final=True)
                        self._put(now_ms + engines.asr_final_ms, heard)
                        self._recogniser = None
                case CancelRecognition():
                    self._recogniser = None
                case BeginSynthesis():
                    self.record.spoken.append(effect.text)
                    audio = engines.synthesise(effect.text)
                    at_ms = now_ms + engines.synthesis_ms
                    self._put(at_ms, SpeechAudio(effect.utterance, audio))
                    self._put(at_ms, SpeechDone(effect.utterance))
                case CallTool():
                    self._put(now_ms + engines.tool_ms, engines.call_tool(effect))
                case AskRouter():
                    self._put(now_ms + engines.tool_ms, engines.ask_router(effect))
                case EndCall():
                    self.record.ended_ms = now_ms
                case _:
                    pass

    def _edge(self, effect: ToEdge, now_ms: int) -> None:
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
                self._put(now_ms, Cleared(generation=clear.generation, utterances=cleared))
            case Pause(ramp_ms=ramp_ms):
                self._playout.pause(ramp_ms)
            case Unpause():
                self._playout.resume()
            case Answer(request=request):
                self._put(now_ms, Result(request=request, ok=True, code=200))
            case Reject(code=code):
                self.record.rejected = code
            case Transfer() as transfer:
                self.record.transferred_to = transfer.uri
                code = self._engines.transfer_code
                self._put(now_ms, TransferProgress(request=transfer.request, code=code, final=True))
            case Hangup():
                self._hang_up = True
            case _:
                pass
