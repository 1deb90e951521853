"""One call as spans: the call, in it each turn, in it each stage. Ids and times, no text.

call ─┬─ turn 1 ─┬─ speech_end
│          ├─ endpoint
│          └─ …
└─ turn 2 …
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from voicebot.core.hops import HOPS
from voicebot.link.messages import Start
from voicebot.telemetry.traces import SessionTracing
from voicebot.worker.effects import EndCall, TurnMeasured


class CallTraces:
    """Watches one call and writes its spans.

    Args:
        tracing: Where spans go.
        wall_ns: Time of day: spans are compared with those of other machines.
    """

    def __init__(self, tracing: SessionTracing, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._tracing = tracing
        self._wall_ns = wall_ns
        self._answered_ns = 0
        self._call: Any = None

    def see(self, thing: object) -> None:
        """Something came in, or is wanted."""
        match thing:
            case Start():
                self._started(thing)
            case TurnMeasured() if self._call is not None:
                self._turn(thing)
            case EndCall() if self._call is not None:
                self._call.set_attribute("voicebot.reason", thing.reason)
                self._call.end(self._wall_ns())
                self._call = None
            case _:
                pass

    def _started(self, start: Start) -> None:
        now_ns = self._wall_ns()
        # Hops count from the answer, whoever had the call then; our span of the call begins with us.
        self._answered_ns = now_ns - (start.resume.talk_ms * 1_000_000 if start.resume else 0)
        self._call = self._tracing.start_root("call", start.session_id, at_ns=now_ns)
        self._call.set_attributes(
            {
                "voicebot.call_id": start.call_id,
                "voicebot.session_id": start.session_id,
                "voicebot.worker_number": start.resume.lease + 1 if start.resume else 1,
            }
        )

    def _turn(self, turn: TurnMeasured) -> None:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        reached = [(hop, turn.hops_ms[hop]) for hop in HOPS if hop in turn.hops_ms]
        if not reached:
            return
        tracer = self._tracing.tracer
        within_call = set_span_in_context(self._call)
        span = tracer.start_span("turn", context=within_call, start_time=self._at_ns(reached[0][1]))
        span.set_attributes(
            {
                "voicebot.turn_id": turn.turn,
                "voicebot.by": turn.by,
                "voicebot.intent": turn.intent,
                "voicebot.confidence": turn.confidence,
                "voicebot.end_reason": turn.end_reason,
                "voicebot.speculation": turn.speculation,
                "voicebot.overspent": list(turn.overspent),
            }
        )
        if turn.response_onset_ms is not None:
            span.set_attribute("voicebot.response_onset_ms", turn.response_onset_ms)
        within_turn = set_span_in_context(span)
        for (_, from_ms), (hop, to_ms) in pairwise(reached):
            stage = tracer.start_span(hop, context=within_turn, start_time=self._at_ns(from_ms))
            stage.end(self._at_ns(max(from_ms, to_ms)))
        span.end(self._at_ns(max(ms for _, ms in reached)))

    def _at_ns(self, since_answer_ms: float) -> int:
        return self._answered_ns + int(since_answer_ms * 1e6)
