"""Probes, scrapes and what goes into the metrics."""

import asyncio
import os
import subprocess
import sys

import pytest
from prometheus_client import REGISTRY

from voicebot.config.settings import MetricsSettings
from voicebot.dialogue.actions import AskRouter, CallTool, StoreTurn
from voicebot.dialogue.events import RouteFinished, ToolFinished
from voicebot.edge.line_meter import LineMeter
from voicebot.edge.line_watch import CLIPPED_FRAMES, SILENT_FRAMES, LineWatch
from voicebot.link.messages import Clear, Pause, Stats, Stop, Unpause
from voicebot.telemetry import metrics_folder
from voicebot.telemetry.health_server import HealthServer, serving_health
from voicebot.worker.call_meter import CallMeter
from voicebot.worker.effects import EndCall, Heard, Persist, ToEdge, TurnMeasured

SPEECH = bytes(range(0x20, 0x70)) * 2
SILENCE = b"\xff" * 160
CLIPPED = b"\x00" * 20 + b"\x80" * 20 + SPEECH[:120]


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Counted:
    """How much a sample grew in a block."""

    def __init__(self, name, **labels):
        self.name, self.labels = name, labels

    def __enter__(self):
        self.before = value(self.name, **self.labels)
        return self

    def __exit__(self, *_):
        self.more = value(self.name, **self.labels) - self.before


# ---------------------------------------------------------------- health server


async def ask(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


async def test_probes_and_scrape():
    """Alive, ready or not with the reason, and every process in the metrics."""
    reason = [""]
    health = HealthServer(lambda: reason[0])
    assert (await health.answer("GET", "/livez"))[0] == 200
    assert (await health.answer("GET", "/readyz"))[0] == 200
    reason[0] = "draining"
    status, _, body = await health.answer("GET", "/readyz?x=1")
    assert status == 503
    assert b"draining" in body
    status, kind, body = await health.answer("GET", "/metrics")
    assert (status, kind) == (200, metrics_folder.CONTENT_TYPE)
    assert b'voicebot_process_memory_bytes{program="self"}' in body
    assert b"voicebot_response_onset_seconds" in body
    assert (await health.answer("POST", "/metrics"))[0] == 405
    assert (await health.answer("GET", "/etc/passwd"))[0] == 404


async def test_garbage_on_the_wire_is_dropped():
    """What is no HTTP request gets no answer; the next one does."""
    server = await asyncio.start_server(HealthServer(lambda: "").connected, "127.0.0.1", 0, limit=8192)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert (await ask(port, b"GET /livez HTTP/1.1\r\n\r\n"))[0] == 200
        assert (await ask(port, b"x" * 20_000 + b"\r\n\r\n"))[0] == 0
        assert (await ask(port, b"\x00\xff\r\n\r\n"))[0] == 405
        assert (await ask(port, b"HEAD /livez HTTP/1.1\r\n\r\n")) == (200, b"")


async def test_a_port_that_is_taken_does_not_stop_the_bot():
    """The block runs all the same."""
    server = await asyncio.start_server(HealthServer(lambda: "").connected, "127.0.0.1", 0)
    async with server:
        taken = MetricsSettings(port=server.sockets[0].getsockname()[1])
        async with serving_health(taken, lambda: ""):
            ran = True
    assert ran


CHILD = """
import os, sys
from pathlib import Path
from voicebot.telemetry import metrics_folder
{join}
from voicebot.telemetry import metrics
metrics.CALLS_STARTED.inc(3)
metrics.CALLS_LIVE.set(2)
{after}
"""


def test_processes_are_added_up_and_outlive_their_counters(tmp_path):
    """A child's counts are there after its death; its gauges are gone once it is reported dead."""
    parent = CHILD.format(
        join="metrics_folder.share_metrics(Path(sys.argv[1]))",
        after="import subprocess\n"
        "done = subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1], ''])\n"
        "assert done.wait() == 0\n"
        "first = metrics_folder.render().decode()\n"
        "assert 'voicebot_calls_started_total 6.0' in first, first\n"
        "assert 'voicebot_calls_live 4.0' in first, first\n"
        "metrics_folder.process_gone(done.pid)\n"
        "then = metrics_folder.render().decode()\n"
        "assert 'voicebot_calls_started_total 6.0' in then\n"
        "assert 'voicebot_calls_live 2.0' in then\n",
    )
    child = CHILD.format(join="assert metrics_folder.is_shared()", after="")
    run = subprocess.run(
        [sys.executable, "-c", parent, str(tmp_path), child],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "metrics").stat().st_mode & 0o077 == 0


def test_files_of_dead_processes_go_at_the_next_start(tmp_path, monkeypatch):
    """Only ours, and only when the process is gone."""
    monkeypatch.setenv(metrics_folder.VARIABLE, "")
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("counter_999999999.db", f"counter_{os.getpid()}.db", "notes.txt"):
        (folder / name).touch()
    metrics_folder.share_metrics(tmp_path)
    assert {p.name for p in folder.iterdir()} == {f"counter_{os.getpid()}.db", "notes.txt"}


# ---------------------------------------------------------------- the line


def watch_of(frames, **heard):
    watch = LineWatch()
    for payload in frames:
        watch.heard(payload, **{"dtx": False, "concealed": False, **heard})
    return watch


def found(watch, *, received=1000, since_us=60_000_000, held=False):
    return watch.anomalies(since_answer_us=since_us, received_packets=received, held=held)


def test_clipping_is_told_once():
    """Flat tops again and again; a loud peak is not one, nor is a guess of ours."""
    assert found(watch_of([SPEECH] * 500)) == []
    assert found(watch_of([CLIPPED] * (CLIPPED_FRAMES - 1))) == []
    assert found(watch_of([CLIPPED] * 100, concealed=True)) == []
    watch = watch_of([CLIPPED] * CLIPPED_FRAMES)
    assert found(watch) == ["clipping"]
    assert found(watch) == []


def test_a_line_without_a_sound():
    """Packets, but only silence, for half a minute; one word and it is no anomaly."""
    assert found(watch_of([SILENCE] * SILENT_FRAMES)) == ["silent"]
    assert found(watch_of([SILENCE] * (SILENT_FRAMES - 1))) == []
    assert found(watch_of([SPEECH] + [SILENCE] * SILENT_FRAMES)) == []
    assert found(watch_of([SILENCE] * SILENT_FRAMES, dtx=True)) == ["silent"]


def test_one_way_audio():
    """Nothing comes after the answer, or the far end reports that nothing reaches it."""
    assert found(LineWatch(), received=0) == ["one_way_in"]
    assert found(LineWatch(), received=0, since_us=1_000_000) == []
    assert found(LineWatch(), received=0, held=True) == []
    deaf = LineWatch()
    deaf.far_report(about_us=False, sent_packets=500)
    assert found(deaf) == []
    deaf.far_report(about_us=False, sent_packets=750)
    assert found(deaf) == ["one_way_out"]
    hears = LineWatch()
    for about_us in (False, True, False):
        hears.far_report(about_us=about_us, sent_packets=500)
    assert found(hears) == []


def test_packets_are_counted_by_difference():
    """Reports hold totals; a loss that turns out to be late does not count backwards."""
    meter = LineMeter()
    with Counted("voicebot_rtp_packets_total", kind="received") as received:
        meter.report(Stats(received_packets=100), since_answer_us=1, held=False)
        meter.report(Stats(received_packets=250, lost_packets=-2), since_answer_us=1, held=False)
    assert received.more == 250
    with Counted("voicebot_rtp_loss_ratio_count") as ratio:
        meter.ended(Stats(received_packets=300, lost_packets=3), ended_by="caller", talk_s=6.0)
        meter.ended(Stats(), ended_by="caller", talk_s=None)
    assert ratio.more == 1


# ---------------------------------------------------------------- a call


def test_a_turn_is_metered_with_its_stages():
    """Onset and stages in seconds, and whether a model was asked."""
    meter = CallMeter()
    measured = TurnMeasured(
        turn=1, response_onset_ms=300.0, stages_ms={"endpoint": 120.0}, overspent=("asr_final",)
    )
    with (
        Counted("voicebot_turns_total", by="speech", llm="no") as plain,
        Counted("voicebot_turns_total", by="speech", llm="asked") as asked,
        Counted("voicebot_turns_total", by="speech", llm="failed") as failed,
        Counted("voicebot_response_onset_seconds_sum", by="speech") as onset,
        Counted("voicebot_stage_seconds_bucket", stage="endpoint", le="0.12") as stage,
        Counted("voicebot_stage_overspent_total", stage="asr_final") as overspent,
    ):
        meter.see(measured, 0)
        meter.see(AskRouter(request="r", text="x", intents=("a",), deadline_ms=900), 0)
        meter.see(RouteFinished(request="r", intent="a", confidence=0.9), 0)
        meter.see(measured, 0)
        meter.see(AskRouter(request="r", text="x", intents=("a",), deadline_ms=900), 0)
        meter.see(RouteFinished(request="r", intent=None), 0)
        meter.see(measured, 0)
    assert (plain.more, asked.more, failed.more) == (1, 1, 1)
    assert onset.more == pytest.approx(0.9)
    assert (stage.more, overspent.more) == (3, 3)


def test_interruptions_by_their_outcome():
    """A pause that becomes a stop, and one that was a cough; a stop without a pause is a key."""
    meter = CallMeter()
    with (
        Counted("voicebot_interruptions_total", outcome="stopped") as stopped,
        Counted("voicebot_interruptions_total", outcome="resumed") as resumed,
        Counted("voicebot_interruption_seconds_sum", outcome="resumed") as took,
    ):
        meter.see(ToEdge(Pause()), 1000)
        meter.see(ToEdge(Clear(generation=1)), 1200)
        meter.see(ToEdge(Pause()), 2000)
        meter.see(ToEdge(Unpause()), 2500)
        meter.see(ToEdge(Clear(generation=2)), 3000)
    assert (stopped.more, resumed.more) == (1, 1)
    assert took.more == pytest.approx(0.5)


def test_a_caller_who_hangs_up_is_counted_at_his_step():
    """Not when the bot hangs up."""
    for ended_by, times in (("caller", 1), ("bot", 0)):
        meter = CallMeter()
        turn = StoreTurn(turn=0, who="caller", text="x", step="ask_account")
        with Counted("voicebot_drop_offs_total", step="ask_account") as drop_offs:
            meter.see(Persist(turn), 0)
            meter.see(EndCall("over", Stop(reason="over", ended_by=ended_by)), 0)
        assert drop_offs.more == times


def test_tools_and_confidence():
    """Time and outcome of tools; confidence of what was heard, not of silence."""
    meter = CallMeter()
    with (
        Counted("voicebot_tool_seconds_sum", outcome="ok") as tool,
        Counted("voicebot_partial_confidence_count") as partial,
        Counted("voicebot_final_confidence_count") as final,
    ):
        meter.see(CallTool(request="t", tool="x", arguments={}, idempotency_key="k"), 100)
        meter.see(ToolFinished(request="t", outcome="ok"), 350)
        meter.see(ToolFinished(request="unknown", outcome="ok"), 350)
        meter.see(Heard(0, "yes", 0.8, final=False), 0)
        meter.see(Heard(0, "", 0.8, final=False), 0)
        meter.see(Heard(0, "yes", 0.9, final=True), 0)
    assert tool.more == pytest.approx(0.25)
    assert (partial.more, final.more) == (1, 1)
