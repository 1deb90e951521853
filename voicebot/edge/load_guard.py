"""Whether the calls in progress suffer already; then new ones are sent elsewhere."""

from collections import deque
from typing import Final

WINDOW_TICKS: Final = 100  # 2 s
LATE_SHARE: Final = 0.25


class LoadGuard:
    """Watches the 20 ms clock.

    Args:
        late_ms: A tick later than this is audible at the far end; 0 switches the guard off.
    """

    def __init__(self, late_ms: int) -> None:
        self._late_us = late_ms * 1000
        self._late: deque[bool] = deque(maxlen=WINDOW_TICKS)
        self._count = 0

    def tick(self, late_us: int) -> None:
        """The clock ticked so late."""
        if not self._late_us:
            return
        late = late_us > self._late_us
        if len(self._late) == WINDOW_TICKS:
            self._count -= self._late[0]
        self._late.append(late)
        self._count += late

    def idle(self) -> None:
        """No call is left: whatever was late has no meaning for the next one."""
        self._late.clear()
        self._count = 0

    @property
    def overloaded(self) -> bool:
        """Whether a quarter of the last two seconds was late."""
        return len(self._late) == WINDOW_TICKS and self._count >= LATE_SHARE * WINDOW_TICKS
