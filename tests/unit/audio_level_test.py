import numpy as np
import pytest

from voicebot.audio.active_level import ActiveSpeechMeter, active_speech_level
from voicebot.audio.level import AudibleDetector, first_audible_sample, peak_dbov, rms_dbov


def sine(level_dbov: float, count: int) -> np.ndarray:
    amplitude = 32768 * 10 ** (level_dbov / 20) * 2**0.5
    return np.rint(amplitude * np.sin(2 * np.pi * 1000 / 8000 * np.arange(count) + 0.1)).astype(np.int16)


def test_full_scale_sine_is_minus_3_dbov():
    """0 dBov is the square wave: the loudest sine has -3.01 dBov RMS and 0 dBov peak."""
    loud = np.rint(32767 * np.sin(2 * np.pi * np.arange(8000) / 80)).astype(np.int16)
    assert rms_dbov(loud) == pytest.approx(-3.01, abs=0.01)
    assert peak_dbov(loud) == pytest.approx(0.0, abs=0.01)


def test_digital_silence_and_nothing_are_minus_127():
    """Silence has a finite level, the floor of the RFC 3389 scale."""
    for samples in (np.zeros(160, np.int16), np.zeros(0, np.int16)):
        assert rms_dbov(samples) == peak_dbov(samples) == -127.0


def test_peak_of_the_most_negative_sample():
    """-32768 does not overflow."""
    assert peak_dbov(np.array([-32768], np.int16)) == 0.0


def test_active_level_of_a_steady_signal_is_its_rms():
    """Where speech never pauses, active and long-term level agree and activity is (nearly) 1."""
    result = active_speech_level(sine(-26, 5 * 8000))
    assert result.level_dbov == pytest.approx(-26, abs=0.2)
    assert result.activity_factor > 0.97


def test_pauses_do_not_lower_the_active_level():
    """Half silence halves the long-term power, while the active level moves only by the hangover."""
    on_off = np.concatenate(
        [np.concatenate((sine(-20, 16000), np.zeros(16000, np.int16))) for _ in range(3)]
    )
    result = active_speech_level(on_off)
    assert result.long_term_dbov == pytest.approx(-23, abs=0.1)
    assert result.level_dbov == pytest.approx(-20.6, abs=0.4)
    assert 0.5 < result.activity_factor < 0.65


def test_meter_does_not_depend_on_chunks():
    """The level of a stream is the same for any cut into chunks."""
    random = np.random.default_rng(3)
    samples = np.rint(random.normal(0, 900, 20000)).astype(np.int16)
    samples[4000:9000] //= 100
    meter = ActiveSpeechMeter()
    for start in range(0, samples.size, 333):
        meter.feed(samples[start : start + 333])
    meter.feed(samples[:0])
    assert meter.level().level_dbov == pytest.approx(active_speech_level(samples).level_dbov, abs=1e-9)


def test_silence_has_no_active_level():
    """Nothing but zeros, or nothing at all, is no speech."""
    assert active_speech_level(np.zeros(8000, np.int16)).activity_factor == 0.0
    assert ActiveSpeechMeter().level().level_dbov == -127.0


def test_audible_is_a_20_ms_block_above_minus_45_dbov():
    """The threshold separates -44 from -46 dBov, on whole blocks only, whatever the chunks."""
    detector = AudibleDetector()
    assert detector.feed(sine(-44, 320)) == [True, True]
    assert detector.feed(sine(-46, 100)) == []
    assert detector.feed(sine(-46, 220)) == [False, False]


def test_first_audible_sample():
    """Leading silence is found to the block; silence alone has no audible block."""
    speech = np.concatenate((np.zeros(1600, np.int16), sine(-20, 800)))
    assert first_audible_sample(speech) == 1600
    assert first_audible_sample(np.zeros(1600, np.int16)) is None
