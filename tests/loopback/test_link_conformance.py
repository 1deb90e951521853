"""Conformance of both ends of the link, seen from the wire with a plain WebSocket library.

Worker's end: a raw edge calls the worker under test. By default that is our ``LinkServer`` with a small
worker behind it, then the program ``voicebot worker``; ``VOICEBOT_CONFORMANCE_URL`` names any other one
(its port serves both dialects, or set ``VOICEBOT_CONFORMANCE_DIALECTS=voicebot.v1``). Edge's end: our
``LinkClient`` calls a raw bot.
"""

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.client import LinkClient
from voicebot.link.messages import (
    Answer,
    Clear,
    Dtmf,
    EndUtterance,
    Hangup,
    Played,
    Result,
    Start,
    Stop,
)
from voicebot.link.server import LinkServer

pytestmark = pytest.mark.loopback

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "link-protocol.schema.json").read_text())
DIALECTS = os.environ.get("VOICEBOT_CONFORMANCE_DIALECTS", "voicebot.v1,media-streams").split(",")
GIVEN_URL = os.environ.get("VOICEBOT_CONFORMANCE_URL", "")
LIMIT_S = 10.0
SID = "MZ" + "0" * 32


async def small_worker(link):
    """Answers, says one second, interrupts itself at each key, hangs up at ``#``."""
    generation = 0
    while (message := await link.receive()) is not None:
        match message:
            case Start():
                await link.send(Answer(request="r1"))
                await link.send(BotAudio(0, "u0", b"\x80" * 8000))
                await link.send(EndUtterance(utterance="u0"))
            case Stop():
                return
            case Dtmf(digit="#"):
                await link.send(Hangup(request="r2", drain=False))
            case Dtmf():
                generation += 1
                await link.send(Clear(generation=generation))
                await link.send(BotAudio(generation, f"u{generation}", b"\x70" * 8000))
                await link.send(EndUtterance(utterance=f"u{generation}"))


@pytest.fixture(scope="session")
def program_url(tmp_path_factory):
    """The worker program as it is shipped, with engines that need no model."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {
        "VOICEBOT_LINK__PORT": str(port),
        "VOICEBOT_DATA_DIR": str(tmp_path_factory.mktemp("worker")),
        "VOICEBOT_ASR__ENGINE": "fake",
        "VOICEBOT_TTS__ENGINE": "tone",
    }
    log = tmp_path_factory.mktemp("log") / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", "from voicebot.cli import main; main()", "worker"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.1)
        yield f"ws://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture(params=["given"] if GIVEN_URL else ["small worker", "voicebot worker"])
async def url(request):
    """The worker under test."""
    match request.param:
        case "given":
            yield GIVEN_URL.rstrip("/")
        case "voicebot worker":
            yield request.getfixturevalue("program_url")
        case _:
            async with LinkServer("127.0.0.1", 0, small_worker) as server:
                yield f"ws://127.0.0.1:{server.port}"


class RawV1Edge:
    """An edge of dialect voicebot.v1, written from the document alone."""

    def __init__(self, raw):
        self.raw = raw
        self.frame = 0
        self.generation = 0
        self.requests = set()
        self.control = []
        self.audio = []
        self.longest_silence_s = 0.0

    @staticmethod
    def connect(url):
        return connect(f"{url}/", subprotocols=["voicebot.v1"], compression=None, proxy=None)

    async def start(self):
        await self.say(
            {
                "type": "start",
                "call_id": "c0123456789ab",
                "session_id": "s0123456789abcdef",
                "caller": "100",
                "called": "200",
                "a_field_of_tomorrow": [1, {"x": None}],
            }
        )

    async def say(self, message):
        await self.raw.send(json.dumps(message))

    async def hear(self, payload=b"\xff" * 160):
        header = struct.pack(
            "!BBIQQQQ", 1, 0, self.generation, self.frame, self.frame * 160, 0, self.frame * 160
        )
        self.frame += 1
        await self.raw.send(header + payload)

    async def key(self, digit):
        await self.say({"type": "dtmf", "digit": digit})

    async def nonsense(self):
        for bad in (
            b"",
            b"\x01short",
            b"\x07" * 100,
            "{",
            '{"type":"a_type_of_tomorrow"}',
            '{"type":"dtmf"}',
            '{"type":"dtmf","digit":"\\ud800"}',
        ):
            await self.raw.send(bad)

    async def stop(self):
        await self.say({"type": "stop", "reason": "bye", "ended_by": "caller"})

    async def take(self):
        """The next message, checked against schema and document; answers like an edge does."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        data = await asyncio.wait_for(self.raw.recv(), LIMIT_S)
        self.longest_silence_s = max(self.longest_silence_s, loop.time() - began)
        if isinstance(data, bytes):
            kind, flags, generation, length = struct.unpack_from("!BBIB", data)
            name = data[7 : 7 + length].decode("ascii")
            assert (kind, flags) == (2, 0)
            assert 1 <= length <= 32
            assert len(name) == length
            assert len(data) - 7 - length <= 80_000
            assert generation <= self.generation or not self.control
            if generation == self.generation:
                self.audio.append((name, data[7 + length :]))
            return {"type": "audio"}
        message = json.loads(data)
        jsonschema.validate(message, {**SCHEMA, "anyOf": [{"$ref": "#/$defs/WorkerMessage"}]})
        self.control.append(message)
        if "request" in message:
            assert message["request"] not in self.requests
            self.requests.add(message["request"])
            await self.say({"type": "result", "request": message["request"], "ok": True, "code": 200})
        match message["type"]:
            case "clear":
                assert message["generation"] > self.generation
                self.generation = message["generation"]
                await self.say({"type": "cleared", "generation": self.generation})
            case "end_utterance":
                played = {"type": "played", "utterance": message["utterance"], "played_ms": 1000}
                await self.say({**played, "finished": True})
        return message

    async def first_reaction(self):
        """Until the worker has answered, rejected or hung up the call."""
        while (await self.take())["type"] not in ("answer", "reject", "hangup"):
            pass


class RawMediaStreamsCarrier:
    """A carrier of dialect media-streams."""

    def __init__(self, raw):
        self.raw = raw
        self.number = 0
        self.chunk = 0
        self.audio = []
        self.control = []

    @staticmethod
    def connect(url):
        return connect(f"{url}/media-streams", compression=None, proxy=None)

    async def start(self):
        await self.raw.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await self.say(
            event="start",
            start={
                "accountSid": "AC0",
                "callSid": "CA0",
                "streamSid": SID,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": {"caller": "100"},
                "aFieldOfTomorrow": 1,
            },
        )

    async def say(self, **message):
        self.number += 1
        await self.raw.send(
            json.dumps({**message, "sequenceNumber": str(self.number), "streamSid": SID})
        )

    async def hear(self, payload=b"\xff" * 160):
        self.chunk += 1
        await self.say(
            event="media",
            media={
                "track": "inbound",
                "chunk": str(self.chunk),
                "timestamp": str(self.chunk * 20),
                "payload": base64.b64encode(payload).decode(),
            },
        )

    async def key(self, digit):
        await self.say(event="dtmf", dtmf={"track": "inbound_track", "digit": digit})

    async def nonsense(self):
        for bad in (b"", b"\x01short", "{", '{"event":"tomorrow"}', '{"event":"media"}', "[]"):
            await self.raw.send(bad)

    async def stop(self):
        await self.say(event="stop", stop={"accountSid": "AC0", "callSid": "CA0"})

    async def take(self):
        """The next message, checked; marks come back at once."""
        data = await asyncio.wait_for(self.raw.recv(), LIMIT_S)
        assert isinstance(data, str)
        message = json.loads(data)
        assert message["streamSid"] == SID
        assert message["event"] in ("media", "mark", "clear")
        if message["event"] == "media":
            self.audio.append(("", base64.b64decode(message["media"]["payload"], validate=True)))
            return {"type": "audio"}
        self.control.append(message)
        if message["event"] == "mark":
            await self.say(event="mark", mark=message["mark"])
        return message

    async def first_reaction(self):
        """Until the worker has said something."""
        while not self.audio:
            await self.take()


PEERS = {"voicebot.v1": RawV1Edge, "media-streams": RawMediaStreamsCarrier}


@contextlib.asynccontextmanager
async def calling(dialect, url):
    async with PEERS[dialect].connect(url) as raw:
        yield PEERS[dialect](raw)


async def until_closed(edge):
    """Read to the end; returns the close code."""
    async with asyncio.timeout(LIMIT_S):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await edge.take()
    return edge.raw.close_code


async def let_go(edge):
    """Stop and close, as an edge does; the worker may close first, both ends say goodbye."""

    async def drain():
        with contextlib.suppress(ConnectionClosed):
            while True:
                await edge.raw.recv()

    with contextlib.suppress(ConnectionClosed):
        await edge.stop()
    await asyncio.gather(drain(), edge.raw.close())
    assert edge.raw.close_code in (1000, 1001)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_worker_takes_a_call_and_lets_it_go(dialect, url):
    """Start is reacted to with well-formed messages only, Stop ends the link cleanly."""
    async with calling(dialect, url) as edge:
        await edge.start()
        await edge.first_reaction()
        for _ in range(25):
            await edge.hear()
        await let_go(edge)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_worker_survives_nonsense_in_mid_call(dialect, url):
    """Malformed and unknown messages do not end the call: a key afterwards is still reacted to."""
    async with calling(dialect, url) as edge:
        await edge.start()
        await edge.first_reaction()
        await edge.nonsense()
        for _ in range(5):
            await edge.hear()
        await edge.key("1")
        heard = len(edge.audio) + len(edge.control)
        while len(edge.audio) + len(edge.control) == heard:
            await edge.take()
        await let_go(edge)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_worker_lives_on_when_an_edge_vanishes(dialect, url):
    """A link that breaks in mid-call disturbs no other."""
    async with calling(dialect, url) as lost:
        await lost.start()
        await lost.first_reaction()
        lost.raw.transport.abort()
    async with calling(dialect, url) as edge:
        await edge.start()
        await edge.first_reaction()
        await let_go(edge)


@pytest.mark.skipif("voicebot.v1" not in DIALECTS, reason="the worker under test does not speak it")
class TestVoicebotV1Worker:
    async def test_the_subprotocol_is_agreed(self, url):
        """The worker confirms voicebot.v1 and nothing else."""
        async with connect(f"{url}/", subprotocols=["x", "voicebot.v1"], proxy=None) as raw:
            assert raw.subprotocol == "voicebot.v1"

    async def test_an_idle_link_has_a_heartbeat(self, url):
        """Also before Start, a worker is never silent for 350 ms (1 s here: a loaded machine)."""
        async with calling("voicebot.v1", url) as edge:
            for _ in range(4):
                assert (await edge.take())["type"] == "heartbeat"
            assert edge.longest_silence_s < 1.0

    async def test_a_takeover_goes_on_with_the_generation(self, url):
        """Start with resume for an unknown session is served or refused, never ignored."""
        async with calling("voicebot.v1", url) as edge:
            edge.generation = 3
            await edge.say(
                {
                    "type": "start",
                    "call_id": "c0123456789ac",
                    "session_id": "s0123456789abcdee",
                    "answered": True,
                    "resume": {"session_id": "s0123456789abcdee", "generation": 3, "lease": 1},
                }
            )
            while not edge.audio and not any(c["type"] != "heartbeat" for c in edge.control):
                await edge.take()
            await let_go(edge)

    async def test_a_link_without_dialect_is_ended(self, url):
        """No subprotocol, no path and no connected: the worker closes."""
        async with connect(f"{url}/", proxy=None) as raw:
            await raw.send('{"type":"start","call_id":"c","session_id":"s"}')
            with contextlib.suppress(ConnectionClosed):
                await asyncio.wait_for(raw.recv(), LIMIT_S)
            assert raw.close_code == 1002


@pytest.mark.skipif("media-streams" not in DIALECTS, reason="the worker under test does not speak it")
async def test_connected_selects_media_streams_without_a_path(url):
    """A carrier that calls / is recognised by its first message."""
    async with connect(f"{url}/", proxy=None) as raw:
        carrier = RawMediaStreamsCarrier(raw)
        await carrier.start()
        await carrier.first_reaction()
        await let_go(carrier)


@pytest.mark.skipif(bool(GIVEN_URL), reason="knows what our small worker does")
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("url", ["small worker"], indirect=True)
async def test_our_worker_clears_and_hangs_up(dialect, url):
    """A key interrupts (clear, then other audio), ``#`` ends the call."""
    async with calling(dialect, url) as edge:
        await edge.start()
        await edge.first_reaction()
        await edge.key("1")
        while not any(p.startswith(b"\x70") for _, p in edge.audio):
            await edge.take()
        assert any("clear" in (c.get("type"), c.get("event")) for c in edge.control)
        await edge.key("#")
        if dialect == "voicebot.v1":
            while edge.control[-1]["type"] != "hangup":
                await edge.take()
            await let_go(edge)


# ---------------------------------------------------------------- the edge's end


class RawBot:
    """Collects what the edge says and plays a fixed part."""

    def __init__(self, subprotocol):
        self.subprotocol = subprotocol
        self.messages = []
        self.raw = None
        self.connected = asyncio.Event()
        self.changed = asyncio.Event()

    async def __call__(self, raw):
        self.raw = raw
        self.connected.set()
        with contextlib.suppress(ConnectionClosed):
            async for data in raw:
                self.messages.append(data)
                self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    @contextlib.asynccontextmanager
    async def serve(self):
        subprotocols = [self.subprotocol] if self.subprotocol else None
        async with serve(self, "127.0.0.1", 0, subprotocols=subprotocols) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


START = Start(call_id="c0123456789ab", session_id="s1", caller="100")


def frame(number):
    return CallerAudio(number, number * 160, number * 20_000, number * 160, bytes([number]) * 160)


async def test_our_edge_speaks_v1_as_documented():
    """Start first, valid JSON, binary frames with the documented header, heartbeats while idle, Stop."""
    bot = RawBot("voicebot.v1")
    async with bot.serve() as url:
        link = await LinkClient([url], heartbeat_ms=20).connect()
        link.send(START)
        for number in range(3):
            link.send(frame(number))
        await bot.until(lambda: any('"heartbeat"' in str(m) for m in bot.messages[4:]))
        await bot.raw.send(struct.pack("!BBIB", 2, 0, 0, 2) + b"u1" + b"\x11" * 480)
        await bot.raw.send('{"type":"end_utterance","utterance":"u1","tomorrow":1}')
        await bot.raw.send('{"type":"tomorrow"}')
        await bot.raw.send(b"\x01wrong direction")
        await bot.raw.send('{"type":"clear","generation":1}')
        heard = [await link.receive() for _ in range(3)]
        link.send(Stop(reason="bye", ended_by="caller"))
        await link.close()
        assert link.statistics.malformed_messages == 2
    assert heard == [
        BotAudio(0, "u1", b"\x11" * 480),
        EndUtterance(utterance="u1"),
        Clear(generation=1),
    ]
    control = [json.loads(x) for x in bot.messages if isinstance(x, str)]
    for message in control:
        jsonschema.validate(message, {**SCHEMA, "anyOf": [{"$ref": "#/$defs/EdgeMessage"}]})
    assert control[0]["type"] == "start"
    assert control[-1] == {"type": "stop", "reason": "bye"}
    audio = [x for x in bot.messages if isinstance(x, bytes)]
    assert [struct.unpack_from("!BBIQQQQ", x) for x in audio] == [
        (1, 0, 0, n, n * 160, n * 20_000, n * 160) for n in range(3)
    ]
    assert [x[38:] for x in audio] == [bytes([n]) * 160 for n in range(3)]


async def test_our_edge_serves_a_media_streams_bot():
    """A bot gets connected, start, media; its burst, mark, clear and close become our messages."""
    bot = RawBot(None)
    async with bot.serve() as url:
        link = await LinkClient([url], "media-streams").connect()
        link.send(START)
        link.send(frame(0))
        answer = await link.receive()
        link.send(Result(request=answer.request, ok=True, code=200))
        await bot.until(lambda: len(bot.messages) >= 3)
        sid = json.loads(bot.messages[1])["streamSid"]
        burst = base64.b64encode(b"\x22" * 16_000).decode()
        await bot.raw.send(json.dumps({"event": "media", "streamSid": sid, "media": {"payload": burst}}))
        await bot.raw.send(json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": "m"}}))
        audio, end = await link.receive(), await link.receive()
        link.send(Played(utterance=end.utterance, played_ms=2000, finished=True))
        link.send(Dtmf(digit="7"))
        await bot.until(lambda: len(bot.messages) >= 5)
        await bot.raw.send(json.dumps({"event": "clear", "streamSid": sid}))
        clear = await link.receive()
        await bot.raw.close()
        hangup = await link.receive()
        assert await link.receive() is None
        await link.close()
    events = [json.loads(x) for x in bot.messages]
    assert [e["event"] for e in events] == ["connected", "start", "media", "mark", "dtmf"]
    assert events[3]["mark"] == {"name": "m"}
    assert all(e["streamSid"] == sid for e in events[1:])
    assert isinstance(answer, Answer)
    assert audio.payload == b"\x22" * 16_000
    assert (end.utterance, clear) == (audio.utterance, Clear(generation=1))
    assert isinstance(hangup, Hangup)


async def test_our_edge_refuses_a_server_that_does_not_speak_v1():
    """A web server that accepts any WebSocket is no worker."""
    from voicebot.core.errors import OverloadError

    bot = RawBot(None)
    async with bot.serve() as url:
        with pytest.raises(OverloadError, match=r"voicebot\.v1"):
            await LinkClient([url]).connect()
