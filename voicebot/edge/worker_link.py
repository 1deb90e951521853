"""The edge's side of a call's link: the first worker, and the next one when it dies.

CONNECTING ──link──► SERVING ──closed, or silent too long──► SEARCHING ──link──► SERVING
│                                                           │
└── nobody in time: OverloadError                           └── grace over: on_worker_gone

Silence may also mean that the whole machine is starved. Going to another worker is harmless then (it
holds the newer lease) but costs it work: so nobody is left for a worker that is as silent, and each
worker of a call that was left for its silence doubles the patience with the next one.
"""

import asyncio
import contextlib
from typing import Final, Protocol

from voicebot.config.settings import LinkSettings
from voicebot.core.errors import OverloadError
from voicebot.link.client import EdgeLink, LinkClient
from voicebot.link.codec import FromEdge, FromWorker
from voicebot.link.connection import monotonic_us
from voicebot.link.messages import DIALECT_VOICEBOT_V1, Hangup
from voicebot.telemetry.log import get_logger

_WATCH_S: Final = 0.05
_MOST_PATIENCE: Final = 4
_CALM_US: Final = 30_000_000
_RETRY_S: Final = 0.05
_RECORD_RETRY_S: Final = 1.0
_RECORD_LIMIT_S: Final = 5.0
_BROKEN: Final = 1006  # RFC 6455: the connection ended without a goodbye
_log = get_logger()


class LinkOwner(Protocol):
    """Who speaks through the link."""

    def on_worker_message(self, message: FromWorker) -> None:
        """A message of the worker, in order."""

    def on_worker_lost(self) -> None:
        """The worker is gone; another one is being looked for."""

    def on_worker_found(self) -> None:
        """A link to a worker is open: introduce the call (``Start``, and what it missed)."""

    def on_worker_gone(self) -> None:
        """No worker was found in time."""


class CallLink:
    """The link of one call through all its workers.

    Args:
        client: Opens links; shared by the calls of the process.
        settings: Times.
        owner: Who speaks.
        first: A link that is there already: the worker on it asked for this call.
    """

    def __init__(
        self,
        client: LinkClient,
        settings: LinkSettings,
        owner: LinkOwner,
        first: EdgeLink | None = None,
    ) -> None:
        self._first = first
        self._client = client
        self._settings = settings
        self._owner = owner
        self._link: EdgeLink | None = None
        self._patience = 1
        self._left_silent_us = 0
        self._silent: EdgeLink | None = None
        self._broken: str | None = None
        self.workers_lost = 0
        self.left_silent = False

    @property
    def connected(self) -> bool:
        """Whether somebody hears what is sent."""
        return self._link is not None and not self._link.closed

    @property
    def dialect(self) -> str:
        """Dialect of the links of this call."""
        return self._client.dialect

    def send(self, message: FromEdge, *, more: bool = False) -> None:
        """Queue a message; thrown away while there is no worker. ``more``: another follows at once."""
        if self._link is not None:
            self._link.send(message, more=more)

    async def run(self) -> None:
        """Serve until the owner cancels, or no worker is left.

        Raises:
            OverloadError: No worker took the call at its beginning.
        """
        self._link = self._first or await self._client.connect()
        self._owner.on_worker_found()
        while True:
            if await self._serve(self._link):
                return
            lost = self._link
            self._link = None
            self.workers_lost += 1
            self.left_silent = lost is self._silent
            _log.warning("worker_lost", url=lost.url, close_code=lost.close_code)
            self._owner.on_worker_lost()
            self._link = await self._search(avoid=lost.url)
            if self._link is None:
                self._owner.on_worker_gone()
                return
            _log.info("worker_found", url=self._link.url)
            self._owner.on_worker_found()

    async def record_is_safe(self) -> bool:
        """After the ``Stop``: whether the worker lived to write the call's record.

        It closes the link once the record is written; a worker that died before that only leaves the
        connection broken. One that takes its time is left to it.
        """
        link = self._link
        if link is None or self.dialect != DIALECT_VOICEBOT_V1:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RECORD_LIMIT_S):
                while await link.receive() is not None:
                    pass
        if not link.closed or link.close_code != _BROKEN:
            return True
        self.workers_lost += 1
        self._broken = link.url
        _log.warning("worker_lost", url=link.url, close_code=link.close_code)
        return False

    async def find_for_the_record(self) -> bool:
        """After a call that ended without a worker: a link to one that can write its record.

        The owner is not told; it introduces the call itself. A bot behind the other dialect has no
        records, and would take it for a new call.
        """
        if self.dialect != DIALECT_VOICEBOT_V1 or not self._settings.record_grace_ms:
            return False
        self._link = None
        try:
            async with asyncio.timeout(self._settings.record_grace_ms / 1000):
                while self._link is None:
                    try:
                        self._link = await self._client.connect(avoid=self._broken)
                    except OverloadError:
                        await asyncio.sleep(_RECORD_RETRY_S)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Flush and close what is open."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _serve(self, link: EdgeLink) -> bool:
        """Until the link ends; whether that was the bot's way to end the call."""
        hung_up = False
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(link))
            while (message := await link.receive()) is not None:
                # In the other dialect closing the socket is how a bot hangs up: nobody is to be found.
                hung_up = link.dialect != DIALECT_VOICEBOT_V1 and isinstance(message, Hangup)
                self._owner.on_worker_message(message)
            watch.cancel()
        return hung_up

    async def _watch(self, link: EdgeLink) -> None:
        if link.dialect != DIALECT_VOICEBOT_V1:
            return  # the other dialect has no heartbeats
        if monotonic_us() - self._left_silent_us > _CALM_US:
            self._patience = 1
        limit_us = self._settings.heartbeat_limit_ms * 1000
        while True:
            left_us = limit_us * self._patience - link.silent_us
            if left_us <= 0:
                if self._client.has_spare(avoid=link.url):
                    break
                left_us = limit_us * _MOST_PATIENCE - link.silent_us
                if left_us <= 0:
                    break
                left_us = 0  # a spare may turn up
            await asyncio.sleep(max(left_us / 1e6, _WATCH_S))
        _log.warning("worker_silent", url=link.url, silent_ms=link.silent_us // 1000)
        self._left_silent_us = monotonic_us()
        self._silent = link
        self._patience = min(self._patience * 2, _MOST_PATIENCE)
        await link.abort()

    async def _search(self, avoid: str) -> EdgeLink | None:
        try:
            async with asyncio.timeout(self._settings.resume_grace_ms / 1000):
                while True:
                    try:
                        return await self._client.connect(avoid=avoid)
                    except OverloadError:
                        await asyncio.sleep(_RETRY_S)
        except TimeoutError:
            return None
