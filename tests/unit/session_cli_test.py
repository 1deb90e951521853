"""``voicebot calls`` and ``voicebot rca``: what they print, what they delete and how they exit."""

import asyncio
import csv
import io
import json
import subprocess
import sys

import msgspec
import pytest
from typer.testing import CliRunner

from voicebot import cli as voicebot_cli
from voicebot.config.settings import BudgetSettings
from voicebot.core.sip_step import SipStep
from voicebot.session.call_detail_record import (
    CallDetailLog,
    CallDetailRecord,
    StageLatency,
    TranscriptLine,
)
from voicebot.session.call_views import duration_s
from voicebot.session.cli import app
from voicebot.session.open_store import session_store
from voicebot.session.records import SessionEnding, SessionRecord
from voicebot.session.root_cause import root_causes

SLOW = CallDetailRecord(
    call_id="c0000000001",
    session_id="s0000000001",
    sip_call_id="abc@pbx",
    caller="+4930111",
    caller_name='=cmd|" [red]Eve[/red]\x1b[2J',
    called="bank",
    dialplan="bank",
    started_at="2026-11-21T10:00:00.000Z",
    answered_at="2026-11-21T10:00:00.000Z",
    ended_at="2026-11-21T10:01:00.000Z",
    ring_ms=12,
    talk_ms=60_000,
    ended_by="bot",
    reason="completed",
    turns=2,
    transcript=(
        TranscriptLine(who="bot", text="Hello."),
        TranscriptLine(
            who="caller",
            text="balance [bold]please",
            at_ms=2000,
            step="main",
            response_onset_ms=900.0,
            stages_ms={
                "speech_end": 32.0,
                "endpoint": 100.0,
                "asr_final": 600.0,
                "tts_first_audio": 5.0,
            },
            overspent=("asr_final",),
        ),
    ),
    recording="recordings/c0000000001.wav",
    line={"received_packets": 3000, "lost_packets": 6, "jitter_ms": 1.5, "concealed_ms": 120},
    latency={"response_onset": StageLatency(count=1, p50_ms=900.0, max_ms=900.0)},
    sip=(
        SipStep(at_ms=0, text="INVITE"),
        SipStep(at_ms=12, text="200", sent=True),
        SipStep(at_ms=14, text="ACK"),
        SipStep(at_ms=60_014, text="BYE", sent=True),
    ),
)
OTHER = msgspec.structs.replace(
    SLOW,
    call_id="c0000000002",
    session_id="s0000000002",
    sip_call_id="def@pbx",
    caller="+4930222",
    caller_name="",
    started_at="2020-01-01T00:00:00.000Z",
    ended_at="2020-01-01T00:01:00.000Z",
    transcript=(),
    recording="recordings/c0000000002.wav",
    latency={},
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data directory with two calls: records, recordings, sessions."""
    monkeypatch.setenv("VOICEBOT_DATA_DIR", str(tmp_path))

    async def fill():
        store = session_store("", tmp_path)
        await store.start()
        for record in (OTHER, SLOW):
            await CallDetailLog(tmp_path).append(record)
            await store.open_session(
                SessionRecord(
                    session_id=record.session_id,
                    call_id=record.call_id,
                    caller=record.caller,
                    started_at=record.started_at,
                    recording=record.recording,
                )
            )
            ending = SessionEnding(ended_at=record.ended_at, ended_by="bot")
            await store.end_session(record.session_id, ending)
        await store.close()

    asyncio.run(fill())
    (tmp_path / "recordings").mkdir()
    for record in (SLOW, OTHER):
        for suffix in ("wav", "json"):
            (tmp_path / "recordings" / f"{record.call_id}.{suffix}").write_text("x")
    return tmp_path


def run(*arguments, code=0, program=app, **options):
    result = CliRunner().invoke(program, [str(a) for a in arguments], **options)
    assert result.exit_code == code, result.output
    return result.output


def test_list_shows_the_last_calls_and_nothing_is_markup(data):
    """Also without a command; text of a caller stays text."""
    for output in (run("list"), run()):
        assert output.index("c0000000002") < output.index("c0000000001")
        assert "900 ms" in output
    assert "c0000000002" not in run("list", "-n", 1)
    assert "c0000000001" not in run("list", "--caller", "+4930222")


def test_show_finds_a_call_by_any_of_its_names(data):
    """Call id, session id, SIP Call-ID, or a beginning; who it was is shown without escapes."""
    for name in ("c0000000001", "s0000000001", "abc@pbx"):
        output = run("show", name)
        assert "balance [bold]please" in output
        assert "\x1b[2J" not in output
        assert "[red]Eve[/red]" in output
    assert json.loads(run("show", "abc@pbx", "--json"))["call_id"] == "c0000000001"
    assert "beginning of 2 calls" in run("show", "c0000", code=1)
    assert "no record" in run("show", "nobody", code=1)


def test_trace_draws_each_stage_and_the_sip_ladder(data):
    """Stages in order with their time, the one over budget marked; who sent what and when."""
    output = run("trace", "c0000000001")
    rows = [line for line in output.splitlines() if " ms  " in line and "█" in line]
    assert [row.split()[0] for row in rows] == ["speech_end", "endpoint", "asr_final", "tts_first_audio"]
    assert "over budget" in next(row for row in rows if "asr_final" in row)
    assert max(rows, key=lambda row: row.count("█")).split()[0] == "asr_final"
    steps = [line for line in output.splitlines() if "│" in line]
    assert [word in line for word, line in zip(("INVITE", "200", "ACK", "BYE"), steps, strict=True)]
    assert "►" in steps[0]
    assert "◄" in steps[1]


def test_export_as_json_lines_and_as_a_table(data, tmp_path):
    """JSON lines hold everything; a cell of the table is never a formula."""
    lines = [json.loads(line) for line in run("export").splitlines()]
    assert [line["call_id"] for line in lines] == ["c0000000002", "c0000000001"]
    rows = list(csv.DictReader(io.StringIO(run("export", "--format", "csv"))))
    assert rows[1]["response_onset_p50_ms"] == "900.0"
    assert rows[1]["caller"] == "'+4930111"
    assert rows[1]["caller_name"].startswith("'=")
    assert (rows[0]["lost_packets"], rows[0]["foreign_packets"], rows[0]["jitter_ms"]) == (
        "6",
        "0",
        "1.5",
    )
    assert "balance" not in run("export", "--format", "csv")
    out = tmp_path / "calls.csv"
    run("export", "--format", "csv", "--out", out)
    assert out.stat().st_mode & 0o077 == 0
    assert len(run("export", "--newer-than", "1s").splitlines()) == 0
    assert "no duration" in run("export", "--newer-than", "soon", code=2)


def names(data):
    return {path.name for path in (data / "recordings").iterdir()}


def test_purge_deletes_what_is_old(data):
    """Records, recordings, sessions; and asks before."""
    run("purge", "--older-than", "365d", code=1, input="n\n")
    assert len(run("export").splitlines()) == 2
    output = run("purge", "--older-than", "365d", "--yes")
    assert json.loads(output)["call_records"] == 1
    assert json.loads(output)["sessions"] == 1
    assert "c0000000002" not in run("export")
    assert names(data) == {"c0000000001.wav", "c0000000001.json"}
    assert "no duration" in run("purge", "--older-than", "old", "--yes", code=2)


def test_the_program_purges_what_other_packages_keep(data):
    """Handoffs and the acts in the console go by the same command: the program has them signed up."""
    (data / "audit.jsonl").write_text('{"at": "2020-01-01", "who": "ann"}\n{"at": "9", "who": "ann"}\n')
    command = "import sys; from voicebot.cli import main; sys.argv[0] = 'voicebot'; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "calls", "purge", "--older-than", "365d", "--yes"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    counts = json.loads(done.stdout)
    assert counts == {
        "sessions": 1,
        "call_records": 1,
        "recordings": 1,
        "handoffs": 0,
        "console_acts": 1,
    }
    assert (data / "audit.jsonl").read_text() == '{"at": "9", "who": "ann"}\n'


def test_erase_deletes_one_caller(data):
    """Nothing of that number is left in any file; the other one's calls stay."""
    assert json.loads(run("erase", "--caller", "+4930111", "--yes"))["recordings"] == 1
    assert "c0000000001" not in run("export")
    assert "c0000000002" in run("export")
    assert names(data) == {"c0000000002.wav", "c0000000002.json"}
    left = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert b"+4930111" not in left
    assert b"+4930222" in left
    run("erase", "--caller", " ", "--yes", code=2)


def test_rca_names_the_stage_that_overspent(data):
    """First cause first, with what to do; status 3 when there is one, 0 when not."""
    output = run("rca", "c0000000001", program=voicebot_cli.app, code=3)
    assert "stage asr_final overspent" in output
    assert "520 ms" in output
    assert "nothing out of the ordinary" in run("rca", "c0000000002", program=voicebot_cli.app)
    run("rca", "nobody", program=voicebot_cli.app, code=1)


@pytest.mark.parametrize(("route_ms", "causes"), [(81.0, 0), (99.0, 0), (101.0, 1)])
def test_less_than_a_packet_above_a_budget_explains_nothing(route_ms, causes):
    """Onsets come in steps of 20 ms; every other call would have a cause otherwise."""
    line = TranscriptLine(who="caller", text="x", stages_ms={"route": route_ms}, overspent=("route",))
    record = msgspec.structs.replace(SLOW, transcript=(line,))
    assert len(root_causes(record, {"route": 80.0})) == causes


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"reason": "no media", "ended_by": "edge"}, "ended: no media"),
        ({"line": {"received_packets": 0, "sent_packets": 900}}, "one-way audio"),
        ({"line": {"received_packets": 900, "lost_packets": 100}}, "packets lost"),
        ({"line": {"received_packets": 900, "jitter_ms": 80.0}}, "jitter"),
        ({"line": {"received_packets": 900, "concealed_ms": 9000}}, "guessed audio"),
        ({"workers": 2}, "worker lost"),
        ({"recording_partial": True}, "recording has holes"),
        ({"ring_ms": 3000}, "answered late"),
    ],
)
def test_rca_of_other_causes(changes, cause):
    """Line, end, takeover, disk."""
    record = msgspec.structs.replace(OTHER, **{"line": {}, **changes})
    assert [f.what for f in root_causes(record, BudgetSettings().limits_ms)] == [cause]
    assert root_causes(OTHER, BudgetSettings().limits_ms) == []


def test_durations():
    assert [duration_s(t) for t in ("30d", "12h", "90m", "45s")] == [2_592_000, 43_200, 5400, 45]
    for text in ("", "d", "-1d", "1w", "1.5h", "٣d"):
        with pytest.raises(ValueError, match="no duration"):
            duration_s(text)
