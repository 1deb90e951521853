"""What the caller said and keyed and no worker has acknowledged yet: the next worker gets it again."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from voicebot.link.binary_media import CallerAudio
from voicebot.link.messages import Dtmf

DEFAULT_FRAMES: Final = 2000
"""40 s: a turn of the greatest length and the time to find another worker."""
MAX_KEYS: Final = 256


@dataclass(frozen=True, slots=True)
class _Key:
    """One key press: its number in the call, from 1, and the last frame before it."""

    number: int
    after_frame: int
    dtmf: Dtmf


class CallerRing:
    """Un-acknowledged caller frames and key presses in order; the oldest go when it is full.

    Args:
        max_frames: Most frames of 20 ms, 160 bytes each.
    """

    def __init__(self, max_frames: int = DEFAULT_FRAMES) -> None:
        self._frames: deque[CallerAudio] = deque()
        self._keys: deque[_Key] = deque(maxlen=MAX_KEYS)
        self._max_frames = max_frames
        self._last_frame = -1
        self._keys_pressed = 0
        self.acknowledged_frame = -1
        self.acknowledged_keys = 0
        self.dropped_frames = 0

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, audio: CallerAudio) -> None:
        """Keep one frame."""
        self._last_frame = audio.frame
        self._frames.append(audio)
        if len(self._frames) > self._max_frames:
            self._frames.popleft()
            self.dropped_frames += 1

    def append_key(self, dtmf: Dtmf) -> None:
        """Keep one key press, behind the frames that are here."""
        self._keys_pressed += 1
        self._keys.append(_Key(self._keys_pressed, self._last_frame, dtmf))

    def acknowledge(self, frame: int, keys: int | None = None) -> None:
        """Forget frames up to and including this one, and the first ``keys`` presses of the call.

        Older or future numbers are harmless. Without ``keys`` the presses before ``frame`` go.
        """
        while self._frames and self._frames[0].frame <= frame:
            self.acknowledged_frame = self._frames.popleft().frame
        while self._keys and (
            self._keys[0].after_frame < frame if keys is None else self._keys[0].number <= keys
        ):
            self.acknowledged_keys = self._keys.popleft().number

    def replay(self) -> Iterator[CallerAudio | Dtmf]:
        """All that is kept, in the order in which it came; audio is marked as replayed."""
        keys = deque(self._keys)
        for audio in self._frames:
            while keys and keys[0].after_frame < audio.frame:
                yield keys.popleft().dtmf
            yield msgspec.structs.replace(audio, replayed=True)
        for key in keys:
            yield key.dtmf
