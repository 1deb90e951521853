"""Linear prediction with numpy alone: the predictor of a signal, and the filter 1/A(z) in blocks.

scipy has both, but ``scipy.signal`` and ``scipy.linalg`` weigh 80 MB, and there is one edge process for
every four calls.
"""

from collections.abc import Sequence
from operator import mul
from typing import Final

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float64]

_BLOCK_SAMPLES: Final = 160


def predictor_of(correlation: Sequence[float]) -> Signal:
    """Coefficients 1, a1 … aN of the prediction error filter (Levinson and Durbin).

    Args:
        correlation: Autocorrelation at lags 0 … N; the first one is positive.
    """
    coefficients = [1.0]
    error = correlation[0]
    for order in range(1, len(correlation)):
        reflection = -sum(c * correlation[order - i] for i, c in enumerate(coefficients)) / error
        extended = [*coefficients, 0.0]
        coefficients = [a + reflection * b for a, b in zip(extended, reversed(extended), strict=True)]
        error *= 1.0 - reflection * reflection
    return np.array(coefficients)


class AllPoleFilter:
    """1/A(z), block by block; what it put out last is its memory.

    Each block is one convolution with the filter's impulse response: what the past adds to the first
    samples is put into the excitation.

    Args:
        denominator: 1, a1 … aN.
        past: The last samples it is taken to have put out, the latest last; missing ones are 0.
    """

    def __init__(self, denominator: Signal, past: Signal | None = None) -> None:
        self._feedback = denominator[1:]
        order = self._feedback.size
        known = np.zeros(0) if past is None or not order else past[-order:]
        self._past = np.concatenate((np.zeros(order - known.size), known))
        self._response = _impulse_response(denominator, _BLOCK_SAMPLES) if order else known

    @property
    def past(self) -> Signal:
        """The last samples it put out, as many as it has coefficients."""
        return self._past

    def filter(self, excitation: Signal) -> Signal:
        """The next samples, as many as there are of the excitation."""
        if not self._feedback.size:
            return excitation
        blocks = [
            self._block(excitation[at : at + _BLOCK_SAMPLES])
            for at in range(0, excitation.size, _BLOCK_SAMPLES)
        ]
        return np.concatenate(blocks) if blocks else excitation

    def _block(self, excitation: Signal) -> Signal:
        order, count = self._feedback.size, excitation.size
        # Sample n takes a(k) times the output k samples before it; here those before this block.
        echoes = np.convolve(self._past, self._feedback)[order - 1 :]
        driven = excitation.copy()
        reach = min(order, count)
        driven[:reach] -= echoes[:reach]
        speech: Signal = np.convolve(driven, self._response[:count])[:count]
        self._past = np.concatenate((self._past, speech))[-order:]
        return speech


def _impulse_response(denominator: Signal, count: int) -> Signal:
    """The first ``count`` samples, one by one: a power series would not survive sharp poles."""
    feedback = (-denominator[:0:-1]).tolist()
    order = len(feedback)
    response = [0.0] * order + [1.0]
    for _ in range(1, count):
        response.append(sum(map(mul, feedback, response[-order:])))
    return np.array(response[order:])
