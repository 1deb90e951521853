"""One WebSocket connection (RFC 6455) on an asyncio transport, either end.

    data_received ─┬─ whole messages (websocket_frames) ────┬─► the owner, in the same turn of the loop
                   └─ handshake, control frames, fragments, │
                      errors ─► websockets' sans-IO protocol ─┘
    send ─► websocket_frames ─► transport, at once

The asyncio layer of ``websockets`` would do the same with two tasks and several wake-ups per message,
its sans-IO layer with a generator per field; with 50 frames a second each way and call that is most of
the link's processor time.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Final, Protocol, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from voicebot.link.websocket_frames import FrameWriter, split

MAX_MESSAGE_BYTES: Final = 1_048_576
WRITE_BUFFER_BYTES: Final = 32_768
CLOSE_TIMEOUT_S: Final = 1.0
HANDSHAKE_TIMEOUT_S: Final = 5.0
_HEADERS_END: Final = b"\r\n\r\n"
CLEAN_CLOSE_CODES: Final = (1000, 1001, 1005)  # 1005: a close frame without a code
PRODUCT: Final = "voicebot"

Admission = Callable[[Request], str | None]
ChooseSubprotocol = Callable[[str, Sequence[str]], str | None]


class ChannelOwner(Protocol):
    """Who is on the other side of a channel."""

    def on_alive(self) -> None:
        """The peer has sent something, be it half a message."""

    def on_message(self, data: bytes) -> None:
        """A whole message, text or binary."""

    def on_writable(self) -> None:
        """The transport takes more."""

    def on_closed(self) -> None:
        """The connection is gone."""


class WebSocketChannel(asyncio.Protocol):
    """One connection. Methods but ``closed`` return at once.

    Args:
        protocol: The sans-IO end.
        admit: At the server's end: why the request is refused with 503, or None.
        on_open: At the server's end: called when the handshake is done.

    Attributes:
        path: What the client asked for (server's end).
        opened: Done when the handshake is done, or fails with its reason.
    """

    def __init__(
        self,
        protocol: ClientProtocol | ServerProtocol,
        *,
        admit: Admission | None = None,
        on_open: "Callable[[WebSocketChannel], None] | None" = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._protocol = protocol
        self._admit = admit
        self._on_open = on_open
        self._owner: ChannelOwner | None = None
        self._early: list[bytes] = []
        is_client = isinstance(protocol, ClientProtocol)
        self._hears_masked = not is_client
        self._writer = FrameWriter(masks=is_client)
        self._waiting: list[bytes] = []
        self._rest = b""
        self._last_bytes = b""
        self._parts: list[bytes] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = loop.create_future()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.path = "/"
        self._refused = False
        self.writable = True
        self.reading = True

    # ------------------------------------------------------------------ what the owner does

    @property
    def transport(self) -> asyncio.Transport:
        """The TCP or TLS transport."""
        assert self._transport is not None
        return self._transport

    @property
    def peer(self) -> str:
        """``address:port`` of the other end."""
        address = self.transport.get_extra_info("peername")
        return f"{address[0]}:{address[1]}" if address else "?"

    @property
    def subprotocol(self) -> str | None:
        """What was agreed in the handshake."""
        return self._protocol.subprotocol

    @property
    def close_code(self) -> int | None:
        """None while open; 1006 when the connection was lost."""
        return self._protocol.close_code

    @property
    def closed_cleanly(self) -> bool:
        """Whether the peer has said goodbye."""
        received = self._protocol.close_rcvd
        return received is not None and received.code in CLEAN_CLOSE_CODES

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return self._gone.done()

    def attach(self, owner: ChannelOwner) -> None:
        """Deliver to ``owner`` from now on, beginning with what has come already."""
        self._owner = owner
        early, self._early = self._early, []
        for message in early:
            owner.on_message(message)
        if self.is_closed:
            owner.on_closed()

    def send(self, data: bytes, *, text: bool, more: bool = False) -> None:
        """Send one message; thrown away once the connection is closing.

        Args:
            data: The message.
            text: Whether it is text.
            more: The next message follows at once: it can wait for that one.
        """
        if self._protocol.state is not State.OPEN:
            return
        self._waiting.append(self._writer.write(data, text=text))
        if not more:
            self._flush()

    def ping(self) -> None:
        """Make the peer show that it is alive."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def pause_reading(self) -> None:
        """Let the peer wait."""
        if self.reading and not self.transport.is_closing():
            self.reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if not self.reading and not self.transport.is_closing():
            self.reading = True
            self.transport.resume_reading()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye; a peer that does not answer in time is cut off."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        self._set_deadline(CLOSE_TIMEOUT_S)

    def refuse(self) -> None:
        """Cut the connection as soon as it is made."""
        self._refused = True

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._gone)

    # ------------------------------------------------------------------ what the transport does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family in (socket.AF_INET, socket.AF_INET6):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # each 20 ms frame at once
        if self._refused:
            self._transport.abort()
            return
        self._set_deadline(HANDSHAKE_TIMEOUT_S)
        if isinstance(self._protocol, ClientProtocol):
            request = self._protocol.connect()
            request.headers["User-Agent"] = PRODUCT
            self._protocol.send_request(request)
            self._flush()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._owner is not None:
            self._owner.on_alive()
        if self._protocol.state is State.CONNECTING:
            data = self._handshake(data)
        if self._rest:
            data, self._rest = self._rest + data, b""
        while data and self._protocol.state is State.OPEN:
            chunk = split(data, masked=self._hears_masked, most_bytes=MAX_MESSAGE_BYTES)
            if self._parts and chunk.messages:
                break  # in the middle of a fragmented message: the protocol says what that means
            for message in chunk.messages:
                self._deliver(message)
            if not chunk.other:
                self._rest = chunk.rest
                return
            self._protocol.receive_data(chunk.other)
            self._handle_events()
            data = chunk.rest
        if data:
            self._protocol.receive_data(data)
            self._handle_events()

    def eof_received(self) -> None:
        """See ``asyncio.Protocol``."""
        self._protocol.receive_eof()
        self._handle_events()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._protocol.receive_eof()
        self._handle_events()
        if self._deadline is not None:
            self._deadline.cancel()
        if not self.opened.done():
            self.opened.set_exception(
                self._protocol.handshake_exc or exc or ConnectionResetError("closed in the handshake")
            )
            self.opened.exception()  # at the server's end nobody waits for it
        if not self._gone.done():
            self._gone.set_result(None)
        if self._owner is not None:
            self._owner.on_closed()

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.writable = False

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.writable = True
        if self._owner is not None:
            self._owner.on_writable()

    # ------------------------------------------------------------------ in between

    def _handshake(self, data: bytes) -> bytes:
        """Take request or response; returns what comes after it."""
        known = len(self._last_bytes)
        found = (self._last_bytes + data).find(_HEADERS_END)
        end = len(data) if found < 0 else found + len(_HEADERS_END) - known
        self._last_bytes = (self._last_bytes + data)[1 - len(_HEADERS_END) :]
        self._protocol.receive_data(data[:end])
        self._handle_events()
        return data[end:]

    def _deliver(self, message: bytes) -> None:
        if self._owner is None:
            self._early.append(message)
        else:
            self._owner.on_message(message)

    def _handle_events(self) -> None:
        for event in self._protocol.events_received():
            match event:
                case Frame():
                    self._take(event)
                case Request():
                    self._answer(event)
                case Response():
                    self._open(self._protocol.handshake_exc)
        self._flush()
        if self._protocol.close_expected():
            self._set_deadline(CLOSE_TIMEOUT_S)

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        data = frame.data if isinstance(frame.data, bytes) else bytes(frame.data)
        if not frame.fin or self._parts:
            self._parts.append(data)
            if not frame.fin:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        self._deliver(data)

    def _answer(self, request: Request) -> None:
        assert isinstance(self._protocol, ServerProtocol)
        self.path = request.path
        refusal = self._admit(request) if self._admit else None
        if refusal is not None:
            response = self._protocol.reject(HTTPStatus.SERVICE_UNAVAILABLE, refusal + "\n")
        else:
            response = self._protocol.accept(request)
        response.headers["Server"] = PRODUCT
        self._protocol.send_response(response)
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._open(None)

    def _open(self, failure: Exception | None) -> None:
        if self.opened.done():
            return
        if failure is not None:
            self.opened.set_exception(failure)
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.opened.set_result(None)
        if self._on_open is not None:
            self._on_open(self)

    def _flush(self) -> None:
        written, self._waiting = self._waiting, []
        waiting = self._protocol.data_to_send()
        if self.transport.is_closing():
            return  # nobody reads it any more
        if written:
            self.transport.write(written[0] if len(written) == 1 else b"".join(written))
        for is_data, pieces in groupby(waiting, bool):
            if is_data:
                self.transport.write(b"".join(pieces))
            elif self.transport.can_write_eof():
                self.transport.write_eof()
            else:
                self.transport.close()

    def _set_deadline(self, after_s: float) -> None:
        if self._deadline is None and not self.is_closed:
            self._deadline = self._loop.call_later(after_s, self.abort)


async def open_channel(url: str, subprotocols: Sequence[str] = ()) -> WebSocketChannel:
    """Connect to a server; no proxy, no redirects, no compression.

    Args:
        url: ``ws://`` or ``wss://``.
        subprotocols: What to offer.

    Raises:
        OSError: No connection.
        InvalidURI: The URL is none.
        InvalidHandshake: The server refused, or is no WebSocket server.
    """
    uri = parse_uri(url)
    protocol = ClientProtocol(
        uri,
        subprotocols=[Subprotocol(s) for s in subprotocols] or None,
        max_size=MAX_MESSAGE_BYTES,
    )
    _, channel = await asyncio.get_running_loop().create_connection(
        lambda: WebSocketChannel(protocol),
        uri.host,
        uri.port,
        ssl=ssl.create_default_context() if uri.secure else None,
    )
    try:
        await channel.opened
    except InvalidHandshake:
        channel.abort()
        await channel.closed()
        raise
    except BaseException:
        channel.abort()
        raise
    return channel


def server_channel(
    admit: Admission,
    choose_subprotocol: ChooseSubprotocol,
    on_open: Callable[[WebSocketChannel], None],
) -> WebSocketChannel:
    """The server's end of a connection that was just accepted.

    A request with an ``Origin`` is refused with 403: a web page of some browser on this machine has no
    business here.

    Args:
        admit: Why a request is refused with 503, or None.
        choose_subprotocol: Gets path and offered subprotocols.
        on_open: Called when the handshake is done.
    """

    def choose(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        chosen = choose_subprotocol(channel.path, offered)
        return None if chosen is None else Subprotocol(chosen)

    protocol = ServerProtocol(origins=[None], select_subprotocol=choose, max_size=MAX_MESSAGE_BYTES)
    channel = WebSocketChannel(protocol, admit=admit, on_open=on_open)
    return channel
