"""A voice that dies away at the end of a sentence is told from one that stops in the middle."""

import numpy as np
import pytest

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.turn.endpointer import EndOfTurn, Endpointer
from voicebot.turn.voice_fall import VoiceFall

FRAME = 160


def tone(level_db, frames):
    amplitude = np.sqrt(2) * 10 ** (level_db / 20)
    samples = amplitude * np.sin(2 * np.pi * 200 * np.arange(frames * FRAME) / 8000)
    return np.rint(samples).astype(np.int16).reshape(-1, FRAME)


def heard(*parts):
    fall = VoiceFall()
    frames = np.concatenate([tone(level_db, count) for level_db, count in parts])
    for frame in frames:
        fall.add(frame)
    return fall, frames.size


@pytest.mark.parametrize(("last_db", "expected_db"), [(60, 0.0), (50, 6.7), (40, 13.3)])
def test_the_fall_is_that_of_the_last_400_ms_against_the_whole_turn(last_db, expected_db):
    """40 frames of voice, then 20 frames weaker: the mean over all 60 lies a third of the way down."""
    fall, end = heard((60, 40), (last_db, 20))
    assert fall.fall_db(0, end) == pytest.approx(expected_db, abs=0.2)


def test_what_was_before_the_turn_and_silence_in_it_do_not_count():
    """A second of loud sound before the turn, and a pause inside it, change nothing."""
    fall, end = heard((75, 50), (60, 20), (10, 20), (60, 20), (50, 20))
    assert fall.fall_db(50 * FRAME, end) == pytest.approx(6.7, abs=0.2)


def test_a_short_turn_has_no_fall_and_old_audio_is_forgotten():
    fall, end = heard((60, 10), (40, 10))
    assert fall.fall_db(0, end) == 0.0
    for frame in tone(60, 1200):
        fall.add(frame)
    assert fall.fall_db(0, end) == 0.0


@pytest.mark.parametrize(("fall_db", "hold_ms"), [(0.0, 800), (8.9, 800), (9.0, 450)])
def test_an_open_answer_whose_voice_has_fallen_is_held_for_less(fall_db, hold_ms):
    """Positions of the turn are handed over; the hold counts from the window in which silence began."""
    asked = []

    def fell(start_samples, end_samples):
        asked.append((start_samples, end_samples))
        return fall_db

    endpointer = Endpointer(TurnSettings(hold_open_ms=800, hold_open_fallen_ms=450), fell)
    endpointer.expect(Expectation(kind="free"))
    probabilities = [0.9] * 40 + [0.0] * 40
    events = [endpointer.window(p, (k + 1) * 256, 256) for k, p in enumerate(probabilities)]
    (committed,) = [k for k, e in enumerate(events) if isinstance(e, EndOfTurn)]
    assert asked == [(0, 40 * 256)]
    assert events[committed].hold_ms == hold_ms
    assert (committed + 1 - 40) * 32 - 32 < hold_ms <= (committed + 1 - 40) * 32


def test_the_level_is_that_of_the_last_400_ms():
    """A tone of 60 dB over one step of 16 bits is 30.3 dB below full scale."""
    fall, _ = heard((40, 30), (60, 20))
    assert fall.level_dbov == pytest.approx(60 - 90.3, abs=0.1)
    assert VoiceFall().level_dbov < -80
