"""How far a voice has fallen at its last sound, against the turn as a whole.

    frames of 20 ms ─► level ─► mean of the last 400 ms of voice - mean of all voice of the turn = fall

People let a sentence die away at its end, and much less where they only draw breath or look for a word.
Levels need no pitch, cost nothing and pass through any telephone; on a noisy line nothing seems to fall
far, and such a caller is waited for as without this.
"""

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

FRAME_SAMPLES: Final = 160
LAST_FRAMES: Final = 20
_KEPT_FRAMES: Final = 1000  # a turn is 20 s at most
_LOUD_FRAMES: Final = 5
_VOICE_RANGE_DB: Final = 25.0
_FULL_SCALE_DB: Final = 20.0 * math.log10(32768.0)


class VoiceFall:
    """The levels of one caller's audio."""

    def __init__(self) -> None:
        self._levels_db: deque[float] = deque(maxlen=_KEPT_FRAMES)
        self._frames = 0

    def add(self, frame: Samples) -> None:
        """The next 20 ms, int16 (160,)."""
        values = frame.astype(np.float32)
        power = float(np.dot(values, values)) / FRAME_SAMPLES
        self._levels_db.append(10.0 * math.log10(power + 1.0))
        self._frames += 1

    @property
    def level_dbov(self) -> float:
        """Mean level of the last 400 ms."""
        last = [self._levels_db[k] for k in range(-min(LAST_FRAMES, len(self._levels_db)), 0)]
        return sum(last) / max(1, len(last)) - _FULL_SCALE_DB

    @property
    def loudness_dbov(self) -> float:
        """Mean power of the last 100 ms: a short word has its full level, whatever was before it."""
        last = [self._levels_db[k] for k in range(-min(_LOUD_FRAMES, len(self._levels_db)), 0)]
        power = sum(10.0 ** (level / 10.0) for level in last) / max(1, len(last))
        return 10.0 * math.log10(power + 1e-9) - _FULL_SCALE_DB

    def fall_db(self, start_samples: int, end_samples: int) -> float:
        """By how much the last 400 ms before `end_samples` are weaker than the voice since the start.

        Args:
            start_samples: Where the turn began, position in the audio that was added.
            end_samples: Where its last sound was.

        Returns:
            The fall in dB; 0 for a turn that is shorter than those 400 ms.
        """
        first = self._frames - len(self._levels_db)
        begin = max(0, start_samples // FRAME_SAMPLES - first)
        end = min(len(self._levels_db), end_samples // FRAME_SAMPLES - first)
        if end - begin <= LAST_FRAMES:
            return 0.0
        turn = np.array([self._levels_db[k] for k in range(begin, end)])
        voice = turn[turn > turn.max() - _VOICE_RANGE_DB]
        return float(voice.mean() - turn[-LAST_FRAMES:].mean())
