"""The writes of one call: one after the other, and the call waits for each of them only so long.

A write that is late is not given up: it goes on behind the call's back, and the next one follows it. To
cancel it would lose a turn that the caller has given and the edge will not send again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from voicebot.core.errors import SessionStoreError

SETTLE_LIMIT_S: Final = 1.0


class OrderedWrites:
    """A queue of one call.

    Args:
        limit_s: How long a write may hold the call up.
        failed: Told of a write that failed, StaleLeaseError included, before the call goes on.
    """

    def __init__(self, limit_s: float, failed: Callable[[SessionStoreError], Awaitable[None]]) -> None:
        self._limit_s = limit_s
        self._failed = failed
        self._last: asyncio.Task[None] | None = None

    async def put(self, write: Coroutine[None, None, None]) -> bool:
        """Write; whether it was done in time, well or not."""
        self._last = asyncio.create_task(self._after(self._last, write))
        done, _ = await asyncio.wait({self._last}, timeout=self._limit_s)
        return bool(done)

    @property
    def behind(self) -> bool:
        """Whether a write is still on its way."""
        return self._last is not None and not self._last.done()

    def then(self, follow: Coroutine[None, None, None]) -> None:
        """Do something once all writes so far are done, without waiting for it."""
        self._last = asyncio.create_task(self._after(self._last, follow))

    async def settled(self) -> None:
        """Wait for what is late, at most a second: the store's own limits are far below."""
        if self._last is not None:
            await asyncio.wait({self._last}, timeout=SETTLE_LIMIT_S)

    async def _after(
        self, before: asyncio.Task[None] | None, write: Coroutine[None, None, None]
    ) -> None:
        if before is not None and not before.done():
            await asyncio.wait({before})
        try:
            await write
        except SessionStoreError as error:
            await self._failed(error)
