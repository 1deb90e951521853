import numpy as np
import pytest

from voicebot.tts.espeak import EspeakVoice
from voicebot.tts.flite import FliteVoice
from voicebot.tts.protocol import NEUTRAL, PROSODY_PRESETS

pytestmark = pytest.mark.models
TEXT = "Your balance is three hundred forty two dollars and sixteen cents."


def record(voice, prosody):
    pieces = []
    voice.synthesize(TEXT, lambda s: pieces.append(s) is None, prosody)
    return np.concatenate(pieces)


def median_pitch_hz(samples, rate_hz):
    """Autocorrelation of 64 ms windows, voiced ones only."""
    size, found = round(rate_hz * 0.064), []
    for start in range(0, samples.size - size, size // 3):
        window = samples[start : start + size].astype(float)
        window -= window.mean()
        if np.sqrt(np.mean(window**2)) < 800:
            continue
        correlation = np.correlate(window, window, "full")[size - 1 :]
        low, high = round(rate_hz / 320), round(rate_hz / 60)
        lag = low + int(correlation[low:high].argmax())
        if correlation[lag] > 0.5 * correlation[0]:
            found.append(rate_hz / lag)
    return float(np.median(found))


@pytest.mark.parametrize("make", [lambda: FliteVoice("rms"), lambda: FliteVoice("slt"), EspeakVoice])
@pytest.mark.parametrize("preset", ["calm", "urgent", "slow", "fast"])
def test_presets_change_length_and_pitch_as_they_say(make, preset):
    """Measured: the length follows the rate within 8 %, the pitch its factor within 5 %."""
    voice, wanted = make(), PROSODY_PRESETS[preset]
    plain, said = record(voice, NEUTRAL), record(voice, wanted)
    assert plain.size / said.size == pytest.approx(wanted.rate, rel=0.08)
    ratio = median_pitch_hz(said, voice.sample_rate_hz) / median_pitch_hz(plain, voice.sample_rate_hz)
    assert ratio == pytest.approx(wanted.pitch, rel=0.05)
