"""A thread that calls functions at absolute monotonic deadlines, and tells how late it was.

All streams of a process share one pacer: a second thread would only compete for the interpreter
lock. Deadlines are absolute, so lateness never adds up.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Final

from sip_test_harness.clock import NS_PER_S, now_ns

REALTIME_PRIORITY: Final = 5
SWITCH_INTERVAL_S: Final = 0.0005
"""How long another thread may keep the interpreter; Python's 5 ms would be heard as lateness."""

Due = Callable[[int], None]


@contextlib.contextmanager
def realtime_section(*, enabled: bool = True) -> Iterator[None]:
    """Run the calling thread under SCHED_FIFO meanwhile, when the machine allows it.

    The sending thread needs the interpreter lock; a preempted main thread would hold it.
    """
    before = (os.sched_getscheduler(0), os.sched_getparam(0))
    if enabled:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY - 1))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, *before)


class Pacer:
    """Runs ``function(due_ns)`` at each scheduled time on one thread.

    Args:
        realtime: ask for SCHED_FIFO; without the right to it the thread runs as usual.
    """

    def __init__(self, *, realtime: bool = True) -> None:
        self._heap: list[tuple[int, int, Due]] = []
        self._order = itertools.count()
        self._condition = threading.Condition()
        self._stopped = False
        self._realtime = realtime
        self.is_realtime = False
        self.error: BaseException | None = None
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._thread = threading.Thread(target=self._run, name="harness-pacer", daemon=True)
        self._thread.start()

    def call_at(self, due_ns: int, function: Due) -> None:
        """Schedule a call; from any thread."""
        with self._condition:
            heapq.heappush(self._heap, (due_ns, next(self._order), function))
            if self._heap[0][2] is function:
                self._condition.notify()

    def stop(self) -> None:
        """Drop what is scheduled and end the thread."""
        with self._condition:
            self._stopped = True
            self._heap.clear()
            self._condition.notify()
        self._thread.join(timeout=2.0)
        sys.setswitchinterval(self._switch_interval_s)

    def _run(self) -> None:
        if self._realtime:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
                self.is_realtime = True
        while True:
            with self._condition:
                while not self._stopped:
                    wait_ns = self._heap[0][0] - now_ns() if self._heap else NS_PER_S
                    if wait_ns <= 0:
                        break
                    self._condition.wait(wait_ns / NS_PER_S)
                if self._stopped:
                    return
                due_ns, _, function = heapq.heappop(self._heap)
            try:
                function(due_ns)
            except Exception as error:  # noqa: BLE001 - the thread serves every call; the error is reported by the stream's owner
                self.error = self.error or error


_shared: Pacer | None = None
_users = 0
_lock = threading.Lock()


def acquire_pacer(*, realtime: bool = True) -> Pacer:
    """Return the process's pacer, started for its first user."""
    global _shared, _users  # noqa: PLW0603 - one pacer for the process, counted
    with _lock:
        if _shared is None:
            _shared = Pacer(realtime=realtime)
        _users += 1
        return _shared


def release_pacer() -> None:
    """Give the pacer back; the last user's release stops its thread."""
    global _shared, _users  # noqa: PLW0603 - see acquire_pacer
    with _lock:
        _users -= 1
        if _users == 0 and _shared is not None:
            stopped, _shared = _shared, None
            stopped.stop()
