"""Client and server of dialect voicebot.v1 on real sockets."""

import asyncio
import contextlib
import socket
import struct

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.server import ServerProtocol

from voicebot.core.errors import OverloadError
from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.client import LinkClient
from voicebot.link.messages import Acknowledge, Answer, Dtmf, Start, Stop
from voicebot.link.queues import QueueLimits
from voicebot.link.server import LinkServer

pytestmark = pytest.mark.loopback

START = Start(call_id="c0123456789ab", session_id="s1", caller="100")


def frame(number):
    return CallerAudio(
        frame=number,
        rtp_timestamp=number * 160,
        edge_us=0,
        position_samples=number * 160,
        payload=bytes(160),
    )


async def until(condition):
    """Let the loop turn until something on the other side of a socket has happened."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def close_code(raw):
    """Read to the end of a raw WebSocket; returns the close code."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in raw:
            pass
    return raw.close_code


class Worker:
    """Keeps what each link received, echoes audio, answers."""

    def __init__(self):
        self.received = []
        self.ended = asyncio.Event()

    async def __call__(self, link):
        await link.send(Answer(request="r1"))
        while (message := await link.receive()) is not None:
            self.received.append(message)
            if isinstance(message, CallerAudio):
                await link.send(
                    BotAudio(generation=0, utterance=f"u{message.frame}", payload=message.payload)
                )
        self.ended.set()


async def serving(worker, **options):
    server = LinkServer("127.0.0.1", 0, worker, **options)
    await server.start()
    return server, f"ws://127.0.0.1:{server.port}/"


async def test_a_call_goes_through_in_order():
    """Start, audio and Stop arrive in order, the answer and echoed audio come back in order."""
    worker = Worker()
    server, url = await serving(worker)
    async with server:
        link = await LinkClient([url]).connect()
        link.send(START)
        for number in range(50):
            link.send(frame(number))
        link.send(Stop(reason="bye"))
        back = [await link.receive() for _ in range(51)]
        await link.close()
        await worker.ended.wait()
    assert back[0] == Answer(request="r1")
    assert [m.utterance for m in back[1:]] == [f"u{n}" for n in range(50)]
    assert worker.received == [START, *(frame(n) for n in range(50)), Stop(reason="bye")]


async def test_the_end_is_none_at_both_ends():
    """After the last message receive gives None, again and again."""
    worker = Worker()
    server, url = await serving(worker)
    async with server:
        link = await LinkClient([url]).connect()
        link.send(START)
        link.send(Stop(reason="bye"))
        await link.close()
        await worker.ended.wait()
        assert worker.received[-1] == Stop(reason="bye")
        while (await link.receive()) is not None:
            pass
        assert await link.receive() is None
        assert link.closed
        link.send(Dtmf(digit="1"))  # thrown away, no error


async def test_a_malformed_message_is_counted_and_the_link_lives():
    """Nonsense in between does not end the call."""
    worker = Worker()
    links = []

    async def on_link(link):
        links.append(link)
        await worker(link)

    server, url = await serving(on_link)
    async with server, connect(url, subprotocols=["voicebot.v1"], proxy=None) as raw:
        await raw.send('{"type":"start","call_id":"c1","session_id":"s1"}')
        for bad in ("{", b"\x09", b"", '{"type":"?"}'):
            await raw.send(bad)
        await raw.send('{"type":"stop","reason":"bye"}')
        while not links or len(worker.received) < 2:
            await asyncio.wait_for(raw.recv(), 5)
        assert links[0].statistics.malformed_messages == 4
        assert [type(m) for m in worker.received] == [Start, Stop]


async def test_a_peer_that_sends_only_nonsense_is_cut_off():
    """One hundred malformed messages in a row close the link with 1002."""
    server, url = await serving(Worker())
    async with server, connect(url, subprotocols=["voicebot.v1"], proxy=None) as raw:
        for _ in range(100):
            await raw.send("nonsense")
        assert await close_code(raw) == 1002


async def test_what_is_no_start_is_refused():
    """A link that begins with anything else never reaches an owner."""
    worker = Worker()
    server, url = await serving(worker)
    async with server, connect(url, subprotocols=["voicebot.v1"], proxy=None) as raw:
        await raw.send('{"type":"dtmf","digit":"1"}')
        assert await close_code(raw) == 1002
    assert worker.received == []


async def test_a_silent_end_sends_heartbeats():
    """A spare hears from the worker, and rests itself until it is used; no message reaches the owners."""
    server, url = await serving(Worker(), heartbeat_ms=10)
    async with server:
        link = await LinkClient([url], heartbeat_ms=10).connect()
        await until(lambda: link.statistics.received_messages >= 3)
        assert link.statistics.sent_messages == 0
        link.send(START)
        await until(lambda: link.statistics.sent_messages >= 4)
        assert link.silent_us < 5_000_000
        await link.close()


async def test_a_dead_worker_is_passed_over():
    """The second worker gets the call when nobody listens at the first one."""
    server, url = await serving(Worker())
    async with server:
        link = await LinkClient(["ws://127.0.0.1:1/", url]).connect()
        assert link.url == url
        await link.close()


async def test_a_worker_that_hangs_in_the_handshake_costs_only_its_share():
    """A socket that accepts and says nothing does not eat the whole deadline."""
    silent = socket.create_server(("127.0.0.1", 0))
    mute = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
    server, url = await serving(Worker())
    with silent:
        async with server:
            link = await LinkClient([mute, url], connect_timeout_ms=4000).connect()
            assert link.url == url
            await link.close()
            link = await LinkClient([mute, url], connect_timeout_ms=60_000).connect(avoid=mute)
            assert link.url == url
            await link.close()


async def test_no_worker_at_all_is_overload():
    """The edge learns that nobody takes the call, with each URL named."""
    with pytest.raises(OverloadError, match=r"ws://127\.0\.0\.1:1/"):
        await LinkClient(["ws://127.0.0.1:1/"]).connect()
    with pytest.raises(OverloadError, match="no worker URL"):
        await LinkClient([]).connect()


async def test_a_full_or_draining_worker_refuses():
    """Links beyond the limit and links while draining get 503 and go elsewhere."""
    server, url = await serving(Worker(), max_links=1)
    async with server:
        first = await LinkClient([url]).connect()
        with pytest.raises(OverloadError, match="503"):
            await LinkClient([url]).connect()
        await first.close()
        await until(lambda: not server.links)
        server.draining = True
        with pytest.raises(OverloadError, match="503"):
            await LinkClient([url]).connect()


async def test_a_web_page_is_refused():
    """A browser sends an Origin: no page may open a link."""
    server, url = await serving(Worker())
    async with server:
        with pytest.raises(InvalidHandshake):
            await connect(url, subprotocols=["voicebot.v1"], origin="http://evil.example", proxy=None)


async def test_the_warm_spare_is_the_next_link():
    """``prepare`` opens a connection that ``connect`` hands out; one to a failed worker is not used."""
    server, url = await serving(Worker())
    async with server:
        client = LinkClient([url])
        assert await client.prepare()
        assert client.spare_ready
        link = await client.connect()
        assert not client.spare_ready
        link.send(START)
        assert await link.receive() == Answer(request="r1")
        await link.close()
        assert await client.prepare()
        await client.close()
        assert not client.spare_ready
    assert not await LinkClient(["ws://127.0.0.1:1/"]).prepare()


async def test_a_spare_to_the_failed_worker_is_not_used():
    """After a takeover the spare must not lead to the worker that just died."""
    one, first = await serving(Worker())
    two, second = await serving(Worker())
    async with one, two:
        client = LinkClient([first, second])
        await client.prepare()
        link = await client.connect(avoid=first)
        assert link.url == second
        await link.close()


async def test_the_least_busy_worker_gets_the_next_link():
    """Heartbeats of the warm connections tell the load; small differences keep the order of the URLs."""
    busy, idle = LinkLoad(0.62), LinkLoad(0.60)
    one, first = await serving(Worker(), heartbeat_ms=10, load=busy)
    two, second = await serving(Worker(), heartbeat_ms=10, load=idle)
    async with one, two:
        client = LinkClient([first, second], heartbeat_ms=1000)
        assert await client.prepare()
        for load, expected in ((0.62, first), (0.9, second)):
            busy.value = load
            await until(lambda load=load: client._spares[first].peer_load == load)
            await until(lambda: client._spares[second].peer_load == 0.60)
            link = await client.connect()
            assert link.url == expected
            await link.close()
            await client.prepare()
        await client.close()


class LinkLoad:
    def __init__(self, value):
        self.value = value

    def __call__(self):
        return self.value


async def test_audio_for_a_worker_that_does_not_read_is_bounded():
    """Once the line is full the oldest frames go and are counted; control behind them stays."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connecting = asyncio.create_task(
            LinkClient(
                [f"ws://127.0.0.1:{listener.getsockname()[1]}/"],
                limits=QueueLimits(outgoing_audio=100),
                connect_timeout_ms=20_000,
            ).connect()
        )
        peer, _ = await asyncio.to_thread(listener.accept)
        with peer:
            protocol = ServerProtocol(subprotocols=["voicebot.v1"])
            protocol.receive_data(await asyncio.to_thread(peer.recv, 65_536))
            protocol.send_response(protocol.accept(protocol.events_received()[0]))
            peer.sendall(b"".join(protocol.data_to_send()))
            link = await connecting
            link.send(START)
            sent = 0
            while not link.statistics.dropped_outgoing_audio:
                link.send(frame(sent))
                sent += 1
            link.send(Dtmf(digit="9"))
            for _ in range(50):
                link.send(frame(sent))
                sent += 1
            assert link.statistics.dropped_outgoing_audio == 51
            link.send(Stop(reason="bye"))
            closing = asyncio.create_task(link.close(flush_s=20))
            received = []
            while b'{"type":"stop","reason":"bye"}' not in received:
                protocol.receive_data(await asyncio.to_thread(peer.recv, 1_000_000))
                received += [bytes(event.data) for event in protocol.events_received()]
                await asyncio.sleep(0)
        await closing
    assert b'{"type":"dtmf","digit":"9"}' in received
    numbers = [struct.unpack_from("!BBIQ", x)[3] for x in received if x[:1] == b"\x01"]
    assert numbers == sorted(numbers)
    assert (len(numbers), numbers[-1]) == (sent - 51, sent - 1)


async def test_caller_audio_that_the_worker_does_not_take_is_bounded():
    """A worker that is busy finds the newest frames, and every control message."""
    release = asyncio.Event()
    taken = []
    links = []

    async def on_link(link):
        links.append(link)
        await release.wait()
        while (message := await link.receive()) is not None:
            taken.append(message)

    server, url = await serving(on_link, limits=QueueLimits(incoming_audio=10))
    async with server:
        link = await LinkClient([url]).connect()
        link.send(START)
        link.send(Dtmf(digit="9"))
        for number in range(100):
            link.send(frame(number))
        await until(lambda: links and links[0].statistics.received_messages >= 102)
        release.set()
        link.send(Stop(reason="bye"))
        await until(lambda: taken[-1:] == [Stop(reason="bye")])
        await link.close()
    assert taken == [START, Dtmf(digit="9"), *(frame(n) for n in range(90, 100)), Stop(reason="bye")]
    assert links[0].statistics.dropped_incoming_audio == 90


async def test_an_aborted_link_ends_the_other_side():
    """abort() is not a goodbye, but the worker learns that the edge is gone."""
    worker = Worker()
    server, url = await serving(worker)
    async with server:
        link = await LinkClient([url]).connect()
        link.send(START)
        await link.receive()
        await link.abort()
        await asyncio.wait_for(worker.ended.wait(), 5)
    assert worker.received == [START]


async def test_the_owner_s_failure_ends_one_link_only():
    """An exception of one call closes its link with 1011; the next call is served."""
    worker = Worker()
    calls = []

    async def on_link(link):
        calls.append(link)
        if len(calls) == 1:
            raise RuntimeError("planted")
        await worker(link)

    server, url = await serving(on_link)
    async with server:
        bad = await LinkClient([url]).connect()
        bad.send(START)
        assert await bad.receive() is None
        assert bad.close_code == 1011
        good = await LinkClient([url]).connect()
        good.send(START)
        assert await good.receive() == Answer(request="r1")
        await good.close()
        await bad.close()


async def test_control_of_the_worker_waits_for_room():
    """A worker's control messages all arrive although its queue holds only four."""

    async def on_link(link):
        for number in range(200):
            await link.send(Acknowledge(frame=number))

    server, url = await serving(on_link, limits=QueueLimits(outgoing_control=4))
    async with server:
        link = await LinkClient([url], limits=QueueLimits(incoming_control=4)).connect()
        link.send(START)
        got = []
        while (message := await link.receive()) is not None:
            got.append(message.frame)
        await link.close()
    assert got == list(range(200))
