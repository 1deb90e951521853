"""How loud: RMS and peak in dBov, audible or not; ``active_level`` has the level of speech.

0 dBov is the RMS of a full-scale square wave (32768): a full-scale sine is -3.01 dBov (ITU-T G.100.1).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

FULL_SCALE: Final = 32768.0
SILENCE_DBOV: Final = -127.0
"""What digital silence is reported as: the floor of RFC 3389's and RFC 6464's level scale."""
AUDIBLE_DBOV: Final = -45.0
"""A 20 ms block above this counts as heard by the caller (the project's definition of first audio)."""


def rms_dbov(samples: NDArray[np.int16] | NDArray[np.float64]) -> float:
    """RMS level of samples on the int16 scale, dBov, not below -127."""
    if samples.size == 0:
        return SILENCE_DBOV
    values = samples.astype(np.float64)
    return power_dbov(float(np.dot(values, values)) / values.size)


def peak_dbov(samples: Samples) -> float:
    """Level of the largest magnitude, dBov: 0 at full scale, not below -127."""
    if samples.size == 0:
        return SILENCE_DBOV
    peak = float(np.abs(samples.astype(np.int32)).max())
    return power_dbov(peak * peak)


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


def power_dbov(power: float) -> float:
    """A mean power on the int16 scale, dBov, not below -127."""
    if power <= 0.0:
        return SILENCE_DBOV
    return max(SILENCE_DBOV, 10.0 * math.log10(power / FULL_SCALE**2))
