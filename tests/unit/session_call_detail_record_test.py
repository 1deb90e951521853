"""The call detail record: one line a call, found by SIP Call-ID, nothing secret, nothing broken."""

import asyncio
import json
import os
import stat

import pytest

from voicebot.core.errors import SessionStoreError
from voicebot.session.call_detail_record import (
    CallDetailLog,
    CallDetailRecord,
    StageLatency,
    TranscriptLine,
    latency_of,
    transcript_of,
)
from voicebot.session.records import TurnRecord, utc_text

RECORD = CallDetailRecord(
    call_id="c1",
    session_id="s1",
    sip_call_id="abc@host",
    caller="100",
    ended_at="2026-01-02T03:04:05.000Z",
    transcript=(TranscriptLine(who="caller", text="balance", at_ms=5),),
    recording="recordings/c1.wav",
)


def lines(folder, name="calls.jsonl"):
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


async def test_a_call_is_one_line_with_what_the_harness_looks_for(tmp_path):
    """sip_call_id, transcript and recording are at the top of the line's object."""
    log = CallDetailLog(tmp_path)
    await log.append(RECORD)
    (line,) = lines(tmp_path)
    assert (line["sip_call_id"], line["recording"]) == ("abc@host", "recordings/c1.wav")
    assert line["transcript"] == [{"who": "caller", "text": "balance", "at_ms": 5}]
    assert list(log.read()) == [RECORD]
    assert stat.S_IMODE((tmp_path / "calls.jsonl").stat().st_mode) == 0o600


async def test_hostile_text_stays_one_clean_line(tmp_path):
    """Line breaks, NUL, escapes, bidi marks and lone surrogates of a peer cannot break the file."""
    await CallDetailLog(tmp_path).append(
        CallDetailRecord(
            call_id="c1",
            session_id="s1",
            sip_call_id='x"\r\n{"a":1}\x00\u202e\ud800',
            transcript=(TranscriptLine(who="caller", text="4111 1111 1111 1111\n\x1b[2J"),),
        )
    )
    (line,) = lines(tmp_path)
    assert line["sip_call_id"] == 'x"  {"a":1}\ufffd\ufffd\ufffd'
    assert line["transcript"][0]["text"] == "[card] \ufffd[2J"


async def test_a_line_cut_off_by_a_full_disk_spoils_no_other(tmp_path):
    """The next record begins on a line of its own."""
    (tmp_path / "calls.jsonl").write_bytes(b'{"call_id":"c0","sess')
    log = CallDetailLog(tmp_path, sync=False)
    await log.append(RECORD)
    assert [r.call_id for r in log.read()] == ["c1"]


async def test_a_full_disk_is_an_error_of_the_store(tmp_path, monkeypatch):
    """The caller of append learns it as SessionStoreError."""

    def full(descriptor, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SessionStoreError, match="No space"):
        await CallDetailLog(tmp_path).append(RECORD)


async def test_many_calls_end_at_once(tmp_path):
    """Two logs on the same file interleave whole lines."""
    logs = [CallDetailLog(tmp_path, sync=False) for _ in range(2)]
    await asyncio.gather(
        *(
            log.append(CallDetailRecord(call_id=f"c{i}-{n}", session_id="s", reason="x" * 900))
            for i, log in enumerate(logs)
            for n in range(30)
        )
    )
    assert len({line["call_id"] for line in lines(tmp_path)}) == 60


async def test_a_file_a_day(tmp_path):
    """With daily files the day of the end names the file; what has no day goes to calls.jsonl."""
    log = CallDetailLog(tmp_path, daily=True)
    await log.append(RECORD)
    await log.append(CallDetailRecord(call_id="c2", session_id="s2", ended_at="../../etc/x"))
    assert [x["call_id"] for x in lines(tmp_path, "calls-2026-01-02.jsonl")] == ["c1"]
    assert [x["call_id"] for x in lines(tmp_path)] == ["c2"]


async def test_purge_by_age_and_by_caller(tmp_path):
    """Old lines and one caller's lines go; the others and foreign lines stay."""
    log = CallDetailLog(tmp_path)
    for number in range(3):
        await log.append(
            CallDetailRecord(
                call_id=f"c{number}",
                session_id="s",
                caller=str(number % 2),
                ended_at=utc_text(86400.0 * number),
            )
        )
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write("a foreign line\n")
    assert log.purge() == 0
    assert log.purge(older_than=utc_text(86400.0)) == 1
    assert [r.call_id for r in log.read()] == ["c1", "c2"]
    assert log.purge(caller="1") == 1
    assert [r.call_id for r in log.read()] == ["c2"]
    assert "a foreign line" in (tmp_path / "calls.jsonl").read_text()


def test_the_transcript_is_in_order_and_without_secrets():
    """Turns are told by number; sensitive ones as [redacted]."""
    told = transcript_of(
        {
            1: TurnRecord(who="caller", text="9876", sensitive=True, at_ms=9),
            0: TurnRecord(who="bot", text="Your PIN?"),
        }
    )
    assert [(t.who, t.text) for t in told] == [("bot", "Your PIN?"), ("caller", "[redacted]")]


def test_latency_is_summed_up_per_stage():
    """Median (the lower one) and maximum over the turns that have the stage."""
    turns = {
        n: TurnRecord(who="caller", text="", stages_ms={"asr_final": 10.0 * n}, response_onset_ms=n)
        for n in range(1, 4)
    }
    assert latency_of(turns) == {
        "asr_final": StageLatency(count=3, p50_ms=20.0, max_ms=30.0),
        "response_onset": StageLatency(count=3, p50_ms=2, max_ms=3),
    }


def test_times_of_day_have_a_fixed_width():
    """They sort as text."""
    assert utc_text(0.0015) == "1970-01-01T00:00:00.001Z"
