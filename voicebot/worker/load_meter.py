"""How busy a worker is: what the edges choose by."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 1.0
NEW_CALL_SHARE: Final = 0.05
"""What a call that began within the window is taken to cost, as a share of a core, at first."""


class LoadMeter:
    """Share of one core that this process has used in the last second, and what has just begun.

    A Python worker does most of its work under one lock: at 1.0 it is full, whatever the machine has.
    Recognition runs beside it and may push the figure higher.

    Args:
        clock_s: Monotonic clock in seconds.
        cpu_s: Processor time of the process in seconds.
    """

    def __init__(
        self,
        clock_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock_s = clock_s
        self._cpu_s = cpu_s
        self._since_s = clock_s()
        self._since_cpu_s = cpu_s()
        self._begun_s: deque[float] = deque(maxlen=64)
        self.used = 0.0

    def call_began(self) -> None:
        """A call was taken: count it before its cost can be measured."""
        self._begun_s.append(self._clock_s())

    @property
    def load(self) -> float:
        """0 for an idle worker, 1 for a full one, more when it is overloaded."""
        now_s = self._clock_s()
        while self._begun_s and now_s - self._begun_s[0] > 2 * WINDOW_S:
            self._begun_s.popleft()
        return round(self.used + NEW_CALL_SHARE * len(self._begun_s), 3)

    def measure(self) -> None:
        """Take the figure of the time since the last measurement."""
        now_s, cpu_s = self._clock_s(), self._cpu_s()
        if now_s > self._since_s:
            self.used = (cpu_s - self._since_cpu_s) / (now_s - self._since_s)
        self._since_s, self._since_cpu_s = now_s, cpu_s

    async def run(self) -> None:
        """Measure once a second, for ever."""
        while True:
            await asyncio.sleep(WINDOW_S)
            self.measure()
