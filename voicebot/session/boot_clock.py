"""A clock that all processes of one machine share and that no wall clock change touches."""

import time
from pathlib import Path


def boot_ms() -> int:
    """Milliseconds since the machine was started (CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def boot_id() -> str:
    """Which run of the machine this is: times of another run mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
