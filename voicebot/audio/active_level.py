"""Active speech level (ITU-T P.56 method B): how loud speech is while there is some, in dBov."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from voicebot.audio.level import FULL_SCALE, SILENCE_DBOV, power_dbov

Samples = NDArray[np.int16]

_ENVELOPE_TIME_CONSTANT_S: Final = 0.03
_HANGOVER_S: Final = 0.2
_MARGIN_DB: Final = 15.9
_THRESHOLDS: Final = 2.0 ** np.arange(15)


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
        long_term_dbov = power_dbov(self._energy / self._total_samples)
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
