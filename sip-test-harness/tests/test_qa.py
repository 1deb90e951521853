"""Sweeps, judging, comparison, thresholds and the HTML report."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest

from sip_test_harness import AgentOptions, CallerOptions, ScriptedAgent, UsageError
from sip_test_harness.compare import Threshold, compare
from sip_test_harness.html_report import build_report
from sip_test_harness.impairment import ImpairedPacket
from sip_test_harness.judgement import judge, summary_of, word_error
from sip_test_harness.qa_row import Cell, QaRow, course_of
from sip_test_harness.recorded_caller import RecordedCaller
from sip_test_harness.sweep import jobs_of, matrix, profile_of, read_results, run_sweep, write_results


def said(*words, step="ask", intent="balance"):
    return [
        {"who": "bot", "text": "hello", "step": step},
        {"who": "caller", "text": " ".join(words), "intent": intent},
    ]


def row(name="a", loss=0.0, seed=1, words=("my", "balance"), **changes):
    transcript = said(*words, intent=changes.pop("intent", "balance"))
    return QaRow(
        name=name,
        cell=asdict(Cell(loss, 1.0, 0.0)),
        profile="p",
        seed=seed,
        transcript=transcript,
        course=course_of(transcript),
        onset_ms=[300.0, 400.0],
        mos=4.0,
        duration_ms=2000,
        **changes,
    )


def recorded():
    quiet = np.zeros(4800, np.int16)
    tone = (6000 * np.sin(np.arange(2400) * 0.3)).astype(np.int16)
    return RecordedCaller("caller", np.concatenate([quiet, tone, quiet]), np.zeros(0, np.int16))


def test_word_error_counts_edits():
    """Insertions, deletions and replacements over the reference's length."""
    assert word_error(["a", "b", "c"], ["a", "b", "c"]) == 0
    assert word_error(["a", "b", "c"], ["a", "x", "c", "d"]) == pytest.approx(2 / 3)
    assert word_error(["a", "b"], []) == 1
    assert word_error([], ["a"]) == 1


def test_rows_are_judged_against_the_clean_call_or_the_baseline():
    """A lost word and another intent under loss: word error and a missed task."""
    rows = [row(), row(loss=5.0, words=("my",), intent="other")]
    judge(rows)
    assert [(item.word_error, item.task_success) for item in rows] == [(0.0, True), (0.5, False)]
    judge(rows, [row(words=("my", "balance", "please", "now"))])
    assert rows[0].word_error == 0.5
    unrecorded = QaRow("z", asdict(Cell()), "p", 1)
    judge([unrecorded])
    assert unrecorded.word_error is None


def test_summary_and_thresholds():
    """Absolute, relative and percentage conditions; unknown figures and unmeasured ones."""
    rows = [row(), row(seed=2, failures=["x"])]
    judge(rows)
    now = summary_of(rows)
    before = {**now, "onset_p95_ms": 300.0}
    assert now["failed"] == 1 and now["onset_p50_ms"] == 350.0
    crossed = {
        text: Threshold.parse(text).failure(now, before) is not None
        for text in (
            "onset_p95_ms>450",
            "onset_p95_ms>+50",
            "onset_p95_ms>+50%",
            "failed>0",
            "mos<3.5",
            "task_success<0.9",
            "barge_in_stop_p95_ms>1",
        )
    }
    assert [text for text, failed in crossed.items() if failed] == [
        "onset_p95_ms>+50",
        "failed>0",
        "task_success<0.9",
        "barge_in_stop_p95_ms>1",
    ]
    for wrong in ("speed>1", "mos=3", "mos", ""):
        with pytest.raises(UsageError):
            Threshold.parse(wrong)
    assert "baseline" in Threshold.parse("mos<-1").failure(now, None)


def test_comparison_names_what_changed():
    """Another word, another course, another end; equal calls are not listed."""
    old = [row("same"), row("worse"), row("gone")]
    new = [
        row("same"),
        row("worse", words=("my", "ballots"), intent="other", ended_by="bot"),
        row("fresh"),
    ]
    found = compare(old, new)
    assert [change.name for change in found.changes] == ["worse"]
    assert len(found.changes[0].differences) == 2
    assert any(line.startswith("+caller: my ballots") for line in found.changes[0].transcript_diff)
    assert (found.only_baseline, found.only_new) == (1, 1)


def test_a_matrix_has_no_bursts_without_loss():
    """0 % loss is one cell whatever the burst lengths; bad values are usage errors."""
    assert len(matrix([0, 1, 3], [1, 3], [0, 30])) == 2 + 2 * 4
    for wrong in (([100], [1], [0]), ([1], [0.5], [0]), ([1], [1], [-1])):
        with pytest.raises(UsageError):
            matrix(*wrong)
    with pytest.raises(UsageError):
        jobs_of([recorded()], matrix([1], [1], [0]), range(6000))


def test_a_cells_profile_does_what_the_cell_says():
    """5 % in bursts of 3: measured over 3,000 packets."""
    out, _ = profile_of(Cell(5.0, 3.0, 0.0)).build(1)
    lost = [not out.fate(ImpairedPacket(n), n * 20.0) for n in range(3000)]
    runs = re.findall("1+", "".join("1" if item else "0" for item in lost))
    assert sum(lost) == 150 and np.mean([len(run) for run in runs]) == pytest.approx(3.0)


@pytest.mark.loopback
async def test_a_sweep_over_loss_gives_a_row_for_each_cell(tmp_path):
    """Two cells, two at once: rows in order, packets lost where stated, results read back equal."""
    jobs = jobs_of([recorded()], [Cell(), Cell(20.0)], [1])

    async def converse(leg):
        while True:
            await leg.say((6000 * np.sin(np.arange(2400) * 0.2)).astype(np.int16))
            await leg.wait_bot_silent(250)

    options = AgentOptions(ring_ms=0, conversation=converse)
    async with ScriptedAgent(options) as agent:
        rows = await run_sweep(jobs, CallerOptions(), agent.uri, silence_ms=320, at_once=2)
    clean, lossy = rows
    assert clean.lost_in_ms == [] and clean.onset_ms
    assert clean.sound_wav_base64 and len(clean.wave_bot) == 400
    assert lossy.cell["loss_percent"] == 20.0
    write_results(tmp_path / "r.json", rows, about={})
    assert read_results(tmp_path / "r.json") == rows
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(UsageError):
        read_results(tmp_path / "bad.json")


def test_the_report_is_one_file_and_holds_hostile_words_as_data():
    """No reference to another file or host; a transcript cannot close the script element."""
    hostile = "</script><img src=x onerror=alert(1)>"
    rows = [replace(row(), transcript=said(hostile), name=hostile), row(loss=3.0)]
    judge(rows)
    page = build_report(rows, about="test", baseline=[row()], verdict=["mos<4: bad"])
    assert hostile not in page
    assert page.count("</script>") == 2
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    content = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert content["rows"][0]["name"] == hostile and content["verdict"] == ["mos<4: bad"]
