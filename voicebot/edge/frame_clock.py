"""The 20 ms clock of the process: one timer for all legs, on absolute deadlines."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from voicebot.edge.load_guard import LoadGuard
from voicebot.rtp.send_clock import SendClock
from voicebot.telemetry import metrics
from voicebot.telemetry.log import get_logger

_log = get_logger()


class Ticked(Protocol):
    """Something that does its work once per 20 ms."""

    def tick(self, now_us: int) -> None:
        """One frame is due: send it. ``now_us`` is monotonic."""

    def after_tick(self, now_us: int) -> None:
        """All members have sent: the rest of the work of this frame."""


class FrameClock:
    """Ticks every member once per 20 ms of monotonic time while there are members.

    After a stall at most three ticks follow at once (``SendClock``). A member that raises is logged and
    taken out; the others go on.

    Args:
        load: Told how late each tick is.
    """

    def __init__(self, load: LoadGuard | None = None) -> None:
        self._load = load or LoadGuard(0)
        self._members: dict[Ticked, None] = {}
        self._clock: SendClock | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.slipped_us = 0

    def add(self, member: Ticked) -> None:
        """Tick this one too; the clock starts with the first."""
        self._members[member] = None
        if self._timer is None:
            self._clock = SendClock(_now_us())
            self._schedule()

    def remove(self, member: Ticked) -> None:
        """Tick it no more; the clock stops with the last. Unknown members do no harm."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._load.idle()

    def _schedule(self) -> None:
        assert self._clock is not None
        loop = asyncio.get_running_loop()
        # The loop's clock is time.monotonic() too, in seconds.
        self._timer = loop.call_at(self._clock.next_due_us / 1e6, self._due)

    def _due(self) -> None:
        assert self._clock is not None
        now_us = _now_us()
        late_us = max(0, now_us - self._clock.next_due_us)
        frames = self._clock.take(now_us)
        self.slipped_us = self._clock.slipped_us
        for _ in range(frames):
            # All send before anyone receives: concealing a loss takes as long as sending 50 packets.
            for member in list(self._members):
                self._attempt(member, member.tick, now_us)
            for member in list(self._members):
                self._attempt(member, member.after_tick, now_us)
        metrics.FRAME_LATE_SECONDS.observe(late_us / 1e6)
        self._load.tick(late_us)
        if self._members:
            self._schedule()
        else:
            self._timer = None
            self._load.idle()

    def _attempt(self, member: Ticked, step: Callable[[int], None], now_us: int) -> None:
        try:
            step(now_us)
        except Exception:  # noqa: BLE001 - one call's mistake must not stop the clock
            _log.exception("frame_tick_failed")
            self._members.pop(member, None)


def _now_us() -> int:
    return time.monotonic_ns() // 1000
