"""One time base for everything measured: the monotonic clock in nanoseconds, or a virtual one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000
_WALL_MINUS_MONOTONIC_NS: Final = time.time_ns() - time.monotonic_ns()
_source: Callable[[], int] = time.monotonic_ns


def now_ns() -> int:
    """Return the monotonic clock in nanoseconds, or the virtual one of an offline run."""
    return _source()


@contextlib.contextmanager
def virtual_clock(source: Callable[[], int]) -> Iterator[None]:
    """Let ``now_ns`` return another time meanwhile, in the whole process."""
    global _source  # noqa: PLW0603 - one clock for the process, and this is where it is exchanged
    before, _source = _source, source
    try:
        yield
    finally:
        _source = before


def wall_ns(monotonic_ns: int) -> int:
    """Return the Unix time in ns for a monotonic time, by one offset for the whole process."""
    return monotonic_ns + _WALL_MINUS_MONOTONIC_NS


def monotonic_of_wall_ns(stamp_ns: int) -> int:
    """Return the monotonic time of a recent wall-clock stamp, by the clocks' present offset."""
    return stamp_ns - (time.time_ns() - time.monotonic_ns())
