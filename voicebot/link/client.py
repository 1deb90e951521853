"""The edge's end: connects to a worker, keeps a warm spare connection."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from websockets.exceptions import WebSocketException

from voicebot.core.errors import OverloadError
from voicebot.link.codec import FromEdge, FromWorker
from voicebot.link.connection import LinkEnd, monotonic_us
from voicebot.link.dialect_choice import edge_codec
from voicebot.link.messages import DIALECT_VOICEBOT_V1
from voicebot.link.queues import QueueLimits
from voicebot.link.websocket_channel import WebSocketChannel, open_channel

MIN_ATTEMPT_S: Final = 0.1


class EdgeLink(LinkEnd[FromEdge, FromWorker]):
    """A link as the edge sees it. Send ``Start`` first.

    Attributes:
        url: The worker's URL.
    """

    @property
    def url(self) -> str:
        """The worker's URL."""
        return self.peer

    def send(self, message: FromEdge) -> None:
        """Queue a message; never waits.

        Audio beyond the queue's limit pushes the oldest audio out (counted). After the end of the link
        messages are thrown away.
        """
        self._enqueue(message)


@dataclass(frozen=True, slots=True)
class _Attempt:
    url: str
    error: str


class LinkClient:
    """Opens links to one of several workers.

    Args:
        urls: Workers in order of preference, ``ws://host:port/``.
        dialect: ``voicebot.v1`` or ``media-streams``.
        connect_timeout_ms: For a whole ``connect``, all workers together.
        heartbeat_ms: How long this end may be silent on a v1 link.
        limits: Queue sizes of each link.
        clock_us: Monotonic clock; replaced in tests.
    """

    def __init__(
        self,
        urls: Sequence[str],
        dialect: str = DIALECT_VOICEBOT_V1,
        *,
        connect_timeout_ms: int = 1000,
        heartbeat_ms: int = 100,
        limits: QueueLimits | None = None,
        clock_us: Callable[[], int] = monotonic_us,
    ) -> None:
        self.urls = tuple(urls)
        self.dialect = dialect
        self._connect_timeout_s = connect_timeout_ms / 1000
        self._heartbeat_ms = heartbeat_ms
        self._limits = limits or QueueLimits()
        self._clock_us = clock_us
        self._spare: EdgeLink | None = None

    @property
    def spare_ready(self) -> bool:
        """Whether a warm connection waits for the next call or the next takeover."""
        return self._spare is not None and not self._spare.closed

    async def connect(self, *, avoid: str | None = None) -> EdgeLink:
        """Open a link, or take the warm spare.

        Args:
            avoid: URL of a worker that just failed: it is tried last, and a spare to it is not used.

        Raises:
            OverloadError: No worker took the link in time.
        """
        spare, self._spare = self._spare, None
        if spare is not None:
            fresh = not spare.closed and spare.silent_us < 3 * self._heartbeat_ms * 1000
            if fresh and spare.url != avoid:
                return spare
            await spare.abort()
        return await self._open(avoid)

    async def prepare(self, *, avoid: str | None = None) -> bool:
        """Have a warm spare connection; returns whether there is one.

        Args:
            avoid: URL of the worker whose death the spare is for: another one is preferred.
        """
        if self._spare is not None and (self._spare.closed or self._spare.url == avoid):
            spare, self._spare = self._spare, None
            await spare.abort()
        if self._spare is None:
            try:
                link = await self._open(avoid)
            except OverloadError:
                return False
            if self._spare is None:
                self._spare = link
            else:  # another prepare was faster
                await link.close()
        return True

    async def close(self) -> None:
        """Drop the spare. Links that were handed out belong to their owners."""
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.close()

    async def _open(self, avoid: str | None) -> EdgeLink:
        urls = sorted(self.urls, key=lambda url: url == avoid)
        deadline_s = time.monotonic() + self._connect_timeout_s
        failed: list[_Attempt] = []
        for position, url in enumerate(urls):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            share_s = max(left_s / (len(urls) - position), MIN_ATTEMPT_S)
            try:
                async with asyncio.timeout(min(left_s, share_s)):
                    channel = await self._handshake(url)
            except (OSError, WebSocketException) as error:  # TimeoutError is an OSError
                failed.append(_Attempt(url, f"{type(error).__name__}: {error}".rstrip(": ")))
                continue
            return EdgeLink(
                channel,
                edge_codec(self.dialect),
                peer=url,
                heartbeat_ms=self._heartbeat_ms,
                limits=self._limits,
                clock_us=self._clock_us,
            )
        reasons = "; ".join(f"{a.url} ({a.error})" for a in failed) or "no worker URL is configured"
        raise OverloadError(f"no worker took the link: {reasons}")

    async def _handshake(self, url: str) -> WebSocketChannel:
        v1 = self.dialect == DIALECT_VOICEBOT_V1
        channel = await open_channel(url, (DIALECT_VOICEBOT_V1,) if v1 else ())
        if v1 and channel.subprotocol != DIALECT_VOICEBOT_V1:
            channel.close(1002, "voicebot.v1 is needed")
            raise ConnectionRefusedError("the worker does not speak voicebot.v1")
        return channel
