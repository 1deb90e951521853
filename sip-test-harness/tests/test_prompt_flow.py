"""Whether the bot's words ran on: pauses, cuts, repetitions, and what is none of them."""

import json

import numpy as np
import pytest

from sip_test_harness import write_wav
from sip_test_harness.judgement import judge, summary_of
from sip_test_harness.prompt_flow import flows
from sip_test_harness.qa_row import Cell, QaRow, _sound
from sip_test_harness.recorded_caller import read_recordings, turns_of, undisturbed
from sip_test_harness.sweep import jobs_of


def words(seconds, seed):
    """Noise in syllables of 100 ms: like speech, no part of it is like another."""
    chance = np.random.default_rng(seed)
    count = int(seconds * 8000)
    loudness = np.repeat(chance.uniform(0.1, 1, count // 800 + 1), 800)[:count]
    return (chance.normal(0, 4000, count) * loudness).clip(-30000, 30000).astype(np.int16)


def quiet(seconds):
    return np.zeros(int(seconds * 8000), np.int16)


FIRST, SECOND = words(4, 1), words(3, 2)
FADED = np.concatenate([FIRST[:12000], (FIRST[12000:12240] * np.linspace(1, 0, 240)).astype(np.int16)])
REFERENCE = np.concatenate([quiet(0.1), FIRST, quiet(2), SECOND, quiet(1)])
TURNS_MS = [4500]


def interruptions(*parts, turn_ms):
    heard = np.concatenate([quiet(0.1), *parts, SECOND, quiet(1)])
    first, second = flows(REFERENCE, TURNS_MS, heard, [turn_ms])
    assert second.interruptions == ()
    return first.interruptions


def test_words_that_run_on_are_no_interruption():
    assert interruptions(FIRST, quiet(2), turn_ms=4500) == ()
    assert interruptions(quiet(0.8), FIRST, quiet(1.2), turn_ms=5200) == ()  # a later onset is none


@pytest.mark.parametrize(
    ("parts", "pause_ms", "right"),
    [
        ((FADED, quiet(0.6), FIRST[12240:]), 600, True),
        ((FADED, quiet(0.6), FIRST[14240:]), 600, False),  # a quarter of a second is left out
        ((FADED, quiet(0.6), FIRST[9000:]), 600, False),  # 0.4 s are said twice
    ],
    ids=["resumed", "left out", "said twice"],
)
def test_a_pause_is_found_and_whether_it_was_taken_up_where_it_began(parts, pause_ms, right):
    (found,) = interruptions(*parts, quiet(2), turn_ms=5200)
    assert found.at_ms == pytest.approx(1630, abs=60)
    assert found.pause_ms == pytest.approx(pause_ms, abs=30)
    assert found.resumed_right is right


def test_a_prompt_that_is_not_finished_is_cut_unless_the_caller_has_answered():
    (found,) = interruptions(FADED, quiet(1.5), quiet(0.5), turn_ms=3000)
    assert found.pause_ms is None and found.resumed_right is None
    assert interruptions(FADED, quiet(0.1), turn_ms=1640) == ()


def test_a_longer_wait_between_sentences_is_no_interruption():
    """A tool may answer sooner or later."""
    reference = np.concatenate([FIRST, quiet(0.5), SECOND, quiet(1)])
    heard = np.concatenate([FIRST, quiet(0.9), SECOND, quiet(1)])
    (found,) = flows(reference, [], heard, [])
    assert found.interruptions == ()


def test_lost_packets_of_the_bot_are_no_interruption():
    heard = REFERENCE.copy()
    for at in range(0, len(heard) - 800, 4000):
        heard[at : at + 800] = 0
    assert [flow.interruptions for flow in flows(REFERENCE, TURNS_MS, heard, TURNS_MS)] == [(), ()]


def test_packets_lost_at_a_pause_are_not_held_against_the_bot():
    """60 ms in front of the pause and 60 ms behind it were lost on their way to the caller."""
    heard = np.concatenate([quiet(0.1), FADED, quiet(0.6), FIRST[12240:], quiet(2), SECOND, quiet(1)])
    heard[12560:13040] = heard[17840:18320] = 0
    lost_ms = [*range(1570, 1630, 20), *range(2230, 2290, 20)]
    for lost, right in ((lost_ms, True), ([], False)):
        first, _ = flows(REFERENCE, TURNS_MS, heard, [5200], lost)
        (found,) = first.interruptions
        assert found.resumed_right is right


def test_other_words_are_not_compared():
    assert flows(FIRST, [], SECOND, []) == []


@pytest.fixture
def coughing(tmp_path):
    """A caller who speaks, and coughs 1.2 s into the bot's answer."""
    write_wav(tmp_path / "c.wav", np.concatenate([quiet(1), words(0.5, 5), quiet(2), words(0.3, 6)]))
    events = [{"at_ms": 3600, "name": "not_meant:1200"}]
    (tmp_path / "c.json").write_text(json.dumps({"events": events}))
    (caller,) = read_recordings(tmp_path / "c.wav")
    return caller


def test_a_note_beside_a_recording_says_what_is_not_meant(coughing):
    asked, coughed = turns_of(coughing)
    assert (asked.meant, asked.barge_in_ms) == (True, None)
    assert (coughed.meant, coughed.barge_in_ms) == (False, 1200)


def test_such_a_caller_calls_once_more_without_the_cough(coughing):
    jobs = jobs_of([coughing], [Cell(), Cell(5.0)], [1])
    assert [job.recorded.name for job in jobs] == ["c undisturbed", "c", "c"]
    (asked,) = turns_of(jobs[0].recorded)
    assert np.array_equal(asked.samples, turns_of(coughing)[0].samples)
    assert undisturbed(jobs[0].recorded) is None


def row(name, bot):
    turns = [{"speech_start_ms": 4500 if len(bot) == len(REFERENCE) else 5100}]
    return QaRow(
        name, Cell().__dict__, "p", 1, turns=turns, sound_wav_base64=_sound(np.zeros_like(bot), bot)
    )


def test_false_barge_ins_are_counted_for_prompts_and_minutes():
    """Two calls, one of them paused in the first of its two prompts; 8-bit sound is good enough."""
    paused = np.concatenate([quiet(0.1), FADED, quiet(0.6), FIRST[12240:], quiet(2), SECOND, quiet(1)])
    rows = [row("c undisturbed", REFERENCE), row("c", paused)]
    judge(rows)
    figures = summary_of(rows)
    assert figures["false_barge_in_pauses"] == 0.25
    assert figures["false_barge_in_cancels"] == 0
    assert figures["false_barge_ins_per_min"] == pytest.approx(60 / 14, abs=0.1)
    assert figures["resume_correct"] == 1.0
    assert rows[1].interruptions[0]["pause_ms"] == pytest.approx(600, abs=30)
