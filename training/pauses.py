"""Where a recording sounds and where it pauses, by its own level."""

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 80
PAUSE_MS: Final = 100
PAUSE_DB: Final = 30.0


def labels(audio: NDArray[np.int16]) -> tuple[int, int, list[tuple[int, int]]]:
    """First and last sample that sound, and the pauses between, in samples at 8 kHz."""
    blocks = audio[: audio.size // BLOCK * BLOCK].reshape(-1, BLOCK).astype(float)
    level = 10 * np.log10((blocks**2).mean(axis=1) + 1e-3)
    loud = np.flatnonzero(level > level.max() - PAUSE_DB)
    pauses = [
        (int(a + 1) * BLOCK, int(b) * BLOCK)
        for a, b in itertools.pairwise(loud)
        if (b - a - 1) * BLOCK >= PAUSE_MS * 8
    ]
    return int(loud[0]) * BLOCK, int(loud[-1] + 1) * BLOCK, pauses
