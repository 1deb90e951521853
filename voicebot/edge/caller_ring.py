"""What the caller said and no worker has acknowledged yet: the next worker gets it again."""

from collections import deque
from typing import Final

import msgspec

from voicebot.link.binary_media import CallerAudio

DEFAULT_FRAMES: Final = 2000
"""40 s: a turn of the greatest length and the time to find another worker."""


class CallerRing:
    """Un-acknowledged caller frames in order; the oldest go when it is full.

    Args:
        max_frames: Most frames of 20 ms, 160 bytes each.
    """

    def __init__(self, max_frames: int = DEFAULT_FRAMES) -> None:
        self._frames: deque[CallerAudio] = deque()
        self._max_frames = max_frames
        self.acknowledged_frame = -1
        self.dropped_frames = 0

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, audio: CallerAudio) -> None:
        """Keep one frame."""
        self._frames.append(audio)
        if len(self._frames) > self._max_frames:
            self._frames.popleft()
            self.dropped_frames += 1

    def acknowledge(self, frame: int) -> None:
        """Forget frames up to and including this one; an older or future number is harmless."""
        while self._frames and self._frames[0].frame <= frame:
            self.acknowledged_frame = self._frames.popleft().frame

    def replay(self) -> list[CallerAudio]:
        """All that is kept, oldest first, marked as replayed."""
        return [msgspec.structs.replace(audio, replayed=True) for audio in self._frames]
