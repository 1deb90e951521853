"""One end of a link on a WebSocket: bounded queues, heartbeats and what was heard last.

    owner ─ send ─► (outbox, when the line is full) ─► codec ─► WebSocket
    owner ◄─ receive ─ inbox ◄─ codec ◄─ WebSocket

Audio and control keep their common order. When a queue is full the oldest audio is dropped and
counted, control waits. A malformed message is counted and the link goes on; a peer that sends nothing
but nonsense is cut off.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import structlog

from voicebot.core.errors import LinkProtocolError
from voicebot.link.codec import Codec, Step
from voicebot.link.messages import Heartbeat
from voicebot.link.queues import LinkStatistics, MergedQueue, QueueLimits
from voicebot.link.websocket_channel import WebSocketChannel

MAX_MALFORMED_IN_A_ROW: Final = 100
MAX_MALFORMED_LOGGED: Final = 10
PING_US: Final = 20_000_000
RESTING_US: Final = 5_000_000
"""A link that waits for its call: nobody depends on this end yet."""
DEAD_US: Final = 40_000_000
"""A peer that has been silent for this long is gone, whatever its owner thinks about heartbeats."""

OutT = TypeVar("OutT")
InT = TypeVar("InT")


def monotonic_us() -> int:
    """The clock of all links of this process, microseconds."""
    return time.monotonic_ns() // 1000


class LinkEnd(Generic[OutT, InT]):
    """One end of a link; made by ``LinkClient`` and ``LinkServer`` only.

    Attributes:
        statistics: Counts of this link.
        on_incoming: Called when there may be something for ``poll``, or the link has ended.
        last_heard_us: When the peer last sent anything, on ``clock_us``.
        peer_load: How busy the peer said it was, in its last heartbeat.
        peer: Address or URL of the peer, for logs.
    """

    def __init__(
        self,
        channel: WebSocketChannel,
        codec: Codec[OutT, InT],
        *,
        peer: str,
        heartbeat_ms: int,
        limits: QueueLimits,
        clock_us: Callable[[], int] = monotonic_us,
        load: Callable[[], float] | None = None,
        resting: bool = False,
    ) -> None:
        self._load = load
        self._resting = resting and codec.heartbeats
        self.peer_load = 0.0
        self.on_incoming: Callable[[], None] | None = None
        self._connection = channel
        self._codec = codec
        self._clock_us = clock_us
        self._limits = limits
        self._busy_tick_us = heartbeat_ms * 1000 if codec.heartbeats else PING_US
        self._outbox: MergedQueue[OutT] = MergedQueue(limits.outgoing_audio)
        self._inbox: MergedQueue[InT] = MergedQueue(limits.incoming_audio)
        self._outbox_shrank = asyncio.Event()
        self._incoming = asyncio.Event()
        self._closing = False
        self._close_as = (1000, "")
        self._ended = False
        self._malformed_in_a_row = 0
        self._last_sent_us = clock_us()
        self.peer = peer
        self.last_heard_us = self._last_sent_us
        self.statistics = LinkStatistics()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._tick_us / 1e6, self._tick)
        channel.attach(self)

    @property
    def _tick_us(self) -> int:
        return RESTING_US if self._resting else self._busy_tick_us

    @property
    def dialect(self) -> str:
        """``voicebot.v1`` or ``media-streams``."""
        return self._codec.dialect

    @property
    def closed(self) -> bool:
        """Whether the WebSocket is gone; what was received before may still be waiting."""
        return self._ended

    @property
    def silent_us(self) -> int:
        """How long the peer has sent nothing."""
        return self._clock_us() - self.last_heard_us

    @property
    def close_code(self) -> int | None:
        """The WebSocket close code; None while open."""
        return self._connection.close_code

    # ------------------------------------------------------------------ for the owner

    async def receive(self) -> InT | None:
        """The next message in order; None once the link has ended and everything was received."""
        if not len(self._inbox):
            await self._something_received()
        return self.poll()

    def poll(self) -> InT | None:
        """What ``receive`` would give without waiting, else None."""
        if not len(self._inbox):
            return None
        message = self._inbox.get()
        if not self._connection.reading and not self._inbox_full:
            self._connection.resume_reading()
        return message

    @property
    def exhausted(self) -> bool:
        """Whether the link has ended and everything was received."""
        return self._ended and not len(self._inbox)

    @property
    def waiting(self) -> int:
        """Messages that came and were not received by the owner."""
        return len(self._inbox)

    async def peek(self) -> InT | None:
        """What ``receive`` will give next, without taking it."""
        return self._inbox.peek() if await self._something_received() else None

    async def close(self, code: int = 1000, reason: str = "", *, flush_s: float = 1.0) -> None:
        """Send what is queued, then close; after ``flush_s`` what is left is thrown away."""
        if not self._closing:
            self._closing = True
            self._close_as = (code, reason)
        self._connection.resume_reading()  # else the peer's goodbye is not seen
        self._pump()
        try:
            async with asyncio.timeout(flush_s):
                await self._connection.closed()
        except TimeoutError:
            await self.abort()

    async def abort(self) -> None:
        """Drop the link without a word (a peer that hangs)."""
        self._closing = True
        self._connection.abort()
        await self._connection.closed()
        self._end()

    async def _something_received(self) -> bool:
        while not len(self._inbox):
            if self._ended:
                return False
            self._incoming.clear()
            await self._incoming.wait()
        return True

    def _wake(self) -> None:
        """The link is used from now on: the peer is to hear often that this end lives."""
        if self._resting and not self._ended:
            self._resting = False
            self._timer.cancel()
            self._timer = self._loop.call_later(self._tick_us / 1e6, self._tick)

    def _enqueue(self, message: OutT, *, more: bool = False) -> None:
        if self._ended or self._closing:
            return
        if len(self._outbox) or not self._connection.writable:
            self.statistics.dropped_outgoing_audio += self._outbox.put(message)
        else:
            self._transmit(message, more=more)

    async def _wait_for_room(self) -> None:
        while self._outbox.control_length >= self._limits.outgoing_control and not self._ended:
            self._outbox_shrank.clear()
            await self._outbox_shrank.wait()

    @property
    def _inbox_full(self) -> bool:
        return self._inbox.control_length >= self._limits.incoming_control

    # ------------------------------------------------------------------ ChannelOwner

    def on_alive(self) -> None:
        """See ``ChannelOwner``."""
        self.last_heard_us = self._clock_us()

    def on_message(self, data: bytes) -> None:
        """See ``ChannelOwner``."""
        self.statistics.received_messages += 1
        try:
            step = self._codec.receive(data, self.last_heard_us)
        except LinkProtocolError as error:
            self._refuse(error)
            return
        self._malformed_in_a_row = 0
        self._follow(step)
        if self._inbox_full and not self._closing:
            self._connection.pause_reading()

    def on_writable(self) -> None:
        """See ``ChannelOwner``."""
        self._pump()

    def on_closed(self) -> None:
        """See ``ChannelOwner``."""
        if not self._closing:
            self._deliver(self._codec.closed(clean=self._connection.closed_cleanly).to_owner)
        self._end()

    # ------------------------------------------------------------------ in between

    def _pump(self) -> None:
        while len(self._outbox) and self._connection.writable:
            self._transmit(self._outbox.get())
            self._outbox_shrank.set()
        if self._closing and not len(self._outbox):
            self._connection.close(*self._close_as)

    def _transmit(self, message: OutT, *, more: bool = False) -> None:
        try:
            step = self._codec.send(message, self._clock_us())
        except LinkProtocolError as error:
            self.statistics.unsendable_messages += 1
            structlog.get_logger().warning(
                "link_message_unsendable", peer=self.peer, dialect=self.dialect, error=str(error)
            )
        else:
            self._follow(step, more=more)

    def _follow(self, step: Step[InT], *, more: bool = False) -> None:
        for wire in step.to_peer:
            self._connection.send(wire.data, text=wire.text, more=more)
            self.statistics.sent_messages += 1
        if step.to_peer:
            self._last_sent_us = self._clock_us()
        if step.to_owner:
            self._deliver(step.to_owner)
        if step.close and not self._closing:
            self._closing = True
            self._close_as = (step.close_code, "")
            self._pump()

    def _deliver(self, messages: tuple[InT, ...]) -> None:
        came = False
        for message in messages:
            if isinstance(message, Heartbeat):
                self.peer_load = message.load
            else:
                self.statistics.dropped_incoming_audio += self._inbox.put(message)
                came = True
        if came:
            self._tell_owner()

    def _tell_owner(self) -> None:
        self._incoming.set()
        if self.on_incoming is not None:
            self.on_incoming()

    def _refuse(self, error: LinkProtocolError) -> None:
        self.statistics.malformed_messages += 1
        self._malformed_in_a_row += 1
        if self.statistics.malformed_messages <= MAX_MALFORMED_LOGGED:
            structlog.get_logger().warning(
                "link_message_refused", peer=self.peer, dialect=self.dialect, error=str(error)
            )
        if self._malformed_in_a_row >= MAX_MALFORMED_IN_A_ROW:
            self._connection.close(1002, "too many malformed messages")

    def _tick(self) -> None:
        """Say that this end lives, and cut off a peer that does not."""
        now_us = self._clock_us()
        if now_us - self.last_heard_us >= DEAD_US:
            self._connection.abort()
            return
        due_us = self._last_sent_us + self._tick_us
        if now_us >= due_us:
            if not self._codec.heartbeats:
                self._connection.ping()
                self._last_sent_us = now_us
            elif not len(self._outbox):
                load = 0.0 if self._load is None else self._load()
                self._enqueue(Heartbeat(monotonic_us=now_us, load=load))  # type: ignore[arg-type] # of both ends
            due_us = now_us + self._tick_us
        self._timer = self._loop.call_later(max(due_us - now_us, 1000) / 1e6, self._tick)

    def _end(self) -> None:
        self._ended = True
        self._timer.cancel()
        self._tell_owner()
        self._outbox_shrank.set()
