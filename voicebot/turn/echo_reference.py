"""What was sent to the caller, found again for each frame that is heard.

Both streams are counted in samples, each from its own beginning. Frames of the caller arrive late when
the network is late, never early: the smallest distance seen lately is the true one.
"""

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.audio.g711 import decode_ulaw

Samples = NDArray[np.int16]

FRAME_SAMPLES: Final = 160
HISTORY_FRAMES: Final = 100
WINDOW_FRAMES: Final = 50  # a second
MOVE_UP_SAMPLES: Final = 320  # a smaller rise is jitter

_SILENCE: Final = np.zeros(FRAME_SAMPLES, np.int16)


class EchoReference:
    """The outgoing stream of one call, as long as an echo of it may come back."""

    def __init__(self) -> None:
        self._sent: dict[int, bytes] = {}
        self._order: deque[int] = deque()
        self._distances: deque[int] = deque(maxlen=WINDOW_FRAMES)
        self._offset: int | None = None

    def sent(self, position_samples: int, payload: bytes) -> None:
        """160 mu-law bytes went out and ended at this position; silence need not be told."""
        key = position_samples // FRAME_SAMPLES
        if key in self._sent or len(payload) != FRAME_SAMPLES:
            return
        self._sent[key] = payload
        self._order.append(key)
        if len(self._order) > HISTORY_FRAMES:
            del self._sent[self._order.popleft()]

    def at(self, frame: int, position_samples: int) -> tuple[Samples, bool]:
        """What went out while a frame of the caller came in, and whether it was more than silence.

        Args:
            frame: Its number, in 20 ms frames counted from 0.
            position_samples: How much had been sent when the frame was handed on.

        Returns:
            int16 (160,) at 8 kHz.
        """
        self._distances.append(position_samples - frame * FRAME_SAMPLES)
        smallest = min(self._distances)
        # Too large a distance asks for what has not been sent yet: it never stands.
        if self._offset is None or smallest < self._offset or smallest - self._offset >= MOVE_UP_SAMPLES:
            self._offset = smallest
        payload = self._sent.get((frame * FRAME_SAMPLES + self._offset) // FRAME_SAMPLES)
        return (_SILENCE, False) if payload is None else (decode_ulaw(payload), True)
