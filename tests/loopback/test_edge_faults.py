"""Faults of honest and hostile peers in a dialog: one call, one record, nothing left behind."""

import asyncio
import contextlib
import itertools
import json
import random
import resource
import socket

import pytest

from tests.loopback.edge_program import EdgeProgram, ScriptedWorker, common_edge, shared_edge
from tests.loopback.raw_sip_caller import Caller
from tests.ports import free_port
from voicebot.link.messages import Dtmf, Stop

pytestmark = pytest.mark.loopback

VOICE = b"\x21" * 160


@pytest.fixture
def edge():
    program = common_edge()
    yield program
    assert program.alive
    assert not program.events("sip_event_failed")
    assert not program.events("sip_door_failed")


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


async def test_garbage_on_the_media_ports(edge, worker):
    """0 to 1500 bytes of anything, wrong payload types, a stranger's RTCP BYE: counted, the call is up."""
    chance = random.Random(9)
    async with Caller(edge.server) as caller, Caller(edge.server, host="127.0.0.2") as stranger:
        await caller.call()
        call = await worker.call()
        await caller.talk(5, payload=VOICE)
        address, port = caller.media
        for size in (0, 1, 11, 12, 13, 60, 400, 1500):
            for target in (port, port + 1):
                caller._rtp.sendto(chance.randbytes(size), (address, target))
                stranger._rtp.sendto(chance.randbytes(size), (address, target))
        bye = bytes([0x81, 203, 0, 1]) + caller.ssrc.to_bytes(4)
        report = bytes([0x80, 201, 0, 1]) + caller.ssrc.to_bytes(4)
        stranger._rtp.sendto(report + bye, (address, port + 1))
        caller._rtcp.transport.sendto((report + bye) * 90, (address, port + 1))
        for payload_type in (18, 50, 127):
            caller.send_rtp(b"\x00" * 20, payload_type)
        count = len(call.audio)
        await caller.talk(30, payload=VOICE)
        await call.wait(lambda: sum(a.payload == VOICE for a in call.audio[count:]) >= 25)
        assert not caller.requests
        assert (await caller.hang_up()).code == 200
        stats = (await call.wait_for(Stop)).stats
        assert stats.malformed_packets + stats.foreign_packets >= 10


@pytest.mark.parametrize(
    "times", [pytest.param(15, id="short"), pytest.param(100, id="long", marks=pytest.mark.long)]
)
async def test_a_storm_of_re_invites(edge, worker, times):
    """Hold and resume twenty times a second: the sequence numbers go on, the call is up."""
    async with Caller(edge.server) as caller:
        await caller.call()
        await caller.hear(5)
        for number in range(times):
            direction = "sendrecv" if number % 2 else "sendonly"
            answer = await caller.reinvite(caller.sdp(direction=direction))
            assert answer.code in (200, 491)
            await asyncio.sleep(0.05)
        await caller.reinvite(caller.sdp())
        count = len(caller.rtp)
        await caller.hear(count + 10)
        numbers = [p.sequence_number for p in caller.rtp]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        assert (await caller.hang_up()).code == 200


async def test_acks_and_byes_that_come_twice_or_for_another(edge, worker):
    """A second ACK, a BYE of a wrong tag, two BYEs: one call, one end."""
    async with Caller(edge.server) as caller:
        await caller.call()
        caller.ack()
        caller.ack()
        call = await worker.call()
        tag, caller.to_tag = caller.to_tag, "somebody-else"
        caller.request("BYE")
        assert (await caller.final("BYE")).code == 481
        caller.to_tag = tag
        await caller.hear(len(caller.rtp) + 5)
        assert (await caller.hang_up()).code == 200
        branch, cseq = caller.branch, caller.cseq
        caller.request("BYE", cseq=cseq, branch=branch)  # the same again: the same answer
        caller.request("BYE")
        assert (await caller.final("BYE")).code in (200, 481)
        await call.wait_for(Stop)
        assert len(call.of(Stop)) == 1
    assert len(worker.calls) == 1


async def test_an_ack_that_comes_late(edge, worker):
    """The 200 is repeated until the ACK comes (RFC 3261 section 13.3.1.4): one dialog, one call, audio at once."""
    async with Caller(edge.server) as caller:
        caller.invite()
        await caller.final("INVITE")

        def answers():
            return [r for r in caller.responses if r.code == 200 and r.get("CSeq").endswith("INVITE")]

        await caller.wait(lambda: len(answers()) >= 2, what="a second 200")
        caller.ack()
        caller.ack()
        count = len(answers())
        await caller.hear(len(caller.rtp) + 30)
        assert len(answers()) - count <= 1  # one may have been on its way
        assert len({r.get("To") for r in answers()}) == 1
        assert (await caller.hang_up()).code == 200
        call = await worker.call()
        await call.wait_for(Stop)
    assert len(worker.calls) == 1


async def test_cancel_crosses_the_answer(edge, worker):
    """CANCEL at once, or after the 200: either the INVITE ends with 487 or the call has to be ended."""
    for pause_s in (0.0, 0.001, 0.005, 0.02, 0.1):
        async with Caller(edge.server) as caller:
            caller.invite()
            await asyncio.sleep(pause_s)
            caller.cancel()
            answer = await caller.final("INVITE")
            assert answer.code in (200, 487)
            if answer.code == 200:
                caller.ack()
                assert (await caller.hang_up()).code == 200
    async with Caller(edge.server) as caller:
        assert (await caller.call()).code == 200
        assert (await caller.hang_up()).code == 200


async def test_names_that_are_too_long(edge, worker):
    """What does not fit into the library's buffer is refused or ignored, never taken for a shorter message."""
    long_ones = (
        [f"X-Long-{n}: {'x' * 1000}" for n in range(60)],
        ["X-Long: " + "x" * 60_000],
        [f"X-{n}: x" for n in range(6000)],
    )
    async with contextlib.AsyncExitStack() as stack:
        callers = [await stack.enter_async_context(Caller(edge.server)) for _ in long_ones]
        for caller, headers in zip(callers, long_ones, strict=True):
            caller.invite(headers=headers)
        named = await stack.enter_async_context(Caller(edge.server, from_user="a" * 3000))
        named.invite()
        honest = await stack.enter_async_context(Caller(edge.server))
        honest.send_raw(b"INVITE sip:a@b SIP/2.0\r\n" + b"A: " + b"x" * 60_000)
        assert (await honest.call()).code == 200
        assert {r.code for c in (*callers, named) for r in c.responses} <= {400, 513}
        assert (await honest.hang_up()).code == 200
    assert len(worker.calls) == 1


HOSTILE = '"\u202eEve\x1b[2J <script>\udcff" '


async def test_hostile_texts_are_one_clean_log_line_and_name_no_file(tmp_path):
    """ESC, bidi, invalid UTF-8, ../ in From, Call-ID and User-Agent: JSON lines, files of our own names."""
    program = shared_edge("recording", data_dir=str(tmp_path), recording={"enabled": True})
    async with ScriptedWorker(program.worker_port) as worker, Caller(program.server) as caller:
        caller.call_id = "../../../../tmp/evil\x1b[31m%00"
        caller.from_user = "..%2f..%2fetc"
        answer = await caller.call(headers=[f"User-Agent: {HOSTILE}", f"X-Evil: {HOSTILE}"])
        assert answer.code == 200
        call = await worker.call()
        assert (await caller.hang_up()).code == 200
        await call.wait_for(Stop)
        assert "\x1b" not in call.start.sip_call_id
    await program.wait_event("call_ended")
    for line in program.lines:
        json.loads(line)
        assert line.isascii()
        assert line.isprintable()
    files = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()]
    assert files
    assert all(name.startswith(f"recordings/{call.start.call_id}") for name in files)
    program.stop()


async def test_keys_by_info_that_the_library_would_die_of(edge, worker):
    """A body without a line end ran into an assertion of the library: one packet ended four calls."""
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        for body in ("Signal=5", "Signal=", "Signal=5\n", "Signal", "Signal=\0\r\n", "x", "\r\n"):
            caller.request("INFO", body, content_type="application/dtmf-relay")
            assert (await caller.final("INFO")).code == 400, body
        for body in ("Signal=7\r\n", "Signal= 8\r\nDuration= 160\r\n", "Signal=9\nDuration=160\n"):
            caller.request("INFO", body, content_type="application/dtmf-relay")
            assert (await caller.final("INFO")).code == 200, body
        await call.wait_for(Dtmf, 3)
        assert [key.digit for key in call.of(Dtmf)] == ["7", "8", "9"]
        assert (await caller.hang_up()).code == 200


async def test_a_disk_that_fills_up_in_mid_call(tmp_path):
    """The kernel takes no more of any file: the call goes on, its recording is marked, an alarm counts."""
    program = EdgeProgram(
        data_dir=str(tmp_path),
        recording={"enabled": True},
        metrics={"port": free_port(socket.SOCK_STREAM)},
    )
    full = (40_000, resource.RLIM_INFINITY)  # bytes: something more than a second of a recording
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, full)
    try:
        async with ScriptedWorker(program.worker_port) as worker, Caller(program.server) as caller:
            assert (await caller.call()).code == 200
            call = await worker.call()
            await caller.talk(125, payload=VOICE)
            await call.wait(lambda: sum(a.payload == VOICE for a in call.audio) >= 120)
            await caller.hear(120)
            numbers = [p.sequence_number for p in caller.rtp]
            assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
            assert (await caller.hang_up()).code == 200
            assert (await call.wait_for(Stop)).recording_partial
        await program.wait_event("call_ended")
        assert await program.counter("voicebot_recordings_partial_total") == 1
    finally:
        program.stop()


async def test_the_same_key_in_the_band_of_events_and_by_info(edge, worker):
    """A telephone event and an INFO for one press are one key."""
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await caller.talk(5)
        caller.press("5")
        caller.request("INFO", "Signal=5\r\nDuration=160\r\n", content_type="application/dtmf-relay")
        assert (await caller.final("INFO")).code == 200
        await caller.talk(20)
        await call.wait_for(Dtmf)
        assert [key.digit for key in call.of(Dtmf)] == ["5"]
        await caller.hang_up()
