"""Pitch for engines that have none: speak slower by the factor, then play the samples faster."""

from typing import Final

import numpy as np

from voicebot.audio.resampler import Resampler
from voicebot.tts.protocol import Samples, Sink

_STEPS: Final = 20
"""Factors are rounded to twentieths, which keeps the resampler's ratio small."""


class PitchShift:
    """A sink in front of `sink` that raises pitch and speed of what passes by `factor`.

    The engine has to speak by `rate_factor` slower for the length to stay. Formants move along, so this
    is for small factors.
    """

    def __init__(self, factor: float, sample_rate_hz: int, sink: Sink) -> None:
        twentieths = round(factor * _STEPS)
        self.rate_factor = twentieths / _STEPS
        self._sink = sink
        self._resampler = Resampler(sample_rate_hz * twentieths // _STEPS, sample_rate_hz)

    def __call__(self, samples: Samples) -> bool:
        """Take samples as a `Sink`."""
        return self._sink(self._resampler.feed(samples) if samples.size else np.zeros(0, np.int16))

    def finish(self) -> None:
        """Hand on what the filter still holds; only after the engine ended by itself."""
        self._sink(self._resampler.flush())
