"""Streaming rational resampler: a polyphase FIR filter that carries its state from chunk to chunk.

The filter passes 0 … 0.85 of the lower of the two Nyquist frequencies and stops everything from that
frequency up by 60 dB, so 8 ↔ 16 kHz keep 0 … 3400 Hz and cost 3 ms of group delay. What comes out never
depends on how the input was cut into chunks.
"""

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, kaiser_beta, upfirdn

Samples = NDArray[np.int16]

STOP_BAND_DB: Final = 60.0
_PASS_BAND: Final = 0.85


class Resampler:
    """Resamples one int16 stream from `input_rate_hz` to `output_rate_hz`.

    Every chunk returns the samples that can be computed so far: nothing is held back beyond the filter's
    group delay, which stands at the start of the stream as leading samples. `flush` returns the tail.

    Args:
        input_rate_hz: Rate of the samples fed.
        output_rate_hz: Rate of the samples returned.
    """

    def __init__(self, input_rate_hz: int, output_rate_hz: int) -> None:
        divisor = math.gcd(input_rate_hz, output_rate_hz)
        self.input_rate_hz = input_rate_hz
        self.output_rate_hz = output_rate_hz
        self._up = output_rate_hz // divisor
        self._down = input_rate_hz // divisor
        self._taps = _design(self._up, self._down)
        self._taps_per_phase = -(-self._taps.size // self._up)
        self._buffer = np.zeros(0)
        self._buffer_start = 0  # input index of the buffer's first sample, a multiple of `down`
        self._next_output = 0

    @property
    def group_delay_ms(self) -> float:
        """How much later a sound leaves than it entered, ms, for all frequencies alike."""
        if self._up == self._down:
            return 0.0
        return (self._taps.size - 1) / 2 / (self._up * self.input_rate_hz) * 1000.0

    @property
    def group_delay_samples(self) -> float:
        """The group delay in output samples."""
        return self.group_delay_ms * self.output_rate_hz / 1000.0

    def feed(self, samples: Samples) -> Samples:
        """Resample int16 samples (n,), any n; returns int16 (m,), m about n · output / input."""
        if self._up == self._down:
            return samples.copy()
        self._buffer = np.concatenate((self._buffer, samples.astype(np.float64)))
        return self._take((self._buffer_start + self._buffer.size) * self._up)

    def flush(self) -> Samples:
        """The tail that is still in the filter; the resampler is then as new."""
        if self._up == self._down:
            return np.zeros(0, np.int16)
        fed_end = (self._buffer_start + self._buffer.size) * self._up
        self._buffer = np.concatenate((self._buffer, np.zeros(self._taps_per_phase)))
        tail = self._take(fed_end + self._taps.size - 1)
        self._buffer, self._buffer_start, self._next_output = np.zeros(0), 0, 0
        return tail

    def _take(self, end: int) -> Samples:
        """All outputs whose position on the up-sampled axis is before `end`."""
        stop = -(-end // self._down)
        # The buffer starts on a multiple of `down`, so output k is its own output k - first.
        first = self._buffer_start // self._down * self._up
        output: NDArray[np.float64] = upfirdn(self._taps, self._buffer, self._up, self._down)[
            self._next_output - first : stop - first
        ]
        self._next_output = stop
        oldest = stop * self._down // self._up - self._taps_per_phase
        drop = max(0, oldest - self._buffer_start) // self._down * self._down
        self._buffer = self._buffer[drop:]
        self._buffer_start += drop
        return np.clip(np.rint(output), -32768, 32767).astype(np.int16)


def resample(samples: Samples, input_rate_hz: int, output_rate_hz: int) -> Samples:
    """Resample one whole recording, int16 (n,), group delay taken out."""
    resampler = Resampler(input_rate_hz, output_rate_hz)
    output = np.concatenate((resampler.feed(samples), resampler.flush()))
    start = round(resampler.group_delay_samples)
    return output[start : start + -(-samples.size * output_rate_hz // input_rate_hz)]


@lru_cache(maxsize=16)
def _design(up: int, down: int) -> NDArray[np.float64]:
    nyquist = 1.0 / max(up, down)  # of the lower rate, as a share of the up-sampled Nyquist frequency
    transition = (1.0 - _PASS_BAND) * nyquist
    taps = math.ceil((STOP_BAND_DB - 7.95) / (2.285 * math.pi * transition)) + 1
    # Group delays of whole output samples let `resample` take the delay out exactly.
    half = -(-(taps // 2) // down) * down
    cutoff = (1.0 + _PASS_BAND) / 2 * nyquist
    response = firwin(2 * half + 1, cutoff, window=("kaiser", kaiser_beta(STOP_BAND_DB)))
    return np.asarray(response * up, np.float64)
