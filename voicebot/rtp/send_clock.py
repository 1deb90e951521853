"""When each outgoing frame is due, and what happens after a stall."""

from typing import Final

from voicebot.rtp.packet import FRAME_US

_DEFAULT_BURST_FRAMES: Final = 3


class SendClock:
    """Pacing of outgoing frames against a monotonic clock that the caller reads.

    A frame ``index`` is due at ``start + index * interval``: rounding never adds up. After a stall
    at most ``max_burst_frames`` are sent at once to catch up; a longer stall is written off: the
    schedule moves (``slipped_us``), nothing is skipped, so sequence numbers, timestamps and audio
    stay contiguous and the far end's jitter buffer is not flooded.

    Args:
        start_us: Monotonic time of frame 0.
        interval_us: Frame interval.
        max_burst_frames: Most frames to send at one instant, at least 1.
    """

    __slots__ = ("_interval_us", "_max_burst_frames", "_next_index", "_start_us", "slipped_us")

    def __init__(
        self,
        start_us: int,
        *,
        interval_us: int = FRAME_US,
        max_burst_frames: int = _DEFAULT_BURST_FRAMES,
    ) -> None:
        if interval_us <= 0 or max_burst_frames < 1:
            raise ValueError("interval_us and max_burst_frames must be positive")
        self._start_us = start_us
        self._interval_us = interval_us
        self._max_burst_frames = max_burst_frames
        self._next_index = 0
        self.slipped_us = 0
        """How far the schedule has been moved by stalls, in total."""

    @property
    def next_index(self) -> int:
        """Index of the frame that is sent next."""
        return self._next_index

    @property
    def next_due_us(self) -> int:
        """Monotonic time at which the next frame is due."""
        return self.due_us(self._next_index)

    def due_us(self, index: int) -> int:
        """Monotonic time at which frame ``index`` is due on the present schedule."""
        return self._start_us + index * self._interval_us

    def take(self, now_us: int) -> int:
        """How many frames to send now, 0 to ``max_burst_frames``; they count as sent."""
        late_us = now_us - self.next_due_us
        if late_us < 0:
            return 0
        frames = late_us // self._interval_us + 1
        if frames > self._max_burst_frames:
            slip_us = (frames - self._max_burst_frames) * self._interval_us
            self._start_us += slip_us
            self.slipped_us += slip_us
            frames = self._max_burst_frames
        self._next_index += frames
        return frames
