"""The offline benchmarks of turns in a small form, on virtual time: human speech, fixed seeds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sip_test_harness.asr_corpus import Clip
from tests.bench.echo import play, scenario, summarise
from tests.bench.rows import percentile
from tests.bench.turn_ends import digit_strings, heard_turn, tally
from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation

CLIPS = Path(__file__).parents[1] / "data" / "asr" / "clips"


@pytest.fixture(scope="module")
def clips():
    found = []
    for path in sorted(CLIPS.glob("*.flac")):
        word, source, name = path.stem.split("-", 2)
        speaker = name.split("_")[1] if source == "fsdd" else "sc"
        found.append(Clip(soundfile.read(path, dtype="int16")[0], word, speaker))
    assert len(found) >= 25
    return found


def test_strings_of_digits_are_not_cut_off_between_groups_and_committed_soon_after_the_last(clips):
    """Pauses of up to 0.9 s between groups; commit within 300 ms at the median, 450 ms at the 95th."""
    digits = [c for c in clips if c.speaker != "sc"]
    done = tally(list(digit_strings(digits, 12)), TurnSettings())
    assert (done.cut_off, done.unheard) == (0, 0)
    assert percentile(done.commits_ms, 0.5) <= 300
    assert percentile(done.commits_ms, 0.95) <= 450


def test_the_gate_sees_a_cut_off(clips):
    """With a hold that is shorter than the pauses most strings are cut off."""
    digits = [c for c in clips if c.speaker != "sc"]
    done = tally(list(digit_strings(digits, 6)), TurnSettings(hold_digits_ms=200))
    assert done.cut_off >= 4


def test_expected_words_are_committed_soon(clips):
    expected = frozenset(c.text for c in clips)
    menu = Expectation(kind="menu", phrases=tuple(expected), complete=expected)
    turns = [
        heard_turn(c.audio, f"caller{n}", menu, [(c.audio.size, c.text)])
        for n, c in enumerate(clips[::3])
    ]
    done = tally(turns, TurnSettings())
    assert done.cut_off + done.unheard <= 1
    assert percentile(done.commits_ms, 0.5) <= 300


@pytest.mark.parametrize("kind", ["hybrid", "speakerphone", "none"])
def test_our_own_echo_does_not_interrupt_us_and_a_caller_does(kind):
    """Two calls without a caller, three with one; the rates are measured by tests/bench/echo.py."""
    outcomes = [play(scenario(kind, seed, caller=False)) for seed in (1, 2)]
    outcomes += [play(scenario(kind, seed, caller=True)) for seed in (3, 4, 5)]
    found = summarise(outcomes, loud_enough=True)
    assert found.false_pauses <= 1
    assert found.missed <= 1
    assert found.detection_ms.size >= 1
    assert np.median(found.detection_ms) <= 600
