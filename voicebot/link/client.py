"""The edge's end: connects to a worker, keeps a warm spare connection to each."""

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
from voicebot.link.messages import DIALECT_VOICEBOT_V1, Originate
from voicebot.link.queues import QueueLimits
from voicebot.link.websocket_channel import WebSocketChannel, open_channel

MIN_ATTEMPT_S: Final = 0.1
MAX_SPARES: Final = 16
LOAD_STEP: Final = 0.05
"""Workers whose loads differ by less are equally busy: the first one gets the call."""


class EdgeLink(LinkEnd[FromEdge, FromWorker]):
    """A link as the edge sees it. Send ``Start`` first.

    Attributes:
        url: The worker's URL.
    """

    @property
    def url(self) -> str:
        """The worker's URL."""
        return self.peer

    def send(self, message: FromEdge, *, more: bool = False) -> None:
        """Queue a message; never waits.

        Audio beyond the queue's limit pushes the oldest audio out (counted). After the end of the link
        messages are thrown away.

        Args:
            message: What to send.
            more: Another one follows at once: both can leave in one piece, and wake the worker once.
        """
        self._wake()
        self._enqueue(message, more=more)


@dataclass(frozen=True, slots=True)
class _Attempt:
    url: str
    error: str


class LinkClient:
    """Opens links to one of several workers, the least busy one first.

    Args:
        urls: Workers in order of preference, ``ws://host:port/``.
        dialect: ``voicebot.v1`` or ``media-streams``.
        connect_timeout_ms: For a whole ``connect``, all workers together.
        heartbeat_ms: How long this end may be silent on a v1 link.
        limits: Queue sizes of each link.
        clock_us: Monotonic clock; replaced in tests.
        on_order: Told of a worker that wants a call placed, with the spare that becomes its link.
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
        on_order: Callable[[EdgeLink, Originate], None] | None = None,
    ) -> None:
        self._on_order = on_order
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self.urls = tuple(urls)
        self.dialect = dialect
        self._connect_timeout_s = connect_timeout_ms / 1000
        self._heartbeat_ms = heartbeat_ms
        self._limits = limits or QueueLimits()
        self._clock_us = clock_us
        self._spares: dict[str, EdgeLink] = {}

    @property
    def spare_ready(self) -> bool:
        """Whether a warm connection waits for the next call or the next takeover."""
        return any(not spare.closed for spare in self._spares.values())

    def has_spare(self, *, avoid: str) -> bool:
        """Whether a worker other than this one is connected and has just been heard.

        Behind a single URL there is a load balancer, or nobody else: then it is worth a try.
        """
        return len(self.urls) == 1 or any(
            url != avoid and self._fresh(spare) for url, spare in self._spares.items()
        )

    async def connect(self, *, avoid: str | None = None) -> EdgeLink:
        """Take the warm spare to the least busy worker, or open a link.

        Args:
            avoid: URL of a worker that just failed: it is tried last, and a spare to it is not used.

        Raises:
            OverloadError: No worker took the link in time.
        """
        for url in self._by_load():
            if url != avoid and self._fresh(self._spares[url]):
                return self._take(url)
        return await self._open(sorted(self.urls, key=lambda url: (url == avoid, self._hangs(url))))

    async def prepare(self) -> bool:
        """Have a warm spare connection to each worker; returns whether there is any.

        They wait for the next call and for the next takeover, and tell how busy their workers are.
        """
        wanted = self.urls[:MAX_SPARES] if self.dialect == DIALECT_VOICEBOT_V1 else self.urls[:1]
        missing = [url for url in wanted if url not in self._spares or self._spares[url].closed]
        await asyncio.gather(*(self._prepare_one(url) for url in missing))
        return self.spare_ready

    async def close(self) -> None:
        """Drop the spares. Links that were handed out belong to their owners."""
        for listener in self._listeners.values():
            listener.cancel()
        spares, self._spares = self._spares, {}
        await asyncio.gather(*(spare.close() for spare in spares.values()))

    def _take(self, url: str) -> EdgeLink:
        listener = self._listeners.pop(url, None)
        if listener is not None:
            listener.cancel()
        return self._spares.pop(url)

    async def _listen(self, url: str, spare: EdgeLink) -> None:
        """A worker may have a call placed through a link that waits for one."""
        order = await spare.peek()
        if not isinstance(order, Originate) or self._on_order is None:
            return
        if self._spares.get(url) is spare:
            del self._listeners[url], self._spares[url]
            await spare.receive()
            self._on_order(spare, order)

    def _by_load(self) -> list[str]:
        """The workers with a spare, least busy first; small differences do not change the order."""
        known = [url for url in self.urls if url in self._spares]
        return sorted(known, key=lambda url: round(self._spares[url].peer_load / LOAD_STEP))

    def _fresh(self, spare: EdgeLink) -> bool:
        return not spare.closed and spare.silent_us < 3 * self._heartbeat_ms * 1000

    def _hangs(self, url: str) -> bool:
        """Whether a spare to this worker has been silent for long."""
        spare = self._spares.get(url)
        return spare is not None and not self._fresh(spare)

    async def _prepare_one(self, url: str) -> None:
        try:
            link = await self._open([url])
        except OverloadError:
            return
        other = self._spares.get(url)
        if other is None or other.closed:
            self._spares[url] = link
            if self._on_order is not None:
                self._listeners[url] = asyncio.create_task(self._listen(url, link))
        else:  # another prepare was faster
            await link.close()

    async def _open(self, urls: Sequence[str]) -> EdgeLink:
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
                resting=True,  # until it is given a call
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
