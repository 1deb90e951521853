"""The last seconds of a caller's audio, for those who judge how the voice went."""

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

FRAME_SAMPLES: Final = 160
KEPT_FRAMES: Final = 150
LEVEL_FRAMES: Final = 20
LOUD_FRAMES: Final = 5
_FULL_SCALE_DB: Final = 20.0 * math.log10(32768.0)


class VoiceHistory:
    """The last three seconds of one caller's audio."""

    def __init__(self) -> None:
        self._kept: deque[Samples] = deque(maxlen=KEPT_FRAMES)
        self._levels_db: deque[float] = deque(maxlen=LEVEL_FRAMES)
        self._frames = 0

    def add(self, frame: Samples) -> None:
        """The next 20 ms, int16 (160,)."""
        values = frame.astype(np.float32)
        power = float(np.dot(values, values)) / FRAME_SAMPLES
        self._levels_db.append(10.0 * math.log10(power + 1.0))
        self._kept.append(frame)
        self._frames += 1

    @property
    def level_dbov(self) -> float:
        """Mean level of the last 400 ms."""
        return sum(self._levels_db) / max(1, len(self._levels_db)) - _FULL_SCALE_DB

    @property
    def loudness_dbov(self) -> float:
        """Mean power of the last 100 ms: a short word has its full level, whatever was before it."""
        last = [self._levels_db[k] for k in range(-min(LOUD_FRAMES, len(self._levels_db)), 0)]
        power = sum(10.0 ** (level / 10.0) for level in last) / max(1, len(last))
        return 10.0 * math.log10(power + 1e-9) - _FULL_SCALE_DB

    def latest(self, samples: int) -> Samples:
        """The last so many samples, or all that is kept: int16 (n,)."""
        return self.since(max(0, self._frames * FRAME_SAMPLES - samples))

    def since(self, start_samples: int) -> Samples:
        """The audio from a position until now, as far as it is kept.

        Args:
            start_samples: Position in the audio that was added.

        Returns:
            int16 (n,), n at most 24,000.
        """
        first = max(0, start_samples // FRAME_SAMPLES - (self._frames - len(self._kept)))
        wanted = [self._kept[k] for k in range(first, len(self._kept))]
        return np.concatenate(wanted) if wanted else np.zeros(0, np.int16)
