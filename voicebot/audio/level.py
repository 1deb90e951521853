"""How loud: RMS and peak in dBov, active speech level (ITU-T P.56 method B), audible or not.

0 dBov is the RMS of a full-scale square wave (32768): a full-scale sine is -3.01 dBov (ITU-T G.100.1).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Samples = NDArray[np.int16]

FULL_SCALE: Final = 32768.0
SILENCE_DBOV: Final = -127.0
"""What digital silence is reported as: the floor of RFC 3389's and RFC 6464's level scale."""
AUDIBLE_DBOV: Final = -45.0
"""A 20 ms block above this counts as heard by the caller (the project's definition of first audio)."""

_ENVELOPE_TIME_CONSTANT_S: Final = 0.03
_HANGOVER_S: Final = 0.2
_MARGIN_DB: Final = 15.9
_THRESHOLDS: Final = 2.0 ** np.arange(15)


def rms_dbov(samples: NDArray[np.int16] | NDArray[np.float64]) -> float:
    """RMS level of samples on the int16 scale, dBov, not below -127."""
    if samples.size == 0:
        return SILENCE_DBOV
    values = samples.astype(np.float64)
    return _power_dbov(float(np.dot(values, values)) / values.size)


def peak_dbov(samples: Samples) -> float:
    """Level of the largest magnitude, dBov: 0 at full scale, not below -127."""
    if samples.size == 0:
        return SILENCE_DBOV
    peak = float(np.abs(samples.astype(np.int32)).max())
    return _power_dbov(peak * peak)


@dataclass(frozen=True, slots=True)
class ActiveSpeechLevel:
    """Result of P.56 method B."""

    level_dbov: float
    """Power while speech is active, dBov; -127 where no speech was found."""
    activity_factor: float
    """Share of the time that speech was active, 0 to 1."""
    long_term_dbov: float
    """Power over the whole time, pauses included, dBov."""


class ActiveSpeechMeter:
    """Active speech level of a stream (ITU-T P.56 method B).

    Two-stage envelope of 30 ms, 200 ms hangover, 15.9 dB margin.

    Args:
        sample_rate_hz: Rate of the samples fed.
    """

    def __init__(self, sample_rate_hz: int = 8000) -> None:
        self._smoothing = math.exp(-1.0 / (sample_rate_hz * _ENVELOPE_TIME_CONSTANT_S))
        self._hangover_samples = round(_HANGOVER_S * sample_rate_hz)
        self._envelope_state = np.zeros((2, 1))
        # Since the envelope last reached each threshold; starts as "longer ago than the hangover".
        self._samples_since = np.full(_THRESHOLDS.size, self._hangover_samples + 1, np.int64)
        self._active_samples = np.zeros(_THRESHOLDS.size, np.int64)
        self._energy = 0.0
        self._total_samples = 0

    def feed(self, samples: Samples) -> None:
        """Add int16 samples of shape (n,), any n."""
        count = samples.size
        if count == 0:
            return
        values = samples.astype(np.float64)
        self._energy += float(np.dot(values, values))
        self._total_samples += count
        envelope = np.abs(values)
        for stage in range(2):
            envelope, self._envelope_state[stage] = lfilter(
                [1.0 - self._smoothing],
                [1.0, -self._smoothing],
                envelope,
                zi=self._envelope_state[stage],
            )
        position = np.arange(count)
        for index, threshold in enumerate(_THRESHOLDS):
            last_above = np.maximum.accumulate(np.where(envelope >= threshold, position, -1))
            since = np.where(
                last_above >= 0, position - last_above, self._samples_since[index] + 1 + position
            )
            self._active_samples[index] += int(np.count_nonzero(since <= self._hangover_samples))
            self._samples_since[index] = since[-1]

    def level(self) -> ActiveSpeechLevel:
        """The level of everything fed so far."""
        if self._energy == 0.0:
            return ActiveSpeechLevel(SILENCE_DBOV, 0.0, SILENCE_DBOV)
        long_term_dbov = _power_dbov(self._energy / self._total_samples)
        seen = self._active_samples > 0
        active_dbov = 10.0 * np.log10(self._energy / self._active_samples[seen] / FULL_SCALE**2)
        threshold_dbov = 20.0 * np.log10(_THRESHOLDS[seen] / FULL_SCALE)
        margin_db = active_dbov - threshold_dbov
        below = np.nonzero(margin_db <= _MARGIN_DB)[0]
        if margin_db.size == 0 or below.size == 0 or below[0] == 0:
            return ActiveSpeechLevel(SILENCE_DBOV, 0.0, long_term_dbov)
        after, before = int(below[0]), int(below[0]) - 1
        share = (margin_db[before] - _MARGIN_DB) / (margin_db[before] - margin_db[after])
        level_dbov = float(active_dbov[before] + share * (active_dbov[after] - active_dbov[before]))
        activity = min(1.0, 10.0 ** ((long_term_dbov - level_dbov) / 10.0))
        return ActiveSpeechLevel(level_dbov, activity, long_term_dbov)


def active_speech_level(samples: Samples, sample_rate_hz: int = 8000) -> ActiveSpeechLevel:
    """Active speech level of one recording, int16 of shape (n,)."""
    meter = ActiveSpeechMeter(sample_rate_hz)
    meter.feed(samples)
    return meter.level()


class AudibleDetector:
    """Finds the 20 ms blocks a listener would hear: RMS above a threshold, on a fixed block grid.

    Args:
        threshold_dbov: A block above this is audible.
        block_samples: Length of a block; 160 is 20 ms at 8 kHz.
    """

    def __init__(self, threshold_dbov: float = AUDIBLE_DBOV, block_samples: int = 160) -> None:
        self._threshold_dbov = threshold_dbov
        self._block_samples = block_samples
        self._pending = np.zeros(0, np.int16)

    def feed(self, samples: Samples) -> list[bool]:
        """Add int16 samples of shape (n,), any n; one answer for each block that became complete."""
        pending = np.concatenate((self._pending, samples))
        count = pending.size // self._block_samples
        self._pending = pending[count * self._block_samples :]
        blocks = pending[: count * self._block_samples].reshape(count, self._block_samples)
        return [rms_dbov(block) > self._threshold_dbov for block in blocks]


def first_audible_sample(
    samples: Samples, threshold_dbov: float = AUDIBLE_DBOV, block_samples: int = 160
) -> int | None:
    """Index of the first sample of the first audible block of int16 samples (n,), or None."""
    audible = AudibleDetector(threshold_dbov, block_samples).feed(samples)
    return audible.index(True) * block_samples if True in audible else None


def _power_dbov(power: float) -> float:
    if power <= 0.0:
        return SILENCE_DBOV
    return max(SILENCE_DBOV, 10.0 * math.log10(power / FULL_SCALE**2))
