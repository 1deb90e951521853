"""The WebSocket layer below the link: what RFC 6455 allows and what a hostile peer tries."""

import asyncio
import contextlib
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from voicebot.link import connection, websocket_channel
from voicebot.link.client import LinkClient
from voicebot.link.messages import Dtmf, Start
from voicebot.link.server import LinkServer

pytestmark = pytest.mark.loopback
LIMIT_S = 10.0
START = '{"type":"start","call_id":"c0123456789ab","session_id":"s1"}'


class Collector:
    """Keeps what arrives."""

    def __init__(self):
        self.received = []
        self.changed = asyncio.Event()
        self.links = []

    async def __call__(self, link):
        self.links.append(link)
        while (message := await link.receive()) is not None:
            self.received.append(message)
            self.changed.set()

    async def until(self, count):
        async with asyncio.timeout(LIMIT_S):
            while len(self.received) < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def worker():
    return Collector()


@pytest.fixture
async def server(worker):
    async with LinkServer("127.0.0.1", 0, worker, max_links=4) as running:
        yield running


def raw(server):
    return connect(
        f"ws://127.0.0.1:{server.port}/", subprotocols=["voicebot.v1"], compression=None, proxy=None
    )


async def read_to_the_end(peer):
    with contextlib.suppress(ConnectionClosed):
        async for _ in peer:
            pass
    return peer.close_code


async def bytes_of(server, *chunks):
    """Send raw bytes; returns all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
    async with asyncio.timeout(LIMIT_S):
        with contextlib.suppress(ConnectionResetError):
            data = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return data


async def test_a_fragmented_message_is_put_together(server, worker):
    """Fragments with a ping in between are one message."""
    async with raw(server) as peer:

        async def fragments():
            yield START[:10]
            await (await peer.ping())
            yield START[10:20]
            yield START[20:]

        await peer.send(fragments())
        await worker.until(1)
    assert isinstance(worker.received[0], Start)


async def test_a_ping_is_answered(server):
    """Peers may use the WebSocket's own keepalive."""
    async with raw(server) as peer:
        await asyncio.wait_for(await peer.ping(), LIMIT_S)


async def test_a_message_over_1_mib_closes_with_1009(server):
    """Memory is bounded before a message is complete."""
    async with raw(server) as peer:
        with contextlib.suppress(ConnectionClosed):
            await peer.send("x" * (websocket_channel.MAX_MESSAGE_BYTES + 1))
        assert await read_to_the_end(peer) == 1009


async def test_invalid_utf_8_is_a_malformed_message_only(server, worker):
    """A text message that is no UTF-8 is counted; the link goes on."""
    async with raw(server) as peer:
        await peer.send(START)
        await peer.send(b'{"type":"dtmf","digit":"\xff"}', text=True)
        await peer.send('{"type":"dtmf","digit":"1"}')
        await worker.until(2)
    assert worker.received[1] == Dtmf(digit="1")
    assert worker.links[0].statistics.malformed_messages == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    ],
    ids=["TLS", "no WebSocket", "POST", "long path", "many headers"],
)
async def test_what_is_no_handshake_is_refused(server, worker, monkeypatch, request_bytes):
    """Other protocols get an HTTP error or nothing, and the next call is served."""
    monkeypatch.setattr(websocket_channel, "HANDSHAKE_TIMEOUT_S", 0.5)
    answer = await bytes_of(server, request_bytes)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    async with raw(server) as peer:
        await peer.send(START)
        await worker.until(1)


async def test_a_handshake_that_never_ends_is_cut_off(server, monkeypatch):
    """A client that sends half a request keeps no connection."""
    monkeypatch.setattr(websocket_channel, "HANDSHAKE_TIMEOUT_S", 0.05)
    assert await bytes_of(server, b"GET / HTTP/1.1\r\nHost: x\r\n") == b""


async def test_half_open_handshakes_are_bounded(server):
    """Beyond the limit of links, further connections that ask for nothing are cut at once."""
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(4)]
    assert await bytes_of(server) == b""
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()


async def test_a_peer_that_does_not_say_goodbye_is_cut_off(server, worker):
    """Closing towards a peer that reads nothing takes the flush limit, not for ever."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + key
        + b"Sec-WebSocket-Protocol: voicebot.v1\r\n\r\n"
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    (link,) = server.links
    began = time.monotonic()
    await link.close(flush_s=0.1)
    assert time.monotonic() - began < 5
    assert link.closed
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_an_unmasked_frame_of_a_client_closes_with_1002(server):
    """RFC 6455 5.1: a server must not accept it."""
    async with raw(server) as peer:
        peer.transport.write(b"\x81\x02{}")
        assert await read_to_the_end(peer) == 1002


async def test_a_silent_peer_is_given_up_in_the_end(server, monkeypatch):
    """Whatever the owner does: a peer that has been silent for long is cut off."""
    monkeypatch.setattr(connection, "DEAD_US", 50_000)
    async with raw(server) as peer:  # sends no heartbeats
        assert await read_to_the_end(peer) == 1006


async def test_media_streams_peers_are_kept_alive_by_pings(monkeypatch, worker):
    """A dialect without heartbeats uses the WebSocket's ping: an idle bot is not taken for dead."""
    monkeypatch.setattr(connection, "PING_US", 10_000)
    async with LinkServer("127.0.0.1", 0, worker) as running:
        url = f"ws://127.0.0.1:{running.port}/media-streams"
        link = await LinkClient([url], "media-streams").connect()
        heard_us = link.last_heard_us
        async with asyncio.timeout(LIMIT_S):
            while link.last_heard_us < heard_us + 30_000:
                await asyncio.sleep(0.005)
        assert not link.closed
        await link.close()


async def test_a_worker_url_may_carry_credentials_and_a_path(worker):
    """What a hosted bot may ask for is passed on in the handshake."""
    seen = []

    async def on_connect(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    from voicebot.core.errors import OverloadError

    async with await asyncio.start_server(on_connect, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(OverloadError, match="403"):
            await LinkClient([f"ws://user:secret@127.0.0.1:{port}/bot?x=1"], "media-streams").connect()
    assert seen[0].startswith(b"GET /bot?x=1 HTTP/1.1\r\n")
    assert b"Authorization: Basic dXNlcjpzZWNyZXQ=" in seen[0]
