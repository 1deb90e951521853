"""A worker dies or hangs in the middle of a call: the caller's audio and the call survive."""

import asyncio
import contextlib
import itertools

import pytest

from tests.loopback.edge_program import ScriptedWorker, shared_edge
from tests.loopback.raw_sip_caller import Caller
from voicebot.link.binary_media import BotAudio
from voicebot.link.messages import Acknowledge, Clear, Cleared, EndUtterance, Played, Resume, Stop

pytestmark = pytest.mark.loopback


def standby_edge():
    return shared_edge(
        "standby",
        link={"heartbeat_limit_ms": 350, "resume_grace_ms": 1200, "connect_timeout_ms": 300},
        two_workers=True,
    )


@pytest.fixture
def edge():
    program = standby_edge()
    yield program
    assert program.alive


def numbered(start: int, count: int) -> list[bytes]:
    return [bytes([1 + (start + i) % 120]) * 160 for i in range(count)]


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_next_worker_gets_what_nobody_acknowledged(edge, how):
    """After the loss the second worker hears every frame after the acknowledged one, once and in order."""
    silent = 60_000 if how == "hangs" else 100
    first = ScriptedWorker(edge.worker_port, heartbeat_ms=silent)
    second = ScriptedWorker(edge.second_worker_port)
    async with first, Caller(edge.server) as caller, contextlib.AsyncExitStack() as later:
        await caller.call()
        call = await first.call()
        await later.enter_async_context(second)  # not before: the edge would be free to begin there
        await call.send(BotAudio(generation=0, utterance="u1", payload=b"\x31" * 1600))
        await call.send(EndUtterance(utterance="u1"))
        for payload in numbered(0, 12):
            await caller.talk(1, payload)
        await call.wait(lambda: len(call.audio) >= 12)
        await call.wait(lambda: any(p.finished for p in call.of(Played)))
        await call.send(Acknowledge(frame=4))
        await asyncio.sleep(0.05)
        if how == "killed":
            await first.die()
        heard = len(caller.rtp)
        for payload in numbered(12, 30):
            await caller.talk(1, payload)
        successor = await second.call()
        await successor.wait(lambda: len(successor.audio) >= 37)
        resume = successor.start.resume
        assert isinstance(resume, Resume)
        assert (resume.session_id, resume.acknowledged_frame) == (call.start.session_id, 4)
        assert (resume.last_utterance, resume.last_utterance_played_ms) == ("u1", 200)
        assert successor.start.answered
        assert [a.frame for a in successor.audio] == list(range(5, 42))
        assert [a.payload for a in successor.audio] == numbered(5, 37)
        assert successor.audio[0].replayed
        assert not successor.audio[-1].replayed
        # How long the gap was is measured by tests/bench/failover.py, on a machine that has time for it.
        numbers = [p.sequence_number for p in caller.rtp[heard - 1 :]]
        assert len(numbers) > 20
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        await successor.send(BotAudio(generation=0, utterance="u2", payload=b"\x32" * 160))
        await caller.wait(lambda: any(p.payload == b"\x32" * 160 for p in caller.rtp))
        await caller.hang_up()
        await successor.wait_for(Stop)


async def test_a_sentence_goes_on_while_its_worker_dies(edge):
    """What the edge has of it is said to its end, frame after frame, whoever said it."""
    first = ScriptedWorker(edge.worker_port)
    second = ScriptedWorker(edge.second_worker_port)
    sentence = numbered(0, 60)
    async with first, Caller(edge.server) as caller, contextlib.AsyncExitStack() as later:
        await caller.call()
        call = await first.call()
        await later.enter_async_context(second)
        await call.send(BotAudio(generation=0, utterance="u1", payload=b"".join(sentence)))
        await call.send(EndUtterance(utterance="u1"))
        await caller.wait(lambda: any(p.payload == sentence[5] for p in caller.rtp))
        await first.die()
        await caller.wait(lambda: any(p.payload == sentence[-1] for p in caller.rtp))
        said = [p for p in caller.rtp if p.payload != b"\xff" * 160]
        assert [p.payload for p in said] == sentence
        numbers = [p.sequence_number for p in said]
        assert numbers == [(numbers[0] + i) & 0xFFFF for i in range(len(sentence))]
        successor = await second.call()
        progress = successor.start.resume.utterances[0]
        assert (progress.utterance, progress.received_samples) == ("u1", 60 * 160)
        await caller.hang_up()
        await successor.wait_for(Stop)


async def test_nobody_left():
    """The caller hears a sentence and then "call again", never silence for ever; then BYE.

    The next worker that is there is told how the call ended, and writes its record.
    """
    edge = shared_edge("nobody left", link={"resume_grace_ms": 1200, "record_grace_ms": 20_000})
    async with ScriptedWorker(edge.worker_port) as worker, Caller(edge.server) as caller:
        await caller.call()
        await worker.call()
        await caller.hear(3)
        await worker.die()
        lost = len(caller.rtp)
        await caller.wait(
            lambda: any(p.payload != b"\xff" * 160 for p in caller.rtp[lost:]), 1.0, "a spoken word"
        )
        await caller.wait_request("BYE", 12)
        spoken = sum(p.payload != b"\xff" * 160 for p in caller.rtp[lost:])
        assert spoken > 150
        seqs = [p.sequence_number for p in caller.rtp]
        assert seqs == [(seqs[0] + i) & 0xFFFF for i in range(len(seqs))]
    async with ScriptedWorker(edge.worker_port) as successor:
        call = await successor.call(timeout_s=20)
        stop = await call.wait_for(Stop, timeout_s=20)
        assert (stop.reason, stop.ended_by) == ("no worker", "worker")
        assert call.start.resume.session_id == call.start.session_id
        assert call.start.resume.lease == 1
    assert edge.stop() == 0


async def test_a_worker_that_dies_before_it_has_written_the_record():
    """The call is over and the worker breaks off: the next one is told how it ended."""
    edge = shared_edge("records", link={"record_grace_ms": 20_000}, two_workers=True)
    first = ScriptedWorker(edge.worker_port, dies_on_stop=True)
    second = ScriptedWorker(edge.second_worker_port)
    async with first, Caller(edge.server) as caller, contextlib.AsyncExitStack() as later:
        await caller.call()
        call = await first.call()
        await later.enter_async_context(second)  # not before: the edge would be free to begin there
        await caller.hang_up()
        stop = await call.wait_for(Stop)
        successor = await second.call(timeout_s=10)
        told = await successor.wait_for(Stop)
        assert (told.reason, told.ended_by) == (stop.reason, stop.ended_by)
        assert successor.start.resume.session_id == call.start.session_id
        assert successor.start.resume.lease == 1
    assert edge.stop() == 0


async def test_clear_reports_and_older_audio_is_dropped(edge):
    """Cleared tells what was heard; audio of the old generation that arrives later is not played."""
    async with ScriptedWorker(edge.worker_port) as worker, Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await call.send(BotAudio(generation=0, utterance="long", payload=b"\x41" * 80_000))
        await caller.wait(lambda: sum(p.payload == b"\x41" * 160 for p in caller.rtp) >= 10)
        await call.send(Clear(generation=1))
        await call.send(BotAudio(generation=0, utterance="late", payload=b"\x42" * 1600))
        await call.send(BotAudio(generation=1, utterance="new", payload=b"\x43" * 1600))
        cleared = await call.wait_for(Cleared)
        await caller.wait(lambda: sum(p.payload == b"\x43" * 160 for p in caller.rtp) >= 9)
        assert not any(p.payload == b"\x42" * 160 for p in caller.rtp)
        (utterance,) = cleared.utterances
        assert utterance.utterance == "long"
        assert utterance.played_ms + utterance.dropped_ms == 10_000
        whole = sum(p.payload == b"\x41" * 160 for p in caller.rtp) * 20
        assert whole <= utterance.played_ms <= whole + 40
        await caller.hang_up()
