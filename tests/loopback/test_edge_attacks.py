"""Floods, scans and sprays beside a live call: it goes on, the attacker gets nothing, callers get in."""

import asyncio
import contextlib
import itertools
import time
from pathlib import Path

import pytest

from tests.loopback.edge_program import EdgeProgram, ScriptedWorker
from tests.loopback.raw_sip_caller import Caller
from voicebot.link.messages import Stop

pytestmark = pytest.mark.loopback

VOICE = b"\x21" * 160
NOISE = b"\x66" * 160
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
async def live_call(edge, worker):
    """A caller who talks all the time; what the edge sends stays contiguous until the end."""
    number = len(worker.calls) + 1
    async with Caller(edge.server) as caller:
        assert (await caller.call()).code == 200
        call = await worker.call(number)
        talking = asyncio.create_task(caller.talk(10**6, payload=VOICE))
        await caller.hear(10)
        try:
            yield caller, call
        finally:
            talking.cancel()
        assert not caller.requests, "the edge ended the call"
        count = len(caller.rtp)
        await caller.hear(count + 5)
        numbers = [p.sequence_number for p in caller.rtp]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        assert (await caller.hang_up()).code == 200
        stop = await call.wait_for(Stop)
        print(  # noqa: T201 - the figures of docs/benchmarks.md
            f"live call: {stop.stats.received_packets} packets heard, {stop.stats.lost_packets} lost, "
            f"{stop.stats.foreign_packets} foreign dropped; {len(numbers)} packets of the bot, none missing"
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


def memory_kib(edge):
    status = Path(f"/proc/{edge.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


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


@pytest.mark.parametrize("for_s", seconds(2.0, 10.0))
async def test_invite_flood_from_one_source(edge, worker, for_s):
    """200 INVITEs a second, never acknowledged: a live call goes on and half of the slots stay free."""
    before_kib = memory_kib(edge)
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
    assert memory_kib(edge) - before_kib < 30_000


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
