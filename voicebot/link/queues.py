"""The bounded queues of one end of a link, and what is counted about them."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from voicebot.link.binary_media import BotAudio, CallerAudio, SentAudio

T = TypeVar("T")


@dataclass(slots=True)
class LinkStatistics:
    """Counts since the link was opened."""

    sent_messages: int = 0
    received_messages: int = 0
    malformed_messages: int = 0
    unsendable_messages: int = 0
    dropped_outgoing_audio: int = 0
    dropped_incoming_audio: int = 0


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait in each direction of one end; audio in messages, control in messages.

    2,048 frames of caller audio are 41 s: more than the ring that an edge replays to the next worker.
    """

    outgoing_audio: int = 2048
    outgoing_control: int = 256
    incoming_audio: int = 2048
    incoming_control: int = 256


class MergedQueue(Generic[T]):
    """Audio and control in one order; full of audio, the oldest audio goes."""

    def __init__(self, max_audio: int) -> None:
        self._max_audio = max_audio
        self._audio: deque[tuple[int, T]] = deque()
        self._control: deque[tuple[int, T]] = deque()
        self._serial = 0

    def __len__(self) -> int:
        return len(self._audio) + len(self._control)

    @property
    def control_length(self) -> int:
        """How many control messages wait."""
        return len(self._control)

    def put(self, item: T) -> int:
        """Append; returns how many audio messages had to go for it."""
        self._serial += 1
        if not isinstance(item, CallerAudio | BotAudio | SentAudio):
            self._control.append((self._serial, item))
            return 0
        self._audio.append((self._serial, item))
        if len(self._audio) <= self._max_audio:
            return 0
        self._audio.popleft()
        return 1

    def get(self) -> T:
        """Take the oldest; IndexError when empty."""
        return self._first().popleft()[1]

    def peek(self) -> T:
        """Look at the oldest; IndexError when empty."""
        return self._first()[0][1]

    def _first(self) -> deque[tuple[int, T]]:
        if self._control and (not self._audio or self._control[0][0] < self._audio[0][0]):
            return self._control
        return self._audio
