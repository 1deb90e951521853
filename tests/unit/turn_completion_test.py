"""A pause after which a caller goes on is told from an end by how the voice sounds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.turn.completion import CHANNELS, FRAMES, features, packaged, voiced_part
from voicebot.turn.endpointer import EndOfTurn, Endpointer
from voicebot.turn.voice_history import VoiceHistory

FRAME = 160
SPEECH = Path(__file__).parents[1] / "data" / "speech"


def tone(level_db, frames):
    amplitude = np.sqrt(2) * 10 ** (level_db / 20)
    samples = amplitude * np.sin(2 * np.pi * 200 * np.arange(frames * FRAME) / 8000)
    return np.rint(samples).astype(np.int16)


def history(samples):
    kept = VoiceHistory()
    for frame in samples.reshape(-1, FRAME):
        kept.add(frame)
    return kept


def test_silence_after_the_voice_is_left_out():
    """The voice ends with its last 10 ms that are within 30 dB of the loudest ones."""
    voice = tone(60, 40)
    heard = np.concatenate([voice, tone(25, 12), np.zeros(1000, np.int16)])
    assert voiced_part(heard).size == voice.size
    assert np.array_equal(features(heard), features(voice))


def test_features_do_not_depend_on_the_level():
    """A caller on a quiet line sounds the same."""
    speech = soundfile.read(SPEECH / "allison_echo-test.flac", dtype="int16")[0]
    quieter = (speech // 4).astype(np.int16)
    difference = np.abs(features(speech) - features(quieter))
    assert np.median(difference) < 0.02
    assert features(speech).shape == (FRAMES, CHANNELS)


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 319, 320, 480, 20_480, 24_000])
def test_any_length_is_judged(samples):
    """Also nothing at all, and a voice that is shorter than one frame."""
    noise = np.random.default_rng(samples).integers(-3000, 3000, samples).astype(np.int16)
    for heard in (noise, np.zeros(samples, np.int16)):
        assert np.isfinite(features(heard)).all()
        assert 0.0 <= packaged().probability(heard) <= 1.0


def test_the_middle_of_a_word_sounds_less_finished_than_the_end():
    """Three whole prompts by a person, each against itself cut off in the middle."""
    for path in sorted(SPEECH.glob("allison_*.flac")):
        voice = voiced_part(soundfile.read(path, dtype="int16")[0])
        end = packaged().probability(voice)
        middle = packaged().probability(voice[: voice.size // 2])
        assert end > middle, path.name


@pytest.mark.parametrize(("probability", "hold_ms"), [(0.49, 800), (0.5, 600), (0.69, 600), (0.7, 430)])
def test_an_open_answer_is_held_by_how_it_sounds(probability, hold_ms):
    """Asked once a pause; the hold counts from the window in which silence began."""
    asked = []

    def finished(start_samples, now_samples):
        asked.append((start_samples, now_samples))
        return probability

    settings = TurnSettings(
        finished_probability=0.7,
        unfinished_probability=0.5,
        hold_finished_ms=430,
        hold_open_ms=600,
        hold_unfinished_ms=800,
    )
    endpointer = Endpointer(settings, finished)
    endpointer.expect(Expectation(kind="free"))
    probabilities = [0.9] * 40 + [0.0] * 40
    events = [endpointer.window(p, (k + 1) * 256, 256) for k, p in enumerate(probabilities)]
    (committed,) = [k for k, e in enumerate(events) if isinstance(e, EndOfTurn)]
    assert asked == [(0, 41 * 256)]
    assert events[committed].hold_ms == hold_ms
    assert (committed + 1 - 40) * 32 - 32 < hold_ms <= (committed + 1 - 40) * 32


def test_an_answer_that_is_known_to_be_complete_is_not_judged():
    """The network costs 3 ms: it is asked where nothing better is known."""
    endpointer = Endpointer(TurnSettings(), lambda _start, _now: pytest.fail("asked"))
    endpointer.expect(Expectation(kind="menu", phrases=("balance",), complete=frozenset({"balance"})))
    ended = []
    for k in range(60):
        if k == 10:
            endpointer.partial("balance")
        ended.append(endpointer.window(0.9 if k < 30 else 0.0, (k + 1) * 256, 256))
    assert any(isinstance(e, EndOfTurn) and e.reason == "complete" for e in ended)


def test_the_history_keeps_three_seconds():
    """Of a turn that is older, the part that is kept."""
    samples = np.arange(200 * FRAME, dtype=np.int64).astype(np.int16)
    kept = history(samples)
    assert np.array_equal(kept.since(60 * FRAME), samples[60 * FRAME :])
    assert np.array_equal(kept.since(0), samples[50 * FRAME :])
    assert VoiceHistory().since(0).size == 0


def test_the_level_is_that_of_the_last_400_ms():
    """A tone of 60 dB over one step of 16 bits is 30.3 dB below full scale."""
    kept = history(np.concatenate([tone(40, 30), tone(60, 20)]))
    assert kept.level_dbov == pytest.approx(60 - 90.3, abs=0.1)
    assert VoiceHistory().level_dbov < -80
