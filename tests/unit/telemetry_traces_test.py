"""Traces: one per session, a span per turn and stage, ids but no text; off unless asked for."""

import sys

import pytest

from voicebot.config.settings import TraceSettings
from voicebot.core.errors import ConfigError
from voicebot.link.messages import Resume, Start
from voicebot.telemetry.traces import open_tracing, trace_id_of
from voicebot.worker.call_traces import CallTraces
from voicebot.worker.effects import EndCall, TurnMeasured

START = Start(call_id="c0000001", session_id="s0000001", caller="+4930111", edge_monotonic_us=0)
TURN = TurnMeasured(
    turn=1,
    text="my secret",
    intent="balance",
    overspent=("asr_final",),
    response_onset_ms=500.0,
    hops_ms={"packet_in": 1000.0, "endpoint": 1100.0, "asr_final": 1400.0, "packet_out": 1500.0},
)


def test_off_by_default_and_a_mistake_without_the_packages(monkeypatch):
    """Nothing is imported when it is off; when it is on, the missing extra is named."""
    assert open_tracing(TraceSettings()) is None
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(ConfigError, match="extra otel"):
        open_tracing(TraceSettings(enabled=True))


def test_a_call_is_one_trace_over_all_its_workers():
    """Spans nest and are as long as their stages; a takeover goes on in the same trace."""
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    tracing = open_tracing(TraceSettings(enabled=True), exporter=exporter)
    resumed = Start(
        call_id="c0000001",
        session_id="s0000001",
        resume=Resume(session_id="s0000001", lease=1),
    )
    for start in (START, resumed):
        call = CallTraces(tracing, wall_ns=lambda: 10**18)
        for thing in (start, TURN, object(), EndCall("completed", None)):
            call.see(thing)
    tracing.close()
    spans = exporter.get_finished_spans()
    assert {s.context.trace_id for s in spans} == {trace_id_of("s0000001")}
    calls = [s for s in spans if s.name == "call"]
    assert [s.attributes["voicebot.worker_number"] for s in calls] == [1, 2]
    first = [s for s in spans if s.parent is None or s.parent.span_id != calls[1].context.span_id]
    turn = next(s for s in first if s.name == "turn")
    assert turn.parent.span_id == calls[0].context.span_id
    stages = [s for s in spans if s.parent and s.parent.span_id == turn.context.span_id]
    lengths = {s.name: (s.end_time - s.start_time) / 1e6 for s in stages}
    assert lengths == {"endpoint": 100.0, "asr_final": 300.0, "packet_out": 100.0}
    assert turn.attributes["voicebot.overspent"] == ("asr_final",)
    everything = " ".join(str(dict(s.attributes)) for s in spans)
    assert "secret" not in everything
    assert "+4930111" not in everything
