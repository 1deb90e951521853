"""A voice has a pitch; a cough, a click and a key's tones are none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.bench.echo import at_level
from tests.bench.interruptions import burst, hum, tones
from tests.scenario.virtual_callers import noise, voice
from voicebot.audio.g711 import decode_ulaw
from voicebot.config.settings import TurnSettings
from voicebot.turn.voicing import LOOKED_AT_SAMPLES, is_voice, voiced_frames

CLIPS = sorted((Path(__file__).parents[1] / "data" / "asr" / "clips").glob("*.flac"))
SETTINGS = TurnSettings()


def heard(sound):
    """Whether a voice is heard in it at any time, as the listener asks; quiet before and after."""
    padded = np.concatenate((np.zeros(1600), sound, np.zeros(1600)))
    padded += np.random.default_rng(1).normal(0, 10, padded.size)
    samples = np.clip(padded, -32768, 32767).astype(np.int16)
    ends = range(LOOKED_AT_SAMPLES, samples.size, 320)
    return any(
        is_voice(samples[e - LOOKED_AT_SAMPLES : e], -34.0, SETTINGS, cancelled=False) for e in ends
    )


def test_words_of_people_are_a_voice():
    found = [heard(at_level(soundfile.read(path, dtype="int16")[0], -24.0)) for path in CLIPS[::4]]
    assert len(found) >= 7
    assert all(found)


def test_a_hum_is_a_voice():
    assert all(heard(hum(seed)) for seed in range(4))


def test_bursts_like_coughs_and_tones_of_keys_are_none():
    assert not any(heard(burst(seed)) for seed in range(8))
    assert not any(heard(tones(seed)) for seed in range(4))


@pytest.mark.parametrize(("level", "frames"), [(4000, 10), (300, 0)])
def test_what_is_weaker_than_asked_for_does_not_count(level, frames):
    samples = decode_ulaw(voice(1, 220, level=level))
    assert voiced_frames(samples, -34.0, 0.4, 0.9) == frames


def test_noise_has_no_period_and_too_little_audio_is_no_voice():
    assert voiced_frames(decode_ulaw(noise(1, 220)), -90.0, 0.4, 0.9) <= 1
    assert not is_voice(decode_ulaw(voice(1, 20)), -90.0, SETTINGS, cancelled=True)
