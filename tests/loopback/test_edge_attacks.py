"""Floods, scans and sprays beside a live call: it goes on, the attacker gets nothing, callers get in."""

import asyncio
import contextlib
import itertools
import statistics
import time

import pytest

from tests.loopback.edge_program import EdgeProgram, ScriptedWorker
from tests.loopback.raw_sip_caller import Caller
from voicebot.link.messages import Held, Stop

pytestmark = pytest.mark.loopback

VOICE = b"\x21" * 160
NOISE = b"\x66" * 160
MOVED = b"\x42" * 160
PACED_S = 0.02


@pytest.fixture(scope="module")
def edge():
    """Limits as shipped, but for a short wait for ACKs."""
    program = EdgeProgram(
        sip={
            "max_half_open_per_source": 2,
            "invites_per_s": 20,
            "invite_burst": 40,
            "ack_deadline_ms": 3000,
            "trunks": ["127.0.0.1/32", "127.0.0.7/32"],
        }
    )
    yield program
    assert program.alive
    program.stop()


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


def seconds(short, long):
    """A short run in `make test`, a long one in `make test-long`."""
    return [
        pytest.param(short, id="short"),
        pytest.param(long, id="long", marks=[pytest.mark.long, pytest.mark.timeout(long + 120)]),
    ]


@contextlib.asynccontextmanager
async def talking(caller, payload):
    """The caller talks all the time."""
    task = asyncio.create_task(caller.talk(10**6, payload=payload))
    try:
        yield
    finally:
        task.cancel()


@contextlib.asynccontextmanager
async def live_call(edge, worker):
    """A caller who talks all the time; what the edge sends stays contiguous until the end."""
    number = len(worker.calls) + 1
    async with Caller(edge.server) as caller:
        assert (await caller.call()).code == 200
        call = await worker.call(number)
        async with talking(caller, VOICE):
            await caller.hear(10)
            yield caller, call
        assert not caller.requests, "the edge ended the call"
        count = len(caller.rtp)
        await caller.hear(count + 5)
        numbers = [p.sequence_number for p in caller.rtp]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        gaps_ms = [(b.at_s - a.at_s) * 1000 for a, b in itertools.pairwise(caller.rtp)]
        assert 15 <= statistics.median(gaps_ms) <= 25  # of the system's times of arrival
        took_ms = (caller.rtp[-1].at_s - caller.rtp[0].at_s) * 1000
        assert (
            abs(took_ms - 20 * len(gaps_ms)) <= 0.02 * took_ms + 300
        )  # no packet was left out or added
        assert (await caller.hang_up()).code == 200
        stop = await call.wait_for(Stop)
        print(  # noqa: T201 - the figures of docs/benchmarks.md
            f"live call: {stop.stats.received_packets} packets heard, {stop.stats.lost_packets} lost, "
            f"{stop.stats.foreign_packets} foreign dropped; {len(numbers)} packets of the bot, none missing, "
            f"latest {max(gaps_ms):.0f} ms after the one before"
        )
        assert stop.stats.lost_packets <= 0.02 * max(stop.stats.received_packets, 50)


async def paced(action, *, per_s, for_s):
    """Do something so often; a loop that is behind catches up in bursts, as an attacker would."""
    start = time.monotonic()
    done = 0
    while (elapsed_s := time.monotonic() - start) < for_s:
        while done < elapsed_s * per_s:
            action(done)
            done += 1
        await asyncio.sleep(PACED_S / 2)
    return done


@pytest.mark.parametrize("for_s", seconds(2.0, 60.0))
async def test_rtp_spray_from_a_second_source(edge, worker, for_s):
    """800 packets a second at the caller's port: not one is heard, not one is answered."""
    async with (
        live_call(edge, worker) as (caller, call),
        Caller(edge.server, host="127.0.0.2") as stranger,
    ):
        stranger.media = caller.media
        sent = await paced(lambda _n: stranger.send_rtp(NOISE), per_s=800, for_s=for_s)
        stranger.ssrc, stranger.seq = caller.ssrc, caller.seq  # and with the caller's own SSRC
        sent += await paced(lambda _n: stranger.send_rtp(NOISE), per_s=800, for_s=for_s / 4)
        assert not stranger.rtp
    assert not any(NOISE[:20] in audio.payload for audio in call.audio)
    assert 0.5 * sent <= call.of(Stop)[0].stats.foreign_packets <= sent


@pytest.mark.parametrize("held", [False, True], ids=["silent", "on-hold"])
@pytest.mark.parametrize("for_s", seconds(1.0, 12.0))
async def test_rtp_spray_while_the_caller_sends_nothing(edge, worker, held, for_s):
    """Silence lets nobody in, at 800 packets a second or at 50: not from elsewhere, not from next door."""
    async with (
        Caller(edge.server) as caller,
        Caller(edge.server, host="127.0.0.2") as stranger,
        Caller(edge.server) as neighbour,  # the caller's address, another process
    ):
        assert (await caller.call()).code == 200
        call = await worker.call(len(worker.calls) or 1)
        await caller.talk(10, payload=VOICE)
        await call.wait(lambda: sum(a.payload == VOICE for a in call.audio) >= 10, what="the caller")
        if held:
            assert (await caller.reinvite(caller.sdp(direction="sendonly"))).code == 200
            await call.wait_for(Held)
        stranger.media = neighbour.media = caller.media
        stranger.ssrc, stranger.seq, stranger.ts = caller.ssrc, caller.seq, caller.ts

        def spray(_number):
            stranger.send_rtp(NOISE)
            neighbour.send_rtp(NOISE)

        sent = await paced(spray, per_s=800, for_s=for_s)
        sent += await paced(spray, per_s=50, for_s=for_s / 2)
        if held:
            assert (await caller.reinvite(caller.sdp())).code == 200
        heard, sent_to = len(call.audio), len(caller.rtp)
        async with talking(caller, VOICE):
            await call.wait(
                lambda: sum(a.payload == VOICE for a in call.audio[heard:]) >= 25, 20, "the caller again"
            )
            await caller.hear(sent_to + 25)
        assert not caller.requests, "the edge ended the call"
        assert (await caller.hang_up()).code == 200
        stats = (await call.wait_for(Stop)).stats
        for attacker in (stranger, neighbour):
            assert not attacker.rtp
            assert not attacker.rtcp
    assert not any(NOISE[:20] in audio.payload for audio in call.audio)
    assert (
        stats.foreign_packets >= sent / 4
    )  # of what two of them sent; the system drops what comes in bursts


@pytest.mark.parametrize("where", ["session", "media", "low-port", "answer-in-the-ack", "re-invite"])
async def test_nobody_else_is_sent_to(edge, worker, where):
    """SDP that names a third host, or a port of the system: 488 or BYE, and not one packet gets there."""
    async with Caller(edge.server) as caller, Caller(edge.server, host="127.0.0.9") as victim:
        foreign = caller.sdp(address=victim.host, port=victim.rtp_port)
        if where == "media":
            foreign = caller.sdp(port=victim.rtp_port).replace(
                "a=ptime", f"c=IN IP4 {victim.host}\r\na=ptime"
            )
        elif where == "low-port":
            foreign = caller.sdp(port=1023)
        if where in {"answer-in-the-ack", "re-invite"}:
            caller.invite(body="" if where == "answer-in-the-ack" else None)
            assert (await caller.final()).code == 200
            caller.ack(foreign if where == "answer-in-the-ack" else "")
            if where == "re-invite":
                await caller.hear(5)
                caller.invite(foreign)
                answer = await caller.final("INVITE", caller.invite_cseq)
                caller.ack()
                assert answer.code in (200, 488)
                if answer.code == 200:
                    await caller.wait_request("BYE")
            else:
                await caller.wait_request("BYE")
        else:
            assert (await caller.call(foreign)).code == 488
        async with Caller(edge.server) as honest:  # time for what might have been sent
            assert (await honest.call()).code == 200
            await honest.hear(10)
            assert (await honest.hang_up()).code == 200
        assert not victim.rtp
        assert not victim.rtcp


async def test_a_port_that_changes_in_mid_call(edge, worker):
    """The caller's stream goes on from another port: heard from there and answered there, once it is sure."""
    async with Caller(edge.server) as caller, Caller(edge.server) as moved:
        assert (await caller.call()).code == 200
        call = await worker.call()
        await caller.talk(10, payload=VOICE)
        await caller.hear(5)
        moved.media = caller.media
        moved.ssrc, moved.seq, moved.ts = caller.ssrc, caller.seq, caller.ts
        async with talking(moved, MOVED):
            await moved.hear(10)
            await call.wait(lambda: sum(a.payload == MOVED for a in call.audio) >= 10, 20, "voice")
        before = len(caller.rtp)
        await moved.hear(len(moved.rtp) + 10)
        assert len(caller.rtp) == before
        numbers = [p.sequence_number for p in caller.rtp + moved.rtp]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        assert (await caller.hang_up()).code == 200


@pytest.mark.parametrize("for_s", seconds(2.0, 10.0))
async def test_invite_flood_from_one_source(edge, worker, for_s):
    """200 INVITEs a second, never acknowledged: a live call goes on and half of the slots stay free."""
    before_kib = edge.memory_kib
    async with live_call(edge, worker), Caller(edge.server, host="127.0.0.7") as flood:
        flood.auto_ok = False

        def invite(number):
            flood.call_id, flood.to_tag = f"flood{number}", ""
            flood.target = f"sip:bot@127.0.0.1:{edge.sip_port}"
            flood.invite()
            flood.responses[:-200] = []

        flooding = asyncio.create_task(paced(invite, per_s=200, for_s=for_s))
        await asyncio.sleep(for_s / 2)
        async with Caller(edge.server) as honest:
            assert (await honest.call()).code == 200
            await honest.hear(5)
            assert (await honest.hang_up()).code == 200
        sent = await flooding
        refused = edge.events("sip_request_refused")
        assert sent >= 100 * for_s
        assert {r["source_address"] for r in refused} <= {"127.0.0.7", "127.0.0.2"}
        held = {r.get("Call-ID") for r in flood.responses if r.code == 200}
        assert len(held) <= 2 + 2 * for_s  # two at a time; given up after three seconds
        flood.over = True
    assert edge.memory_kib - before_kib < 30_000


@pytest.mark.parametrize(
    "requests", [pytest.param(400, id="short"), pytest.param(20_000, id="long", marks=pytest.mark.long)]
)
async def test_a_scan_from_outside_the_trunk(edge, worker, requests):
    """Extensions tried by OPTIONS, REGISTER and INVITE: silence, no call, no log to fill the disk."""
    async with live_call(edge, worker), Caller(edge.server, host="127.0.0.2") as scanner:
        before = len(edge.lines)
        calls = len(worker.calls)

        def probe(number):
            scanner.call_id, scanner.user = f"scan{number}", str(100 + number)
            scanner.target = f"sip:{scanner.user}@127.0.0.1"
            method = ("OPTIONS", "REGISTER", "INVITE", "SUBSCRIBE")[number % 4]
            scanner.request(method, scanner.sdp() if method == "INVITE" else "")

        await paced(probe, per_s=400, for_s=requests / 400)
        assert not scanner.responses
        assert len(worker.calls) == calls
        assert len(edge.lines) - before < 20 + requests / 400


async def test_calls_that_are_never_acknowledged_leave_half_of_the_slots(edge, worker):
    """Six INVITEs at once: two slots are taken, the next caller is answered, and they become free again."""
    async with contextlib.AsyncExitStack() as stack:
        half_open = [
            await stack.enter_async_context(Caller(edge.server, host="127.0.0.7")) for _ in range(6)
        ]
        for caller in half_open:
            caller.auto_ok = False
            caller.over = True
            caller.invite()
        async with Caller(edge.server) as honest:
            assert (await honest.call()).code == 200
            assert (await honest.hang_up()).code == 200
        assert sum(any(r.code == 200 for r in c.responses) for c in half_open) <= 2
        loop = asyncio.get_running_loop()
        end = loop.time() + 30
        while True:
            async with Caller(edge.server, host="127.0.0.7") as again:
                again.invite()
                with contextlib.suppress(AssertionError):
                    if (await again.final(timeout_s=1)).code == 200:
                        again.ack()
                        assert (await again.hang_up()).code == 200
                        break
            assert loop.time() < end, "the slots did not become free"
