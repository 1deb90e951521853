import numpy as np
import pytest

from voicebot.audio.active_level import active_speech_level
from voicebot.audio.level import peak_dbov
from voicebot.audio.narrowband import NarrowbandChain, VoiceProfile, design_presence, shape

FLAT = VoiceProfile(presence_hz=(), presence_db=())


def noise(seconds: float, rate_hz: int = 16000, rms: float = 6000.0) -> np.ndarray:
    """Noise bursts between pauses, like syllables."""
    random = np.random.default_rng(7)
    samples = random.standard_normal(round(seconds * rate_hz)) * rms
    samples *= np.repeat(random.integers(0, 2, samples.size // 800 + 1), 800)[: samples.size]
    return np.clip(samples, -32768, 32767).astype(np.int16)


def sine(frequency_hz: float, rate_hz: int = 16000, amplitude: float = 4000.0) -> np.ndarray:
    return np.rint(amplitude * np.sin(2 * np.pi * frequency_hz / rate_hz * np.arange(rate_hz))).astype(
        np.int16
    )


def gain_db(frequency_hz: float, profile: VoiceProfile = FLAT) -> float:
    shaped = shape(sine(frequency_hz), 16000, profile, trim=False)[2000:6000].astype(float)
    return 20 * np.log10(np.sqrt(2 * np.mean(shaped**2)) / 4000.0 + 1e-9)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050])
@pytest.mark.parametrize("seed", range(4))
def test_chunked_output_equals_one_shot_output_to_the_sample(rate_hz, seed):
    """However the input is cut, empty chunks included, not one sample differs."""
    samples, profile = noise(1.5, rate_hz), VoiceProfile(gain_db=9.0)
    expected = shape(samples, rate_hz, profile)
    random, chain, pieces, start = np.random.default_rng(seed), NarrowbandChain(rate_hz, profile), [], 0
    while start < samples.size:
        size = int(random.integers(0, 700))
        pieces.append(chain.feed(samples[start : start + size]))
        start += size
    pieces.append(chain.flush())
    assert np.array_equal(np.concatenate(pieces), expected)


def test_the_telephone_band_passes_and_its_surroundings_do_not():
    """Flat within 3 dB from 350 to 3000 Hz; mains hum and everything above 4 kHz is at least 40 dB down."""
    assert all(abs(gain_db(f)) < 3.0 for f in (350, 500, 1000, 2000, 3000))
    assert all(gain_db(f) < -40.0 for f in (50, 60, 4200, 5000, 7000))


def test_a_constant_offset_is_removed():
    """An engine's DC of 10 % of full scale leaves less than 0.1 %."""
    shaped = shape(sine(1000) + np.int16(3277), 16000, FLAT, trim=False)
    assert abs(shaped[1000:].mean()) < 32.768


@pytest.mark.parametrize("boost_db", [10.0, 30.0])
def test_nothing_leaves_above_the_limit(boost_db):
    """-3 dBFS holds for input far beyond full scale."""
    loud = shape(noise(2.0), 16000, VoiceProfile(gain_db=boost_db))
    assert -3.5 < peak_dbov(loud) <= -2.99


def test_the_limiter_leaves_quiet_audio_alone():
    """Below the limit the chain's gain is exactly the profile's."""
    quiet = VoiceProfile(gain_db=6.0, presence_hz=(), presence_db=())
    assert gain_db(1000, quiet) - gain_db(1000) == pytest.approx(6.0, abs=0.02)


@pytest.mark.parametrize("rate_hz", [16000, 22050])
def test_the_chain_delays_speech_by_less_than_eight_milliseconds(rate_hz):
    """Cross-correlation with the ideally resampled input peaks before 8 ms."""
    random = np.random.default_rng(3)
    size = 2 * rate_hz
    spectrum = np.fft.rfft(random.standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1 / rate_hz)
    spectrum[(frequencies < 400) | (frequencies > 3000)] = 0
    samples = np.rint(np.fft.irfft(spectrum) / np.abs(np.fft.irfft(spectrum)).max() * 8000).astype(
        np.int16
    )
    ideal = np.fft.irfft(np.fft.rfft(samples)[:8001], 16000)
    shaped = shape(samples, rate_hz, VoiceProfile(), trim=False)[:16000].astype(float)
    correlation = np.fft.irfft(np.fft.rfft(shaped) * np.conj(np.fft.rfft(ideal)))
    assert 0 < np.abs(correlation[:400]).argmax() < 64


def test_silence_at_both_ends_goes_and_pauses_stay():
    """240 ms of nothing before and after are cut to at most 15 ms; 300 ms inside remain."""
    burst, silence = sine(1000)[:3200], np.zeros(3840, np.int16)
    inside = np.zeros(4800, np.int16)
    shaped = shape(np.concatenate((silence, burst, inside, burst, silence)), 16000, FLAT)
    expected = (3200 + 4800 + 3200) // 2
    assert expected <= shaped.size <= expected + 2 * 120
    assert np.abs(shaped[1800 + 200 : 1600 + 2400 - 200]).max() < 100


def test_silence_alone_gives_nothing():
    """An engine that produced only silence is seen by the empty result."""
    assert shape(np.zeros(16000, np.int16), 16000, VoiceProfile()).size == 0


def test_an_utterance_starts_and_ends_without_a_step():
    """A tone that starts and stops at full swing is faded: first and last samples are near zero."""
    shaped = shape(sine(1000, amplitude=12000)[3:-5], 16000, FLAT)
    assert abs(int(shaped[0])) < 200
    assert abs(int(shaped[-1])) < 200


def test_presence_follows_its_points_and_is_causal():
    """+6 dB from 1.6 kHz on, nothing at 500 Hz, and the energy sits in the first millisecond."""
    taps = design_presence((1000.0, 1600.0, 3300.0), (0.0, 6.0, 6.0))
    response = 20 * np.log10(np.abs(np.fft.rfft(taps, 1024)))
    assert response[round(500 / 8000 * 1024)] == pytest.approx(0.0, abs=0.3)
    assert response[round(2500 / 8000 * 1024)] == pytest.approx(6.0, abs=0.3)
    assert np.sum(taps[:8] ** 2) / np.sum(taps**2) > 0.97


def test_gain_moves_the_active_level_by_what_it_says():
    """Level of speech-like bursts rises by the profile's gain while the limiter rests."""
    samples = noise(4.0, rms=400.0)
    before = active_speech_level(shape(samples, 16000, FLAT)).level_dbov
    after = active_speech_level(shape(samples, 16000, VoiceProfile(8.0, (), ()))).level_dbov
    assert after - before == pytest.approx(8.0, abs=0.1)
