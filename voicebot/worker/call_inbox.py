"""What a call has to handle next: results of its engines first, then what its edge sent.

    link ─► its own bounded queue ──┐
                                    ├─► get() ─► CallSession
    engines, console ─► results ────┘

Nothing stands between the link and the call: 50 frames a second and call that went through a task of
their own would be woken for twice. While a call catches up after a takeover the results go first, so
that partial words are not older than the audio they belong to.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from voicebot.core.endings import EDGE_LOST
from voicebot.dialogue.events import Event
from voicebot.link.codec import FromEdge
from voicebot.worker.effects import Input, LinkLost

MAX_RESULTS: Final = 512


class IncomingLink(Protocol):
    """The receiving side of a link."""

    on_incoming: Callable[[], None] | None

    @property
    def exhausted(self) -> bool:
        """Whether nothing waits and nothing will come."""
        ...

    @property
    def waiting(self) -> int:
        """Messages that were received and not taken."""
        ...

    def poll(self) -> FromEdge | None:
        """The next message if there is one."""
        ...


class CallInbox:
    """The inputs of one call.

    Args:
        link: Tells when something came.
    """

    def __init__(self, link: IncomingLink) -> None:
        self._link = link
        self._results: deque[Input | Event] = deque()
        self._room = asyncio.Event()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lost = False
        link.on_incoming = self._wake

    def __len__(self) -> int:
        return len(self._results) + self._link.waiting

    def offer(self, item: Input | Event) -> bool:
        """Add a result, unless too many wait."""
        if len(self._results) >= MAX_RESULTS:
            return False
        self._results.append(item)
        self._wake()
        return True

    async def put(self, item: Input | Event) -> None:
        """Add a result; waits while too many do."""
        while not self.offer(item):
            self._room.clear()
            await self._room.wait()

    def take(self) -> FromEdge | Input | Event | None:
        """The next input; ``LinkLost`` once, when the link has ended and all of it was taken."""
        if self._results:
            self._room.set()
            return self._results.popleft()
        message = self._link.poll()
        if message is None and self._link.exhausted and not self._lost:
            self._lost = True
            return LinkLost(EDGE_LOST)
        return message

    async def wait(self, limit_s: float | None) -> None:
        """Until there may be something to take, or the time is over."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        if limit_s is not None:
            self._wake_by(loop, loop.time() + limit_s)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Nobody will wait again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake_by(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        """Have a timer that ends not after this time.

        Deadlines move with every frame, mostly to later: one timer that is early now and then costs less
        than one for each frame.
        """
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = loop.call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
