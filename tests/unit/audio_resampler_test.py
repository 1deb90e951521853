import numpy as np
import pytest

from voicebot.audio.resampler import Resampler, resample

RATES = [(8000, 16000), (16000, 8000), (22050, 8000), (24000, 8000), (44100, 8000), (48000, 16000)]


def tone(frequency_hz: float, rate_hz: int, count: int) -> np.ndarray:
    return np.rint(16000 * np.sin(2 * np.pi * frequency_hz / rate_hz * np.arange(count))).astype(
        np.int16
    )


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(float) ** 2)))


@pytest.mark.parametrize(("input_rate_hz", "output_rate_hz"), RATES)
def test_chunks_equal_one_shot(input_rate_hz, output_rate_hz):
    """Any cut into chunks, single samples and empty ones included, gives the same samples."""
    random = np.random.default_rng(1)
    samples = random.integers(-20000, 20000, 3000).astype(np.int16)
    whole = Resampler(input_rate_hz, output_rate_hz)
    expected = np.concatenate((whole.feed(samples), whole.flush()))
    parts = Resampler(input_rate_hz, output_rate_hz)
    output, position = [], 0
    while position < samples.size:
        size = int(random.choice([0, 1, 2, 7, 160, 441, 500]))
        output.append(parts.feed(samples[position : position + size]))
        position += size
    output.append(parts.flush())
    assert np.array_equal(np.concatenate(output), expected)


@pytest.mark.parametrize(("input_rate_hz", "output_rate_hz"), RATES)
def test_nothing_is_held_back(input_rate_hz, output_rate_hz):
    """After n input samples every output sample of that time has been returned."""
    resampler = Resampler(input_rate_hz, output_rate_hz)
    fed = returned = 0
    for _ in range(30):
        fed += 160
        returned += resampler.feed(np.zeros(160, np.int16)).size
        assert returned == -(-fed * output_rate_hz // input_rate_hz)


@pytest.mark.parametrize(("input_rate_hz", "output_rate_hz"), RATES)
def test_pass_band_is_flat(input_rate_hz, output_rate_hz):
    """A tone below 0.8 of the lower Nyquist frequency keeps its level and its place in time."""
    frequency_hz = 0.8 * min(input_rate_hz, output_rate_hz) / 2
    output = resample(
        tone(frequency_hz, input_rate_hz, input_rate_hz // 4), input_rate_hz, output_rate_hz
    )
    expected = tone(frequency_hz, output_rate_hz, output_rate_hz // 4)
    assert output.size == -(-(input_rate_hz // 4) * output_rate_hz // input_rate_hz)
    count = min(output.size, expected.size)
    error = rms((output[:count].astype(float) - expected[:count])[400:-400])
    assert error < 16000 * 10 ** (-50 / 20)


@pytest.mark.parametrize("frequency_hz", [4000, 4400, 5000, 6500, 7900])
def test_stop_band_when_going_down(frequency_hz):
    """16 to 8 kHz lets nothing above 4 kHz alias through: at least 55 dB down."""
    output = resample(tone(frequency_hz, 16000, 16000), 16000, 8000)[200:-200]
    assert rms(output) < 11314 * 10 ** (-55 / 20)


@pytest.mark.parametrize("frequency_hz", [300, 1000, 3000, 3400])
def test_image_when_going_up(frequency_hz):
    """8 to 16 kHz has no mirror image above 4 kHz: at least 55 dB below the tone."""
    output = resample(tone(frequency_hz, 8000, 8000), 8000, 16000)[400:-400].astype(float)
    spectrum = np.abs(np.fft.rfft(output * np.blackman(output.size)))
    edge = round(4100 / 16000 * output.size)
    assert spectrum[edge:].max() < spectrum.max() * 10 ** (-55 / 20)


def test_group_delay_is_as_documented():
    """An impulse leaves `group_delay_ms` later than it entered: about 3 ms between 8 and 16 kHz."""
    for rates in ((8000, 16000), (16000, 8000)):
        resampler = Resampler(*rates)
        impulse = np.zeros(800, np.int16)
        impulse[200] = 20000
        peak_ms = np.argmax(np.abs(resampler.feed(impulse))) / rates[1] * 1000
        assert peak_ms - 200 / rates[0] * 1000 == pytest.approx(resampler.group_delay_ms, abs=0.001)
        assert 2.5 < resampler.group_delay_ms < 3.5


def test_flush_starts_anew():
    """After flush the resampler answers as a fresh one does."""
    samples = tone(700, 22050, 1000)
    resampler = Resampler(22050, 8000)
    first = np.concatenate((resampler.feed(samples), resampler.flush()))
    second = np.concatenate((resampler.feed(samples), resampler.flush()))
    assert np.array_equal(first, second)


def test_full_scale_square_wave_is_clipped_not_wrapped():
    """Overshoot of the filter saturates at the int16 range."""
    square = np.where(np.arange(1600) // 40 % 2, 32767, -32768).astype(np.int16)
    output = resample(square, 8000, 16000)
    held = np.repeat(square, 2)
    assert output.max() == 32767
    assert np.array_equal(np.sign(output[40::80]), np.sign(held[40::80]))


def test_equal_rates_pass_through():
    """8 to 8 kHz is the identity without delay."""
    samples = tone(440, 8000, 100)
    resampler = Resampler(8000, 8000)
    assert np.array_equal(resampler.feed(samples), samples)
    assert resampler.flush().size == 0
    assert resampler.group_delay_ms == 0.0
