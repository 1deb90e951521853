"""The worker's end: accepts links, finds out the dialect, hands each link to its owner."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Final, Self

import structlog
from websockets.http11 import Request

from voicebot.core.errors import OverloadError
from voicebot.link.codec import FromEdge, FromWorker
from voicebot.link.connection import LinkEnd, monotonic_us
from voicebot.link.dialect_choice import is_media_streams, worker_codec
from voicebot.link.messages import DIALECT_VOICEBOT_V1, NO_CALL_SLOT, Originate, Result, Start
from voicebot.link.queues import QueueLimits
from voicebot.link.websocket_channel import WebSocketChannel, server_channel

BACKLOG: Final = 128
OWNER_LIMIT_S: Final = 5.0


class WorkerLink(LinkEnd[FromWorker, FromEdge]):
    """A link as the worker sees it; ``receive`` gives ``Start`` first."""

    async def send(self, message: FromWorker) -> None:
        """Queue a message.

        Control waits while the queue is full; audio never waits, the oldest goes (counted). After the
        end of the link messages are thrown away.
        """
        await self._wait_for_room()
        self._enqueue(message)


class LinkServer:
    """Listens for edges.

    Args:
        host: Address to listen on.
        port: TCP port; 0 for any free one.
        on_link: Called for each link once its ``Start`` is there; the link is closed when it returns.
        max_links: Further connections are refused with 503.
        heartbeat_ms: How long this end may be silent on a v1 link.
        limits: Queue sizes of each link.
        clock_us: Monotonic clock; replaced in tests.
        load: How busy this worker is, told in each heartbeat.
    """

    def __init__(
        self,
        host: str,
        port: int,
        on_link: Callable[[WorkerLink], Awaitable[None]],
        *,
        max_links: int = 256,
        heartbeat_ms: int = 100,
        limits: QueueLimits | None = None,
        clock_us: Callable[[], int] = monotonic_us,
        load: Callable[[], float] | None = None,
    ) -> None:
        self._load = load
        self._host = host
        self._port = port
        self._on_link = on_link
        self._max_links = max_links
        self._heartbeat_ms = heartbeat_ms
        self._limits = limits or QueueLimits()
        self._clock_us = clock_us
        self._server: asyncio.Server | None = None
        self._links: set[WorkerLink] = set()
        self._owners: set[asyncio.Task[None]] = set()
        self._idle: set[WorkerLink] = set()
        self._orders: dict[WorkerLink, asyncio.Future[Start | Result | None]] = {}
        self._handshakes = 0
        self.draining = False

    async def start(self) -> None:
        """Start to listen; does nothing when already listening.

        Raises:
            OSError: The address or port cannot be used.
        """
        if self._server is not None:
            return
        self._server = await asyncio.get_running_loop().create_server(
            self._accept, self._host, self._port, backlog=BACKLOG
        )

    @property
    def port(self) -> int:
        """The TCP port that was bound."""
        assert self._server is not None, "start() comes first"
        bound: int = next(iter(self._server.sockets)).getsockname()[1]
        return bound

    @property
    def links(self) -> frozenset[WorkerLink]:
        """The links in being, warm spares included."""
        return frozenset(self._links)

    async def originate(self, order: Originate) -> Start | Result | None:
        """Have an edge call somebody.

        Returns:
            The ``Start`` of the call, which is being served by then; the ``Result`` of a call that was
            not answered, or of an edge that took another call first (503); None: nobody knows what
            became of it, because the edge is gone.

        Raises:
            OverloadError: No edge waits for a call; nothing was sent.
        """
        waiting = [link for link in self._idle - self._orders.keys() if not link.closed]
        if not waiting:
            raise OverloadError("no edge waits for a call")
        link = random.choice(waiting)
        outcome: asyncio.Future[Start | Result | None]
        outcome = self._orders[link] = asyncio.get_running_loop().create_future()
        try:
            await link.send(order)
            return await outcome
        finally:
            del self._orders[link]

    async def close(self) -> None:
        """Stop to listen and drop all links; their owners see the end and return."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        if self._links:
            await asyncio.gather(*(link.close(1001, "worker stops") for link in self._links))
        if self._owners:
            _, late = await asyncio.wait(self._owners, timeout=OWNER_LIMIT_S)
            for owner in late:
                owner.cancel()
        await server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _accept(self) -> WebSocketChannel:
        channel = server_channel(self._admit, _choose_subprotocol, self._opened)
        if self._handshakes >= self._max_links:
            channel.refuse()
        self._handshakes += 1
        channel.opened.add_done_callback(self._handshake_over)
        return channel

    def _handshake_over(self, _: "asyncio.Future[None]") -> None:
        self._handshakes -= 1

    def _admit(self, request: Request) -> str | None:
        del request
        full = self.draining or self._server is None or len(self._links) >= self._max_links
        return "no capacity" if full else None

    def _opened(self, channel: WebSocketChannel) -> None:
        link = WorkerLink(
            channel,
            worker_codec(channel.subprotocol, channel.path),
            peer=channel.peer,
            heartbeat_ms=self._heartbeat_ms,
            limits=self._limits,
            clock_us=self._clock_us,
            load=self._load,
        )
        self._links.add(link)
        owner = asyncio.create_task(self._own(link), name=f"link {link.peer}")
        self._owners.add(owner)
        owner.add_done_callback(self._owners.discard)

    async def _own(self, link: WorkerLink) -> None:
        try:
            first = await self._first(link)
            if isinstance(first, Start):
                await self._on_link(link)
            elif first is not None:
                await link.close(1002, "start comes first")
        except Exception:  # noqa: BLE001 - one call's failure must not stop the server
            structlog.get_logger().exception("link_owner_failed", peer=link.peer)
            await link.close(1011, "internal error")
        finally:
            await link.close()
            self._links.discard(link)

    async def _first(self, link: WorkerLink) -> FromEdge | None:
        """What a link begins with, once the edge has a call for it; an order is answered on the way."""
        if link.dialect == DIALECT_VOICEBOT_V1:
            self._idle.add(link)
        first = await link.peek()
        self._idle.discard(link)
        order = self._orders.get(link)
        if order is None or order.done():
            return first
        if isinstance(first, Result):
            order.set_result(first)
            return await self._first_after_refusal(link)
        if isinstance(first, Start) and first.originated is None:
            # The edge gave the link to a caller before it saw the order; it will not follow it any more.
            order.set_result(Result(request="", ok=False, code=503, reason=NO_CALL_SLOT))
            return first
        order.set_result(first if isinstance(first, Start) else None)
        return first

    @staticmethod
    async def _first_after_refusal(link: WorkerLink) -> FromEdge | None:
        await link.receive()
        return await link.peek()


def _choose_subprotocol(path: str, offered: Sequence[str]) -> str | None:
    wanted = DIALECT_VOICEBOT_V1 in offered and not is_media_streams(path)
    return DIALECT_VOICEBOT_V1 if wanted else None
