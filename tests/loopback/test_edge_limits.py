"""Limits: media that stops, calls that are too long, strangers, no worker, drain; with short settings."""

import asyncio
import hashlib
import re
import signal
import socket

import pytest

from tests.loopback.edge_program import EdgeProgram, ScriptedWorker, shared_edge
from tests.loopback.raw_sip_caller import Caller
from tests.ports import free_port
from voicebot.link.messages import Held, Stop

pytestmark = pytest.mark.loopback

STRANGERS = 'voicebot_calls_refused_total{reason="source"}'


@pytest.fixture
def edge():
    program = shared_edge(
        "short",
        sip={
            "ack_deadline_ms": 600,
            "answer_deadline_ms": 400,
            "max_call_s": 2,
            "trunks": ["127.0.0.1/32"],
            "half_open_after_ms": 0,
            "max_half_open_per_source": 2,
        },
        rtp={"no_media_timeout_s": 0.6, "media_timeout_s": 0.5, "hold_timeout_s": 1.2},
        metrics={"port": free_port(socket.SOCK_STREAM)},
    )
    yield program
    assert program.alive


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


@pytest.mark.parametrize("frames", [0, 10], ids=["never-any", "stops"])
async def test_no_media(edge, worker, frames):
    """RTP that never comes, or stops, ends the call with BYE and its reason."""
    async with Caller(edge.server) as caller:
        await caller.call()
        await caller.talk(frames)
        await caller.wait_request("BYE", 3)
        stop = await (await worker.call()).wait_for(Stop)
        assert (stop.reason, stop.ended_by) == ("no media", "edge")


async def test_hold_has_its_own_longer_limit(edge, worker):
    """A held caller may be silent for longer, not for ever."""
    loop = asyncio.get_running_loop()
    async with Caller(edge.server) as caller:
        await caller.call()
        await caller.talk(3)
        await caller.reinvite(caller.sdp(direction="inactive"))
        call = await worker.call()
        await call.wait_for(Held)
        start = loop.time()
        await caller.wait_request("BYE", 4)
        assert 0.9 < loop.time() - start < 3


async def test_a_call_that_begins_on_hold():
    """Who holds us from the first moment and takes us off it late has all the time to begin to speak."""
    program = EdgeProgram(rtp={"no_media_timeout_s": 2.0, "hold_timeout_s": 60})
    try:
        async with ScriptedWorker(program.worker_port) as worker, Caller(program.server) as caller:
            assert (await caller.call(caller.sdp(direction="inactive"))).code == 200
            call = await worker.call()
            await call.wait_for(Held)
            await asyncio.sleep(2.2)  # longer than silence may last when nobody is on hold
            assert (await caller.reinvite(caller.sdp())).code == 200
            await caller.talk(10)
            await caller.hear(10)
            assert not caller.requests, "the edge ended the call"
            assert (await caller.hang_up()).code == 200
    finally:
        program.stop()


async def test_longest_call(edge, worker):
    """max_call_s ends a call that would go on."""
    async with Caller(edge.server) as caller:
        await caller.call()
        talking = asyncio.create_task(caller.talk(250))
        await caller.wait_request("BYE", 5)
        talking.cancel()
        assert (await (await worker.call()).wait_for(Stop)).reason == "call too long"


async def test_source_outside_the_trunks_gets_nothing(edge, worker):
    """No answer to whatever a scanner tries, one log line, each counted; the worker never hears of it."""
    counted = await edge.counter(STRANGERS)
    async with Caller(edge.server, host="127.0.0.2") as stranger:
        for method in ("OPTIONS", "REGISTER", "SUBSCRIBE", "MESSAGE", "BYE", "ACK", "INVITE", "FOO"):
            stranger.request(method)
        await edge.wait_event("sip_request_refused")
        async with Caller(edge.server) as caller:  # what came after it has been dealt with
            assert (await caller.call()).code == 200
            await caller.hang_up()
        assert not stranger.responses
    assert [c.start.source_address for c in worker.calls] == ["127.0.0.1"]
    assert await edge.counter(STRANGERS) == counted + 7  # all but the ACK, which nobody answers ever
    reasons = [event["reason"] for event in edge.events("sip_request_refused")]
    assert reasons.count("source") == 1


async def test_strangers_may_be_refused_instead():
    """403 for those who want to see why nothing works."""
    program = EdgeProgram(sip={"trunks": ["127.0.0.1/32"], "strangers": "refuse"})
    try:
        async with Caller(program.server, host="127.0.0.2") as stranger:
            assert (await stranger.call()).code == 403
    finally:
        program.stop()


async def test_callers_with_a_password(monkeypatch):
    """401 with a challenge, then the answer counts; five wrong ones and the source hears no more."""
    monkeypatch.setenv("CALLER_PASSWORD", "s3cret")
    users = [{"name": "ann", "password_env": "CALLER_PASSWORD"}]
    program = EdgeProgram(sip={"digest_users": users})
    try:
        async with ScriptedWorker(program.worker_port):
            async with Caller(program.server) as caller:
                answer = await caller.call(headers=[await authorization(caller, "s3cret")])
                assert answer.code == 200
                assert (await caller.hang_up()).code == 200
            async with Caller(program.server, host="127.0.0.5") as guesser:
                for _ in range(4):
                    header = await authorization(guesser, "guess")
                    assert (await guesser.call(headers=[header])).code == 401
                header = await authorization(guesser, "guess")
                count = len(guesser.responses)
                guesser.invite(headers=[header])
                await program.wait_until(lambda: program.events("sip_request_refused"), "refusals")
                async with Caller(program.server) as caller:
                    right = await authorization(caller, "s3cret")
                    assert (await caller.call(headers=[right])).code == 200
                    assert (await caller.hang_up()).code == 200
                assert len(guesser.responses) == count
            assert not any("s3cret" in line for line in program.lines)
    finally:
        program.stop()


async def authorization(caller, password, user="ann"):
    """Ask for a challenge and answer it."""
    caller.invite_branch = ""
    refused = await caller.call()
    assert refused.code == 401, refused.first_line
    given = dict(re.findall(r'(\w+)="?([^",]+)"?', refused.get("WWW-Authenticate")))
    ha1 = md5(f"{user}:{given['realm']}:{password}")
    ha2 = md5(f"INVITE:{caller.target}")
    response = md5(f"{ha1}:{given['nonce']}:00000001:c:auth:{ha2}")
    return (
        f'Authorization: Digest username="{user}", realm="{given["realm"]}", nonce="{given["nonce"]}", '
        f'uri="{caller.target}", qop=auth, nc=00000001, cnonce="c", response="{response}"'
    )


async def test_half_open_calls_of_one_source_are_bounded_and_given_up(edge, worker):
    """The third un-ACKed INVITE gets 503; when the ACK deadline is over all slots are free again."""
    callers = [Caller(edge.server) for _ in range(3)]
    for caller in callers:
        await caller.__aenter__()
    try:
        for caller in callers[:2]:
            caller.invite()
            assert (await caller.final()).code == 200
        callers[2].invite()
        refused = await callers[2].final()
        assert (refused.code, refused.get("Retry-After")) == (503, "5")
        stops = [await (await worker.call(n)).wait_for(Stop, timeout_s=4) for n in (1, 2)]
        assert {s.ended_by for s in stops} <= {"edge", "caller"}
        async with Caller(edge.server) as caller:
            assert (await caller.call()).code == 200
            await caller.hang_up()
    finally:
        for caller in callers:
            caller.over = True
            await caller.__aexit__()


async def test_no_worker(edge):
    """Nobody to talk to: 503 with Retry-After, soon."""
    async with Caller(edge.server) as caller:
        response = await caller.call()
        assert (response.code, response.get("Retry-After")) == (503, "5")


async def test_worker_that_does_not_answer(edge, worker):
    """The answer deadline is the caller's protection from a worker that hangs."""
    worker.answer = False
    async with Caller(edge.server) as caller:
        response = await caller.call()
        assert response.code == 503
        assert (await (await worker.call()).wait_for(Stop)).reason == "not answered in time"


async def test_sigterm_lets_live_calls_finish(tmp_path):
    """Drain: new INVITEs get 503, the live call goes on, exit is 0 after its BYE; nothing is left over."""
    program = EdgeProgram(recording={"enabled": True}, data_dir=str(tmp_path))
    try:
        async with ScriptedWorker(program.worker_port) as worker:
            for _ in range(6):
                async with Caller(program.server) as caller:
                    await caller.call()
                    await caller.hang_up()
            worker.calls.clear()
            async with Caller(program.server) as caller:
                await caller.call()
                await caller.talk(5)
                program.process.send_signal(signal.SIGTERM)
                await program.wait_event("edge_draining")
                async with Caller(program.server) as late:
                    response = await late.call()
                    assert (response.code, response.get("Retry-After")) == (503, "5")
                async with Caller(program.server) as dispatcher:
                    dispatcher.request("OPTIONS")
                    assert (await dispatcher.final("OPTIONS")).code == 503
                count = len(caller.rtp)
                await caller.hear(count + 10)
                call = await worker.call()
                assert (await caller.hang_up()).code == 200
                await call.wait_for(Stop)
            await asyncio.get_running_loop().run_in_executor(None, program.process.wait, 10)
            assert program.process.returncode == 0
            stopped = program.events("edge_stopped")[0]
            assert stopped["ports_taken"] == 0
            assert stopped["library_ports"] <= 2  # the bridge itself, and the call that ended last
            assert call.start.recording == str(tmp_path / "recordings" / f"{call.start.call_id}.wav")
            assert (tmp_path / "recordings" / f"{call.start.call_id}.wav").stat().st_size > 44
    finally:
        program.stop()


async def test_registration_with_digest(monkeypatch):
    """REGISTER answers the challenge (RFC 2617 section 3.2.2), and is taken back at the end."""
    monkeypatch.setenv("VOICEBOT_SIP_PASSWORD", "s3cret")
    async with Caller(("127.0.0.1", 9)) as registrar:
        registrar.auto_ok = False
        program = EdgeProgram(
            sip={
                "registration": {
                    "registrar": f"sip:127.0.0.1:{registrar.port}",
                    "aor": "sip:bot@pbx.example",
                    "username": "bot",
                }
            }
        )
        registrar.server = program.server
        try:
            first = await registrar.wait_request("REGISTER")
            challenge = 'WWW-Authenticate: Digest realm="pbx",nonce="n1",algorithm=MD5,qop="auth"'
            registrar.respond(first, 401, "Unauthorized", headers=[challenge])
            second = await registrar.wait(
                lambda: next((r for r in registrar.requests if r.get("Authorization")), None)
            )
            given = dict(re.findall(r'(\w+)="?([^",]+)"?', second.get("Authorization")))
            ha1 = md5("bot:pbx:s3cret")
            ha2 = md5(f"REGISTER:{given['uri']}")
            proof = f"{ha1}:n1:{given['nc']}:{given['cnonce']}:auth:{ha2}"
            assert given["response"] == md5(proof)
            assert "s3cret" not in second.get("Authorization")
            contact = second.get("Contact")
            registrar.respond(second, headers=[f"Contact: {contact};expires=300", "Expires: 300"])
            event = await program.wait_event("sip_registration")
            assert event["code"] == 200
            registrar.auto_ok = True
            program.process.send_signal(signal.SIGTERM)
            await registrar.wait(lambda: registrar.requests[-1].get("Expires") == "0", what="unregister")
            assert not any("s3cret" in line for line in program.lines)
        finally:
            program.stop()


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


async def test_second_sigterm_ends_calls():
    """The caller hears a BYE, not silence."""
    program = EdgeProgram()
    try:
        async with ScriptedWorker(program.worker_port), Caller(program.server) as caller:
            await caller.call()
            program.process.send_signal(signal.SIGTERM)
            await program.wait_event("edge_draining")
            program.process.send_signal(signal.SIGTERM)
            await caller.wait_request("BYE")
            await asyncio.get_running_loop().run_in_executor(None, program.process.wait, 10)
            assert program.process.returncode == 0
    finally:
        program.stop()


async def test_second_sigterm_with_a_caller_who_is_gone():
    """A BYE that nobody answers holds the process up for two seconds, not longer."""
    program = EdgeProgram()
    try:
        async with ScriptedWorker(program.worker_port) as worker, Caller(program.server) as caller:
            caller.auto_ok = False
            await caller.call()
            program.process.send_signal(signal.SIGTERM)
            await program.wait_event("edge_draining")
            program.process.send_signal(signal.SIGTERM)
            assert (await (await worker.call()).wait_for(Stop)).ended_by == "edge"
            await asyncio.get_running_loop().run_in_executor(None, program.process.wait, 10)
            assert program.process.returncode == 0
            caller.over = True
    finally:
        program.stop()
