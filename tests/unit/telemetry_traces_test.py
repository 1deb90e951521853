"""Traces: one per session, a span per turn and stage, ids but no text; off unless asked for."""

import contextlib
import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
        resume=Resume(session_id="s0000001", lease=1, talk_ms=900),
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
    second = next(s for s in spans if s.parent and s.parent.span_id == calls[1].context.span_id)
    assert (
        second.start_time - calls[1].start_time
    ) / 1e6 == 100  # 1000 ms after the answer, 900 had passed
    everything = " ".join(str(dict(s.attributes)) for s in spans)
    assert "secret" not in everything
    assert "+4930111" not in everything


@contextlib.contextmanager
def otlp_receiver():
    """A collector of the test's own: the bodies that were posted to it, by path."""
    received = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
        finally:
            server.shutdown()
            thread.join()


def test_a_collector_gets_the_trace_of_a_turn_over_http():
    """What `traces.endpoint` names receives OTLP: the ids of the call, a span for each stage, no text."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with otlp_receiver() as (endpoint, received):
        tracing = open_tracing(TraceSettings(enabled=True, endpoint=endpoint, service_name="bank bot"))
        call = CallTraces(tracing)
        for thing in (START, TURN, EndCall("completed", None)):
            call.see(thing)
        tracing.close()
    spans, services = [], set()
    for path, kind, body in received:
        assert (path, kind) == ("/v1/traces", "application/x-protobuf")
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            services |= {
                a.value.string_value for a in group.resource.attributes if a.key == "service.name"
            }
            spans += [span for scope in group.scope_spans for span in scope.spans]
        assert b"secret" not in body
        assert b"4930111" not in body
    assert services == {"bank bot"}
    assert {s.trace_id for s in spans} == {trace_id_of("s0000001").to_bytes(16)}
    assert [s.name for s in spans] == ["endpoint", "asr_final", "packet_out", "turn", "call"]
    turn, call = spans[-2], spans[-1]
    assert turn.parent_span_id == call.span_id
    assert {s.parent_span_id for s in spans[:3]} == {turn.span_id}
    named = {a.key: a.value.string_value for a in call.attributes}
    assert (named["voicebot.call_id"], named["voicebot.session_id"]) == ("c0000001", "s0000001")


def test_a_collector_that_is_away_costs_nothing():
    """Nobody listens at the endpoint: the spans are dropped, nothing raises, nobody waits for ever."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    tracing = open_tracing(TraceSettings(enabled=True, endpoint="http://127.0.0.1:9/v1/traces"))
    call = CallTraces(tracing)
    for thing in (START, TURN, EndCall("completed", None)):
        call.see(thing)
    tracing.close()
