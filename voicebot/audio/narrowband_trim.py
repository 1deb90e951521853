"""Takes the silence off both ends of an utterance and fades what is left in and out."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK_SAMPLES: Final = 40
"""5 ms at 8 kHz."""
_AUDIBLE_RMS: Final = 32768.0 * 10.0 ** (-50.0 / 20.0)
_KEPT_BLOCKS: Final = 2
"""Quiet blocks kept at each end: soft onsets and endings begin below the threshold."""
_FADE_IN: Final = 0.5 - 0.5 * np.cos(np.pi * (np.arange(BLOCK_SAMPLES) + 0.5) / BLOCK_SAMPLES)


class SilenceTrim:
    """Trims and fades a float stream at 8 kHz on the int16 scale.

    Quiet blocks are held until a louder one follows; what is held at the end is dropped. Pauses inside
    an utterance keep their length.
    """

    def __init__(self) -> None:
        self._partial = np.zeros(0)
        self._quiet: list[Floats] = []
        self._last: Floats | None = None  # held back: it fades out if nothing follows
        self._started = False

    def feed(self, samples: Floats) -> Floats:
        """Add float samples (n,), any n; returns what is certain to be kept."""
        pending = np.concatenate((self._partial, samples))
        whole = pending.size // BLOCK_SAMPLES * BLOCK_SAMPLES
        self._partial = pending[whole:]
        kept: list[Floats] = []
        for block in pending[:whole].reshape(-1, BLOCK_SAMPLES):
            self._quiet.append(block)
            if float(np.dot(block, block)) / BLOCK_SAMPLES < _AUDIBLE_RMS**2:
                if not self._started:
                    del self._quiet[:-_KEPT_BLOCKS]
                continue
            if not self._started:
                self._started = True
                self._quiet[0] = self._quiet[0] * _FADE_IN
            if self._last is not None:
                kept.append(self._last)
            kept.extend(self._quiet[:-1])
            self._last = self._quiet[-1]
            self._quiet.clear()
        return np.concatenate(kept) if kept else np.zeros(0)

    def flush(self) -> Floats:
        """The end, faded out; empty when nothing audible was fed."""
        if self._last is None:
            return np.zeros(0)
        tail = [self._last, *self._quiet, self._partial]
        rest = np.concatenate(tail)[: (_KEPT_BLOCKS + 1) * BLOCK_SAMPLES]
        return fade_out(rest)


def fade_out(samples: Floats) -> Floats:
    """Fade the last 5 ms of float samples (n,) to nothing with a raised cosine."""
    length = min(BLOCK_SAMPLES, samples.size)
    if length == 0:
        return samples
    faded = samples.copy()
    faded[-length:] *= _FADE_IN[::-1][-length:]
    return faded
