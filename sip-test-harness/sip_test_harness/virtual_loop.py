"""An event loop whose clock jumps to the next timer: waiting costs nothing, and is equal each time."""

# ruff: noqa: SLF001 - asyncio offers no other way to exchange the clock of its loop
from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, cast

from sip_test_harness.clock import virtual_clock

T = TypeVar("T")
START_S: Final = 1.0
"""Virtual time at the start; 0 means "not yet" in the logs of a call."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready, else jumps to the next timer; nothing may wait for a socket or a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_s = START_S
        cast("Any", self)._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual_s

    def now_ns(self) -> int:
        """Return the virtual time in nanoseconds."""
        return round(self._virtual_s * 1e9)

    def _run_once(self) -> None:
        base = cast("Any", self)
        scheduled = base._scheduled
        while scheduled and scheduled[0]._cancelled:
            base._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        if not base._ready:
            if not scheduled:
                raise RuntimeError("virtual time stands still: nothing is left to happen")
            self._virtual_s = max(self._virtual_s, scheduled[0]._when)
        cast("Any", super())._run_once()


def run_virtually(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on a fresh virtual loop; ``clock.now_ns`` follows it meanwhile."""
    loop = VirtualLoop()
    try:
        with virtual_clock(loop.now_ns):
            return loop.run_until_complete(work())
    finally:
        loop.close()
