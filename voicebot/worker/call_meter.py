"""One call into metrics: looks on at what comes in and what is wanted, and changes nothing.

Most of what passes is audio, which costs one look into a table.
"""

from collections.abc import Callable
from typing import Any, Final

from voicebot.dialogue.actions import AskRouter, CallTool
from voicebot.dialogue.events import RouteFinished, ToolFinished
from voicebot.link.messages import Clear, Pause, Unpause
from voicebot.telemetry import metrics
from voicebot.worker.effects import (
    EndCall,
    HandoffNews,
    Heard,
    Persist,
    RecognitionFailed,
    SpeechDone,
    ToEdge,
    TurnMeasured,
)

LOUD_ECHO_DB: Final = 20.0
"""With less return loss the bot's echo is an anomaly of the line (a speakerphone, a bad hybrid)."""

_NO_MODEL: Final = "no"
_ASKED: Final = "asked"
_FAILED: Final = "failed"


class CallMeter:
    """Meters one call. Times are milliseconds on the worker's monotonic clock."""

    def __init__(self) -> None:
        self._step = ""
        self._llm = _NO_MODEL
        self._paused_ms: float | None = None
        self._tools_ms: dict[str, float] = {}
        self._handed_over = False
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            AskRouter: self._asked,
            RouteFinished: self._routed,
            CallTool: self._tool_called,
            ToolFinished: self._tool_finished,
            Heard: self._heard,
            RecognitionFailed: self._not_recognised,
            SpeechDone: self._spoken,
            ToEdge: self._to_edge,
            Persist: self._persisted,
            TurnMeasured: self._measured,
            HandoffNews: self._handoff,
            EndCall: self._ended,
        }

    def see(self, thing: object, now_ms: float) -> None:
        """Something came in, or is wanted."""
        handler = self._handlers.get(type(thing))
        if handler is not None:
            handler(thing, now_ms)

    def line(self, echo_return_loss_db: float | None) -> None:
        """What was learned of the line by the end of the call."""
        if echo_return_loss_db is not None:
            metrics.ECHO_RETURN_LOSS_DB.observe(echo_return_loss_db)
            if echo_return_loss_db < LOUD_ECHO_DB:
                metrics.ACOUSTIC_ANOMALIES.labels("echo").inc()

    # ------------------------------------------------------------------ turns

    def _measured(self, turn: TurnMeasured, _now_ms: float) -> None:
        metrics.TURNS.labels(turn.by, self._llm).inc()
        self._llm = _NO_MODEL
        if turn.response_onset_ms is not None:
            metrics.RESPONSE_ONSET_SECONDS.labels(turn.by).observe(turn.response_onset_ms / 1000)
        for stage, took_ms in turn.stages_ms.items():
            metrics.STAGE_SECONDS.labels(stage).observe(took_ms / 1000)
        for stage in turn.overspent:
            metrics.STAGE_OVERSPENT.labels(stage).inc()
        metrics.SPECULATIONS.labels(turn.speculation).inc()

    def _heard(self, heard: Heard, _now_ms: float) -> None:
        if heard.text:
            found = metrics.FINAL_CONFIDENCE if heard.final else metrics.PARTIAL_CONFIDENCE
            found.observe(heard.confidence)

    def _not_recognised(self, _failed: RecognitionFailed, _now_ms: float) -> None:
        metrics.RECOGNITIONS_FAILED.inc()

    def _spoken(self, done: SpeechDone, _now_ms: float) -> None:
        if done.error:
            metrics.VOICES_FAILED.inc()

    def _asked(self, _ask: AskRouter, _now_ms: float) -> None:
        self._llm = _ASKED

    def _routed(self, routed: RouteFinished, _now_ms: float) -> None:
        if routed.intent is None and not routed.confidence:
            self._llm = _FAILED

    # ------------------------------------------------------------------ the edge

    def _to_edge(self, effect: ToEdge, now_ms: float) -> None:
        match effect.message:
            case Pause():
                self._paused_ms = now_ms
            case Clear():
                self._second_look("stopped", now_ms)
            case Unpause():
                self._second_look("resumed", now_ms)
            case _:
                pass

    def _second_look(self, outcome: str, now_ms: float) -> None:
        if self._paused_ms is not None:
            metrics.INTERRUPTIONS.labels(outcome).inc()
            metrics.INTERRUPTION_SECONDS.labels(outcome).observe((now_ms - self._paused_ms) / 1000)
            self._paused_ms = None

    # ------------------------------------------------------------------ the dialogue

    def _tool_called(self, call: CallTool, now_ms: float) -> None:
        self._tools_ms[call.request] = now_ms

    def _tool_finished(self, done: ToolFinished, now_ms: float) -> None:
        since_ms = self._tools_ms.pop(done.request, None)
        if since_ms is not None:
            metrics.TOOL_SECONDS.labels(done.outcome).observe((now_ms - since_ms) / 1000)

    def _persisted(self, persist: Persist, _now_ms: float) -> None:
        self._step = persist.turn.step or self._step

    def _handoff(self, news: HandoffNews, _now_ms: float) -> None:
        self._handed_over = True
        if news.stage == "end":
            metrics.HANDOFFS.labels(news.outcome).inc()

    def _ended(self, end: EndCall, _now_ms: float) -> None:
        if end.stop is not None and end.stop.ended_by == "caller" and not self._handed_over:
            metrics.DROP_OFFS.labels(self._step).inc()
