"""Who may compute: as many voices as there are cores, the caller who runs dry first goes first.

Without it, twenty voices that start together share two cores evenly, and everybody's first word is late.
"""

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Final

_POLL_S: Final = 0.05


class SpeakingSlots:
    """Hands out `count` slots by due time (monotonic seconds, the earliest first)."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int]] = []
        self._numbers = itertools.count()

    def acquire(self, due_s: float, given_up: Callable[[], bool]) -> bool:
        """Wait for a slot; False, and no slot, once `given_up` says so (asked every 50 ms)."""
        with self._changed:
            mine = (due_s, next(self._numbers))
            heapq.heappush(self._waiting, mine)
            try:
                while not (self._free and self._waiting[0] == mine):
                    if given_up():
                        return False
                    self._changed.wait(_POLL_S)
                self._free -= 1
                return True
            finally:
                self._waiting.remove(mine)
                heapq.heapify(self._waiting)
                self._changed.notify_all()

    def release(self) -> None:
        """Give a slot back."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def wanted_before(self, due_s: float) -> bool:
        """Whether somebody waits who runs dry earlier than `due_s`."""
        with self._changed:
            return bool(self._waiting) and self._waiting[0][0] < due_s
