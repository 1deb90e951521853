"""What the worker does with legs: transfer, dial, bridge, hold, keys; on loopback with real SIP and RTP."""

import asyncio
import struct

import pytest

from tests.loopback.edge_program import ScriptedWorker, common_edge
from tests.loopback.raw_sip_caller import Caller
from voicebot.link.messages import (
    Bridge,
    Dial,
    Dtmf,
    Held,
    Hold,
    LegEnded,
    Result,
    SendDtmf,
    Stop,
    Transfer,
    TransferProgress,
    Unbridge,
)

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


async def result_of(call, request, timeout_s=5.0) -> Result:
    return await call.wait(
        lambda: next((r for r in call.of(Result) if r.request == request), None),
        timeout_s,
        f"result of {request}",
    )


async def notify(caller, code, reason, state):
    """One NOTIFY of a REFER's outcome, inside the dialog."""
    caller.request(
        "NOTIFY",
        f"SIP/2.0 {code} {reason}\r\n",
        ["Event: refer", f"Subscription-State: {state}"],
        content_type="message/sipfrag;version=2.0",
    )
    assert (await caller.final("NOTIFY")).code == 200


async def test_transfer_is_followed_to_its_end_then_bye(edge, worker):
    """REFER, 202, NOTIFY 100 and 200: the worker hears each, then the bot says BYE."""
    async with Caller(edge.server) as caller:
        caller.auto_ok = False
        await caller.call()
        call = await worker.call()
        await call.send(Transfer(request="t", uri="sip:desk@127.0.0.1:5999", headers={"X-Ticket": "7"}))
        refer = await caller.wait_request("REFER")
        assert refer.get("Refer-To").strip("<>") == "sip:desk@127.0.0.1:5999"
        assert refer.get("X-Ticket") == "7"
        caller.respond(refer, 202, "Accepted")
        await notify(caller, 100, "Trying", "active;expires=60")
        await notify(caller, 200, "OK", "terminated;reason=noresource")
        result = await result_of(call, "t")
        assert (result.ok, result.code) == (True, 200)
        assert call.of(TransferProgress)[-1].final
        bye = await caller.wait_request("BYE")
        caller.respond(bye)
        assert (await call.wait_for(Stop)).reason == "transferred"


@pytest.mark.parametrize("by_notify", [False, True], ids=["refer-refused", "notify-486"])
async def test_failed_transfer_leaves_the_call_up(edge, worker, by_notify):
    """A refused REFER or a busy target is told; the caller stays with the bot."""
    async with Caller(edge.server) as caller:
        caller.auto_ok = False
        await caller.call()
        call = await worker.call()
        await call.send(Transfer(request="t", uri="sip:desk@127.0.0.1:5999"))
        refer = await caller.wait_request("REFER")
        if by_notify:
            caller.respond(refer, 202, "Accepted")
            await notify(caller, 486, "Busy Here", "terminated;reason=noresource")
        else:
            caller.respond(refer, 405, "Method Not Allowed")
        result = await result_of(call, "t")
        assert not result.ok
        assert result.code == (486 if by_notify else 405)
        count = len(caller.rtp)
        await caller.hear(count + 5)
        assert (await caller.hang_up()).code == 200


@pytest.mark.parametrize(
    "uri",
    [
        "sip:x@192.0.2.7",
        "tel:+19005550100",
        "sip:x@127.0.0.1?Replaces=1",
        "sip:x@127.0.0.1\r\nX-Evil: 1",
        "<sip:x@127.0.0.1>;x=1",
    ],
)
async def test_destinations_outside_the_list_are_refused(edge, worker, uri):
    """Neither REFER nor INVITE leaves for them."""
    async with Caller(edge.server) as caller:
        await caller.call()
        call = await worker.call()
        await call.send(Transfer(request="t", uri=uri))
        await call.send(Dial(request="d", leg="l", uri=uri))
        assert [(await result_of(call, r)).code for r in ("t", "d")] == [403, 403]
        assert not [m for m in caller.requests if m.method == "REFER"]
        await caller.hang_up()


async def dial(call, agent, request="d", leg="agent"):
    await call.send(
        Dial(request=request, leg=leg, uri=f"sip:agent@127.0.0.1:{agent.port}", headers={"X-Call": "1"})
    )
    invite = await agent.wait_request("INVITE")
    agent.call_id = invite.get("Call-ID")
    return invite


@pytest.mark.parametrize("early", ["garbage", "G.729", "no port", "video"])
async def test_early_media_that_cannot_be_agreed_on(edge, worker, early):
    """A 183 with such a body, then a good 200: the library ran into an assertion, and four calls ended."""
    async with Caller(edge.server) as caller, Caller(edge.server) as agent:
        await caller.call()
        call = await worker.call()
        invite = await dial(call, agent)
        body = {
            "garbage": "garbage",
            "G.729": agent.sdp(payload_types="18"),
            "no port": agent.sdp(port=0),
            "video": agent.sdp().replace("m=audio", "m=video"),
        }[early]
        agent.respond(invite, 183, "Session Progress", body)
        agent.respond(invite, 180, "Ringing")
        agent.respond(invite, 200, "OK", agent.sdp())
        assert (await result_of(call, "d")).ok
        await agent.hear(3)
        assert (await caller.hang_up()).code == 200
        await agent.wait_request("BYE")  # who leaves without an answer to it holds a slot for seconds


async def test_a_second_answer_without_a_tag(edge, worker):
    """A 200 without SDP, then another whose To names no dialog: the library aborted, and four calls ended."""
    async with Caller(edge.server) as caller, Caller(edge.server) as agent:
        await caller.call()
        call = await worker.call()
        invite = await dial(call, agent)
        agent.respond(invite, 200, "OK")
        agent.respond(invite, 200, "OK", agent.sdp(), ["To: <sip:x>"])
        assert not (await result_of(call, "d")).ok
        await agent.wait_request("BYE")
        await caller.hear(3)
        assert (await caller.hang_up()).code == 200


def accept(agent, invite, payload_types="8 96"):
    """Answer with A-law and telephone events of type 96, whatever was offered."""
    agent.to_tag = invite.get("From").partition("tag=")[2]
    agent.target = invite.get("Contact").strip("<>")
    agent.event_payload_type = 96
    agent.respond(invite, 200, "OK", agent.sdp(payload_types=payload_types))


async def test_bridge_carries_audio_and_keys_both_ways(edge, worker):
    """Caller with mu-law and a leg with A-law hear each other; keys get the other side's payload type."""
    async with Caller(edge.server, payload_types="0 101") as caller, Caller(edge.server) as agent:
        await caller.call()
        call = await worker.call()
        await caller.talk(3)
        invite = await dial(call, agent)
        assert invite.get("X-Call") == "1"
        agent.respond(invite, 180, "Ringing")
        await call.wait_for(TransferProgress)
        accept(agent, invite)
        assert (await result_of(call, "d")).ok
        await agent.talk(3, b"\xd5" * 160, 8)
        await call.send(Bridge(request="b", leg="agent"))
        assert (await result_of(call, "b")).ok
        await asyncio.gather(
            caller.talk(30, b"\x2a" * 160, 0),  # mu-law 0x2A is A-law 0x0B after G.711 transcoding
            agent.talk(30, b"\x0b" * 160, 8),
        )
        loud_agent = {p.payload for p in agent.rtp if p.payload_type == 8 and p.payload[0] != 0xD5}
        loud_caller = {p.payload for p in caller.rtp if p.payload_type == 0 and p.payload[0] != 0xFF}
        assert len(loud_agent) == 1
        assert len(loud_caller) == 1
        assert sum(p.payload in loud_agent for p in agent.rtp) >= 25
        assert sum(p.payload in loud_caller for p in caller.rtp) >= 25
        caller.press("4")
        await agent.wait(lambda: any(p.payload_type == 96 for p in agent.rtp))
        assert {p.payload[0] for p in agent.rtp if p.payload_type == 96} == {4}
        await call.wait_for(Dtmf)
        for side in (caller, agent):
            seqs = [p.sequence_number for p in side.rtp]
            assert seqs == [(seqs[0] + i) & 0xFFFF for i in range(len(seqs))]
        await call.send(Unbridge(request="u", leg="agent"))
        await agent.wait_request("BYE")
        assert (await call.wait_for(LegEnded)).leg == "agent"
        count = len(caller.rtp)
        await caller.hear(count + 5)
        await caller.hang_up()


async def test_caller_hanging_up_ends_the_bridged_leg(edge, worker):
    """BYE of the caller leads to BYE on the leg."""
    async with Caller(edge.server) as caller, Caller(edge.server) as agent:
        await caller.call()
        call = await worker.call()
        accept(agent, await dial(call, agent))
        await result_of(call, "d")
        await call.send(Bridge(request="b", leg="agent"))
        await result_of(call, "b")
        await caller.hang_up()
        await agent.wait_request("BYE")


async def test_leg_that_is_busy(edge, worker):
    """The final status of a dialled leg is the result; bridging it then fails."""
    async with Caller(edge.server) as caller, Caller(edge.server) as agent:
        await caller.call()
        call = await worker.call()
        agent.respond(await dial(call, agent), 486, "Busy Here")
        result = await result_of(call, "d")
        assert (result.ok, result.code) == (False, 486)
        await call.send(Bridge(request="b", leg="agent"))
        assert not (await result_of(call, "b")).ok
        await caller.hang_up()


async def test_leg_that_nobody_answers_is_cancelled(edge, worker):
    """Dial gives up after its time-out."""
    async with Caller(edge.server) as caller, Caller(edge.server) as agent:
        agent.auto_ok = False
        await caller.call()
        call = await worker.call()
        await call.send(Dial(request="d", leg="l", uri=f"sip:a@127.0.0.1:{agent.port}", timeout_s=0.2))
        invite = await agent.wait_request("INVITE")
        agent.call_id = invite.get("Call-ID")
        agent.respond(invite, 180, "Ringing")
        cancel = await agent.wait_request("CANCEL")
        agent.respond(cancel)
        agent.respond(invite, 487, "Request Terminated")
        result = await result_of(call, "d")
        assert (result.ok, result.code) == (False, 487)
        await caller.hang_up()


async def test_bot_puts_the_caller_on_hold(edge, worker):
    """Hold is a re-INVITE with sendonly, taking back is one with sendrecv; the worker is told no Held."""
    async with Caller(edge.server) as caller:
        caller.auto_ok = False
        await caller.call()
        call = await worker.call()
        await call.send(Hold(request="h", held=True))
        hold = await caller.wait_request("INVITE")
        assert "a=sendonly" in hold.body
        assert f"m=audio {caller.media[1]} " in hold.body
        caller.respond(hold, 200, "OK", caller.sdp(direction="recvonly"))
        await caller.wait_request("ACK")
        assert (await result_of(call, "h")).ok
        await call.send(Hold(request="r", held=False))
        taken = len(caller.requests)
        back = await caller.wait_request("INVITE", after=taken)
        assert "a=sendrecv" in back.body
        caller.respond(back, 200, "OK", caller.sdp())
        await caller.wait_request("ACK", after=taken)
        assert not call.of(Held)
        caller.auto_ok = True
        await caller.hang_up()


async def test_keys_out_as_events_or_info(edge, worker):
    """SendDtmf uses the agreed payload type, or INFO where no telephone event was agreed."""
    async with Caller(edge.server, event_payload_type=96, payload_types="0 96") as caller:
        await caller.call()
        call = await worker.call()
        await call.send(SendDtmf(request="k", digits="4#"))
        assert (await result_of(call, "k")).ok
        await caller.wait(
            lambda: (
                {p.payload[0] for p in caller.rtp if p.payload_type == 96 and p.payload[1] & 0x80}
                == {4, 11}
            )
        )
        starts = [p for p in caller.rtp if p.payload_type == 96 and p.marker]
        assert [p.payload[0] for p in starts] == [4, 11]
        assert len({p.timestamp for p in caller.rtp if p.payload_type == 96}) == 2
        assert struct.unpack("!H", starts[0].payload[2:])[0] > 0
        await caller.hang_up()
    async with Caller(edge.server, payload_types="0") as caller:
        body = "".join(
            line + "\r\n" for line in caller.sdp().split("\r\n") if line and "101" not in line
        )
        await caller.call(body)
        call = await worker.call(2)
        await call.send(SendDtmf(request="k", digits="9"))
        info = await caller.wait_request("INFO")
        assert "Signal=9" in info.body
        await caller.hang_up()
