"""One call through the real edge process: SIP, RTP and link on loopback."""

import asyncio

import pytest

from tests.loopback.edge_program import ScriptedWorker, common_edge
from tests.loopback.raw_sip_caller import Caller
from voicebot.link.binary_media import BotAudio, SentAudio
from voicebot.link.messages import Dtmf, EndUtterance, Hangup, Held, Played, Reject, Result, Stop

pytestmark = pytest.mark.loopback


@pytest.fixture
def edge():
    program = common_edge()
    yield program
    assert program.alive


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


async def test_media_flows_both_ways(edge, worker):
    """The worker hears exactly the caller's bytes and the caller exactly the bot's."""
    async with Caller(edge.server) as caller:
        response = await caller.call()
        assert response.code == 200
        assert response.get("X-Answered-By") == "test"
        call = await worker.call()
        spoken = [bytes([i]) * 160 for i in range(1, 31)]
        for payload in spoken:
            await caller.talk(1, payload)
        await call.send(BotAudio(generation=0, utterance="u1", payload=bytes(range(160)) * 5))
        await call.send(EndUtterance(utterance="u1"))
        await caller.wait(lambda: sum(p.payload == bytes(range(160)) for p in caller.rtp) == 5)
        await call.wait(lambda: [a.payload for a in call.audio] == spoken, what="all audio")
        assert [a.frame for a in call.audio] == list(range(30))
        played = await call.wait(lambda: [p for p in call.of(Played) if p.finished])
        assert (played[0].utterance, played[0].played_ms) == ("u1", 100)
        assert (await caller.hang_up()).code == 200
        stop = await call.wait_for(Stop)
        assert stop.ended_by == "caller"
        assert stop.stats.received_packets == 30
    seqs = [p.sequence_number for p in caller.rtp]
    stamps = [p.timestamp for p in caller.rtp]
    assert seqs == [(seqs[0] + i) & 0xFFFF for i in range(len(seqs))]
    assert stamps == [(stamps[0] + 160 * i) & 0xFFFFFFFF for i in range(len(stamps))]


async def test_the_worker_learns_what_was_sent_and_when(edge, worker):
    """The reference of the echo canceller: each frame of the bot once, at its place, while the caller speaks."""
    words = [bytes([i]) * 160 for i in range(1, 11)]
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await call.send(BotAudio(generation=0, utterance="u1", payload=b"".join(words)))
        for _ in range(30):
            await caller.talk(1, b"\x7e" * 160)

        def told():
            with_the_caller = [(a.position_samples, a.sent) for a in call.audio if a.sent]
            assert with_the_caller or not call.audio[15:]
            return with_the_caller + [(s.position_samples, s.payload) for s in call.of(SentAudio)]

        heard = sorted(await call.wait(lambda: told() if len(told()) == 10 else None))
    assert [payload for _, payload in heard] == words
    first = heard[0][0]
    assert [position for position, _ in heard] == [first + 160 * i for i in range(10)]


async def test_bot_hangs_up_after_its_last_word(edge, worker):
    """A draining hang-up lets the queue out before the BYE."""
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await call.send(BotAudio(generation=0, utterance="bye", payload=b"\x11" * 1600))
        await call.send(Hangup(request="h", drain=True, reason="done"))
        await caller.wait_request("BYE")
        assert sum(p.payload == b"\x11" * 160 for p in caller.rtp) == 10
        stop = await call.wait_for(Stop)
        assert (stop.ended_by, stop.reason) == ("bot", "done")
        assert call.of(Result)


async def test_keys_are_told_once_by_events_and_info(edge, worker):
    """RFC 4733 with repeated end packets, and INFO, each give one press."""
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await caller.talk(3)
        caller.press("5")
        caller.press("5")
        caller.press("#")
        await call.wait_for(Dtmf, 3)
        caller.request("INFO", "Signal=7\r\nDuration=120\r\n", content_type="application/dtmf-relay")
        assert (await caller.final("INFO")).code == 200
        await call.wait_for(Dtmf, 4)
        await asyncio.sleep(0.1)
        assert [(d.digit, d.source) for d in call.of(Dtmf)] == [
            ("5", "rfc4733"),
            ("5", "rfc4733"),
            ("#", "rfc4733"),
            ("7", "info"),
        ]
        await caller.hang_up()


async def test_late_offer(edge, worker):
    """An INVITE without a body gets our offer, and the answer in the ACK is honoured."""
    async with Caller(edge.server) as caller:
        caller.invite(body="")
        response = await caller.final()
        assert response.code == 200
        assert "m=audio" in response.body
        assert caller.media[1] != 0
        caller.ack(caller.sdp(payload_types="8 101"))
        call = await worker.call()
        await caller.hear(3)
        assert {p.payload_type for p in caller.rtp} == {8}
        await caller.talk(5, payload=b"\xd5" * 160, payload_type=8)
        await call.wait(lambda: len(call.audio) >= 5)
        await caller.hang_up()


async def test_cancel(edge, worker):
    """CANCEL before the answer: 487, the worker is told, the slot is free."""
    worker.answer = False
    async with Caller(edge.server) as caller:
        caller.invite()
        call = await worker.call()
        caller.cancel()
        assert (await caller.final("CANCEL")).code == 200
        assert (await caller.final("INVITE")).code == 487
        stop = await call.wait_for(Stop)
        assert (stop.ended_by, stop.sip_code) == ("caller", 487)


async def test_worker_rejects(edge, worker):
    """Reject sends its code and headers."""
    worker.answer = False
    async with Caller(edge.server) as caller:
        caller.invite()
        call = await worker.call()
        await call.send(Reject(request="r", code=480, headers={"Retry-After": "33"}))
        response = await caller.final()
        assert (response.code, response.get("Retry-After")) == (480, "33")
        await call.wait_for(Stop)


async def test_headers_in_and_out(edge, worker):
    """X- headers, User-to-User and names reach the worker cleaned; headers of the bot reach the caller."""
    async with Caller(edge.server, user="a%20b", from_user="+4930123") as caller:
        caller.invite(
            headers=[
                "X-Account: 42",
                "User-to-User: 0011;encoding=hex",
                "X-Evil: a\x1b[31m\udcff\u202e",
                "Secret: no",
            ]
        )
        await caller.final()
        caller.ack()
        call = await worker.call()
        start = call.start
        assert (start.caller, start.called, start.source_address) == ("+4930123", "a b", "127.0.0.1")
        assert start.headers["x-account"] == "42"
        assert start.headers["user-to-user"] == "0011;encoding=hex"
        assert "secret" not in start.headers
        assert start.headers["x-evil"].isprintable()
        start.headers["x-evil"].encode("utf-8")
        await call.send(Hangup(request="h", drain=False, headers={"X-Why": "done", "Via": "evil"}))
        bye = await caller.wait_request("BYE")
        assert bye.get("X-Why") == "done"
        assert len(bye.all("Via")) == 1


@pytest.mark.parametrize(
    "held_sdp",
    [{"direction": "sendonly"}, {"direction": "inactive"}, {"address": "0.0.0.0"}],
    ids=["sendonly", "inactive", "zero-address"],
)
async def test_hold_and_resume(edge, worker, held_sdp):
    """On hold nothing is sent and the queue waits; afterwards it goes on with the next sample."""
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await caller.hear(3)
        assert (await caller.reinvite(caller.sdp(**held_sdp))).code == 200
        await call.wait_for(Held)
        assert call.of(Held)[0].held
        count = len(caller.rtp)
        await call.send(BotAudio(generation=0, utterance="u", payload=bytes(range(1, 161)) * 3))
        await asyncio.sleep(0.2)
        assert len(caller.rtp) <= count + 1
        assert (await caller.reinvite(caller.sdp())).code == 200
        await call.wait_for(Held, 2)
        assert not call.of(Held)[1].held
        await caller.wait(lambda: sum(p.payload == bytes(range(1, 161)) for p in caller.rtp) == 3)
        await caller.talk(5)
        await call.wait(lambda: call.audio)
        await caller.hang_up()
    seqs = [p.sequence_number for p in caller.rtp]
    assert seqs == [(seqs[0] + i) & 0xFFFF for i in range(len(seqs))]


async def test_reinvite_moves_the_media(edge, worker):
    """After a re-INVITE with another address the stream goes there, and comes from there."""
    async with Caller(edge.server) as caller, Caller(edge.server) as elsewhere:
        await caller.call()
        call = await worker.call()
        await caller.talk(3)
        await caller.hear(3)
        assert (await caller.reinvite(caller.sdp(port=elsewhere.rtp_port))).code == 200
        await elsewhere.hear(5)
        elsewhere.media = caller.media
        before = len(call.audio)
        await elsewhere.talk(10, payload=b"\x42" * 160)
        await call.wait(lambda: any(a.payload == b"\x42" * 160 for a in call.audio[before:]))
        await caller.hang_up()


async def test_only_g729_offered(edge, worker):
    """No common codec: 488."""
    async with Caller(edge.server) as caller:
        body = (
            caller.sdp(payload_types="18")
            .replace("PCMU/8000", "G729/8000")
            .replace("a=rtpmap:0", "a=rtpmap:18")
        )
        assert (await caller.call(body)).code == 488


async def test_options_tell_the_truth(edge, worker):
    """200 while a worker is there, also within a dialog; 503 with Retry-After soon after it has gone."""

    async def ask():
        async with Caller(edge.server) as caller:
            caller.request("OPTIONS")
            return await caller.final("OPTIONS")

    async def until(code):
        async with asyncio.timeout(20):
            while (answer := await ask()).code != code:
                await asyncio.sleep(0.1)
        return answer

    await until(200)
    async with Caller(edge.server) as caller:
        await caller.call()
        caller.request("OPTIONS")
        assert (await caller.final("OPTIONS")).code == 200
        assert (await caller.hang_up()).code == 200
    await worker.die()
    assert int((await until(503)).get("Retry-After")) > 0


async def test_incoming_refer_is_refused(edge, worker):
    """The bot never dials because a caller says so."""
    async with Caller(edge.server) as caller, Caller(edge.server) as victim:
        await caller.call()
        await worker.call()
        caller.request("REFER", headers=[f"Refer-To: <sip:x@127.0.0.1:{victim.port}>"])
        assert (await caller.final("REFER")).code == 603
        await asyncio.sleep(0.2)
        assert not victim.requests
        assert (await caller.hang_up()).code == 200


async def test_stranger_is_neither_heard_nor_served(edge, worker):
    """RTP from another address or port is dropped and counted, and gets no packet."""
    async with Caller(edge.server) as caller, Caller(edge.server, host="127.0.0.2") as stranger:
        await caller.call()
        call = await worker.call()
        await caller.talk(5, payload=b"\x21" * 160)
        stranger.media = caller.media
        for _ in range(100):
            stranger.send_rtp(b"\x66" * 160)
        await caller.talk(20, payload=b"\x21" * 160)
        await call.wait(lambda: len(call.audio) >= 25)
        assert not any(a.payload == b"\x66" * 160 for a in call.audio)
        assert not stranger.rtp
        await caller.hang_up()
        assert (await call.wait_for(Stop)).stats.foreign_packets == 100


async def test_media_outside_the_trunk_is_refused(edge, worker):
    """An offer that names a foreign host or a low port gets 488 and no packet leaves."""
    async with Caller(edge.server) as caller:
        for body in (caller.sdp(address="192.0.2.1"), caller.sdp(port=53)):
            caller.call_id += "x"
            caller.to_tag = ""
            assert (await caller.call(body)).code == 488


async def test_fifth_call_is_refused_and_four_go_on(edge, worker):
    """Four calls at once are served; the fifth gets 486 or 503."""
    callers = [Caller(edge.server) for _ in range(5)]
    for caller in callers:
        await caller.__aenter__()
    try:
        assert [r.code for r in await asyncio.gather(*(c.call() for c in callers[:4]))] == [200] * 4
        assert (await callers[4].call()).code in (486, 503)
        await asyncio.gather(*(c.hear(5) for c in callers[:4]))
        assert [r.code for r in await asyncio.gather(*(c.hang_up() for c in callers[:4]))] == [200] * 4
    finally:
        for caller in callers:
            await caller.__aexit__()


async def test_thirty_calls_leak_nothing(edge, worker):
    """After 30 calls in a row the process holds the UDP ports it held before."""
    before = edge.open_udp_ports()
    for _ in range(30):
        async with Caller(edge.server) as caller:
            assert (await caller.call()).code == 200
            await caller.hear(1)
            assert (await caller.hang_up()).code == 200
    await worker.calls[-1].wait(lambda: all(c.ended for c in worker.calls))
    await edge.wait_until(lambda: edge.open_udp_ports() == before, "closed ports")
