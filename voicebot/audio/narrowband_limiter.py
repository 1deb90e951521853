"""Look-ahead peak limiter: nothing leaves above the limit, and nothing below it is touched for long."""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.float64]

LOOK_AHEAD_SAMPLES: Final = 12
"""1.5 ms at 8 kHz: the gain is down before the peak arrives."""
_RELEASE_PER_SAMPLE: Final = 1.0 / 800
"""From silence to full gain within 100 ms."""


class Limiter:
    """Keeps a float stream within ±limit; delays it by `LOOK_AHEAD_SAMPLES`.

    The gain is the smallest that any sample of the next 1.5 ms needs, rises no faster than the release,
    and is averaged over 1.5 ms: an average of values that all suit a peak suits the peak.

    Args:
        limit: Largest magnitude let through, on the scale of the samples.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        size = LOOK_AHEAD_SAMPLES + 1
        self._delayed = np.zeros(LOOK_AHEAD_SAMPLES)
        self._needed = np.ones(LOOK_AHEAD_SAMPLES)
        self._lowest = np.inf  # of gain minus release ramp, over all samples so far
        self._position = 0
        self._average = np.full(size, 1.0 / size)
        # As if the gain had been 1 for ever.
        self._average_state = np.cumsum(self._average[:0:-1])[::-1].copy()

    def feed(self, samples: Floats) -> Floats:
        """Limit float samples (n,); returns (n,), `LOOK_AHEAD_SAMPLES` late."""
        count = samples.size
        if count == 0:
            return samples
        needed = np.concatenate((self._needed, self._limit / np.maximum(np.abs(samples), self._limit)))
        delayed = np.concatenate((self._delayed, samples))
        self._needed = needed[count:]
        self._delayed = delayed[count:]
        smallest = sliding_window_view(needed, LOOK_AHEAD_SAMPLES + 1).min(axis=1)
        # min over the past of (gain + elapsed · release), written as a running minimum.
        ramp = (self._position + np.arange(count)) * _RELEASE_PER_SAMPLE
        self._position += count
        below_ramp = np.minimum(np.minimum.accumulate(smallest - ramp), self._lowest)
        self._lowest = float(below_ramp[-1])
        gain = np.minimum(below_ramp + ramp, 1.0)
        smooth: Floats
        smooth, self._average_state = lfilter(self._average, [1.0, 0.0], gain, zi=self._average_state)
        return delayed[:count] * smooth

    def flush(self) -> Floats:
        """The last `LOOK_AHEAD_SAMPLES` samples."""
        return self.feed(np.zeros(LOOK_AHEAD_SAMPLES))
