"""Speech going on from what was heard: linear prediction driven by the last pitch cycle and noise.

context ─► predictor A(z) ─► residual ─► last cycle, repeated along the pitch trend ┐
              │                └──────► level of the noise ────────────────────────┴► 1/A(z) ─► fade
              └─► memory of 1/A(z): the first new sample follows the last one heard
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.audio.linear_prediction import AllPoleFilter, Signal, predictor_of

_LPC_ORDER: Final = 16
_LPC_WINDOW_SAMPLES: Final = 240
_LPC_WINDOW_FALL_SAMPLES: Final = 40
_BANDWIDTH_EXPANSION: Final = 0.994

_SHORTEST_LAG: Final = 25
_LONGEST_LAG: Final = 160
_TEMPLATE_SAMPLES: Final = 40
_SUBMULTIPLE_SHARE: Final = 0.85
_REFINING_TEMPLATE_SAMPLES: Final = 80
_REFINING_REACH: Final = 4
_LARGEST_TREND: Final = 0.03
_TREND_HOLDS_SAMPLES: Final = 240

_NOISE_BELOW: Final = 0.3
_VOICED_ABOVE: Final = 0.7
_NOISE_SAMPLES: Final = 160

# Gain against time: speech rarely stays as it was for longer than 10 ms, and a fill too loud disturbs
# more than one too soft.
_FADE_AT_SAMPLES: Final = (0, 40, 160, 480, 800)
_FADE_TO: Final = (1.0, 1.0, 0.5, 0.2, 0.0)
_STEEPEST_DECAY_PER_SAMPLE: Final = 0.02


class Extrapolation:
    """Goes on from a context as long as it is asked to, ever quieter, down to nothing after 100 ms.

    Args:
        context: What was heard before, at least 160 samples at 8 kHz on the int16 scale; 408 and more
            also show how the pitch moves.
        random: Source of the noise.
        lag_hint: Pitch lag to use where the context is too short to show one.
    """

    def __init__(
        self, context: Signal, random: np.random.Generator, lag_hint: int | None = None
    ) -> None:
        self._random = random
        predictor = _predictor(context[-_LPC_WINDOW_SAMPLES:])
        residual: Signal = np.convolve(context, predictor, "valid")
        self.lag, correlation = find_pitch(context)
        if lag_hint is not None and context.size - _TEMPLATE_SAMPLES < lag_hint <= residual.size:
            self.lag = lag_hint
        self._cycle = residual[-self.lag :]
        self._period_samples, self._trend = _pitch_movement(context, self.lag)
        self._decay_per_sample = _decay_per_sample(context)
        self._noise_rms = float(np.sqrt(np.mean(residual[-_NOISE_SAMPLES:] ** 2)))
        self._voiced = float(
            np.clip((correlation - _NOISE_BELOW) / (_VOICED_ABOVE - _NOISE_BELOW), 0.0, 1.0)
        )
        self._synthesis = AllPoleFilter(predictor, context)
        self._position = 0

    def take(self, count: int) -> Signal:
        """The next `count` samples, float on the int16 scale."""
        position = self._position + np.arange(count)
        self._position += count
        noise = self._random.standard_normal(count) * self._noise_rms
        excitation = self._voiced * self._periodic(position) + np.sqrt(1.0 - self._voiced**2) * noise
        speech = self._synthesis.filter(excitation)
        fade = np.interp(position, _FADE_AT_SAMPLES, _FADE_TO) * np.exp(
            -self._decay_per_sample * position
        )
        faded: Signal = speech * fade
        return faded

    def _periodic(self, position: NDArray[np.int64]) -> Signal:
        """The last cycle read over and over, each time a little longer or shorter as the pitch moves."""
        stretch = self._trend / 2 * np.minimum(position, _TREND_HOLDS_SAMPLES)
        read_at = position / (self._period_samples + stretch) % 1.0 * self._cycle.size
        whole = read_at.astype(np.int64)
        fraction = read_at - whole
        around = np.concatenate((self._cycle[-1:], self._cycle, self._cycle[:3]))
        before, here, after, beyond = (around[whole + k] for k in range(4))
        # Cubic (Catmull-Rom) interpolation between the samples of the cycle.
        cubic = 3.0 * (here - after) + beyond - before
        square = 2.0 * before - 5.0 * here + 4.0 * after - beyond
        value: Signal = here + 0.5 * fraction * (after - before + fraction * (square + fraction * cubic))
        return value


def find_pitch(context: Signal) -> tuple[int, float]:
    """Pitch lag (samples) and its normalised correlation (-1 … 1) at the end of >= 160 samples.

    The last 5 ms are looked for 25 … 160 samples (320 … 50 Hz) earlier, less far where the signal is
    short. Of a lag and those sub-multiples that match nearly as well the shortest is taken.
    """
    template = context[-_TEMPLATE_SAMPLES:]
    searched = context[-_TEMPLATE_SAMPLES - _LONGEST_LAG :]
    products = np.correlate(searched, template, "valid")
    energy = np.concatenate(([0.0], np.cumsum(searched**2)))
    energy = energy[_TEMPLATE_SAMPLES:] - energy[:-_TEMPLATE_SAMPLES]
    by_lag = (products / np.sqrt(energy * energy[-1] + 1.0))[::-1]
    best = _SHORTEST_LAG + int(np.argmax(by_lag[_SHORTEST_LAG:]))
    for divisor in (4, 3, 2):
        first = max(_SHORTEST_LAG, round(best / divisor) - 2)
        near = by_lag[first : round(best / divisor) + 3]
        if near.size and near.max() > _SUBMULTIPLE_SHARE * by_lag[best]:
            best = first + int(np.argmax(near))
            break
    return best, float(by_lag[best])


def _pitch_movement(context: Signal, lag: int) -> tuple[float, float]:
    """Pitch period in samples, with fractions, and the share of it by which each cycle grows."""
    if context.size < 2 * _LONGEST_LAG + _REFINING_TEMPLATE_SAMPLES + 2 * _REFINING_REACH:
        return float(lag), 0.0
    now = _refined_lag(context, lag)
    a_cycle_ago = _refined_lag(context[:-lag], lag)
    trend = 0.0
    if abs(now - a_cycle_ago) < _REFINING_REACH:
        trend = min(_LARGEST_TREND, max(-_LARGEST_TREND, (now - a_cycle_ago) / lag))
    return (now if abs(now - lag) <= 1.0 else float(lag)), trend


def _refined_lag(context: Signal, lag: int) -> float:
    """The lag within 4 samples of `lag` that fits the last 10 ms best, with fractions by a parabola."""
    reach, size = _REFINING_REACH, _REFINING_TEMPLATE_SAMPLES
    template = context[-size:]
    stop = context.size - (lag - reach)
    searched = context[stop - size - 2 * reach : stop]
    products = np.correlate(searched, template, "valid")
    energy = np.concatenate(([0.0], np.cumsum(searched**2)))
    energy = energy[size:] - energy[:-size]
    fit = (products / np.sqrt(energy * np.dot(template, template) + 1.0))[::-1]
    best = int(np.argmax(fit))
    if best in (0, 2 * reach):
        return float(lag - reach + best)
    left, middle, right = (float(value) for value in fit[best - 1 : best + 2])
    curvature = left - 2.0 * middle + right
    return lag - reach + best + (0.5 * (left - right) / curvature if abs(curvature) > 1e-9 else 0.0)


def _decay_per_sample(context: Signal) -> float:
    """How fast the last 20 ms were dying away, nepers per sample; 0 where they were not."""
    last = float(np.mean(context[-80:] ** 2)) + 10.0
    before = float(np.mean(context[-160:-80] ** 2)) + 10.0
    return min(_STEEPEST_DECAY_PER_SAMPLE, max(0.0, 0.5 * math.log(before / last) / 80))


def _predictor(segment: Signal) -> Signal:
    """Coefficients 1, a1 … a16 of the prediction error filter, autocorrelation method."""
    windowed = segment * _window(segment.size)
    correlation = np.correlate(windowed, windowed, "full")[segment.size - 1 : segment.size + _LPC_ORDER]
    correlation = correlation * _LAG_WINDOW
    correlation[0] += 1.0  # digital silence has no spectrum
    predictor: Signal = predictor_of(correlation.tolist()) * _BANDWIDTH_EXPANSION**_INDEX
    return predictor


@lru_cache(maxsize=8)
def _window(count: int) -> Signal:
    """Rises slowly and falls over the last 5 ms: what counts is the spectrum at the end."""
    rise = count - _LPC_WINDOW_FALL_SAMPLES
    fall = np.hanning(2 * _LPC_WINDOW_FALL_SAMPLES)[_LPC_WINDOW_FALL_SAMPLES:]
    return np.concatenate((np.hanning(2 * rise)[:rise], fall))


_INDEX: Final[Signal] = np.arange(_LPC_ORDER + 1, dtype=np.float64)
# Gaussian lag window of 20 Hz with a white noise floor at -40 dB, as narrowband speech coders use.
_LAG_WINDOW: Final[Signal] = np.exp(-0.5 * (np.pi / 200 * _INDEX) ** 2) * (1.0 + 1e-4 * (_INDEX == 0))
