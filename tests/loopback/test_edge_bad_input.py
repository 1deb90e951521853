"""Malformed SIP and SDP, torture messages, hostile contacts: the edge lives and answers the next call."""

import asyncio
import contextlib
import itertools
import re
import secrets
from pathlib import Path

import pytest

from tests.loopback.edge_program import ScriptedWorker, impatient_edge
from tests.loopback.raw_sip_caller import Caller

pytestmark = pytest.mark.loopback

TORTURE = Path(__file__).parents[1] / "data" / "rfc4475"


@pytest.fixture
def edge():
    """Un-ACKed calls are given up soon: torture INVITEs are never ACKed."""
    program = impatient_edge()
    yield program
    assert program.alive
    assert not program.events("sip_event_failed")


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


async def next_call_is_answered(edge, timeout_s=8.0):
    """A call gets 200 and audio, once the slots that bad INVITEs took are free."""
    end = asyncio.get_running_loop().time() + timeout_s
    while True:
        async with Caller(edge.server) as caller:
            response = await caller.call()
            if response.code == 200:
                await caller.hear(3)
                assert (await caller.hang_up()).code == 200
                return
        assert response.code in (486, 503), response.first_line
        assert asyncio.get_running_loop().time() < end, "slots did not become free"
        await asyncio.sleep(0.1)


async def all_slots_are_free(edge, timeout_s=8.0):
    """Four calls at once are answered: no slot is held by what went wrong before."""
    end = asyncio.get_running_loop().time() + timeout_s
    while True:
        async with contextlib.AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(Caller(edge.server)) for _ in range(4)]
            codes = [(await caller.call(repeats=True)).code for caller in callers]
            for caller, code in zip(callers, codes, strict=True):
                if code == 200:
                    assert (await caller.hang_up()).code == 200
        if codes == [200] * 4:
            return
        assert asyncio.get_running_loop().time() < end, f"slots did not become free: {codes}"
        await asyncio.sleep(0.1)


LEGAL = {"baddate", "esc01", "longreq", "sdp01", "wsinv", "inv2543"}
"""INVITEs of RFC 4475 that are correct, or whose defect is in what nobody needs."""
TOLERATED = {"escruri", "lwsstart"}
"""Those of which it says that one may refuse them or be liberal."""


async def test_torture_messages(edge, worker):
    """All RFC 4475 messages, in both orders: no invalid INVITE is answered, no slot is lost."""
    files = sorted(TORTURE.glob("*.dat"))
    assert len(files) >= 49
    sent = {}
    async with Caller(edge.server) as caller:
        for number, path in enumerate(itertools.chain(files, reversed(files))):
            if number < len(files):  # at first with a slot for each of them
                await edge.wait_until(lambda: sum(not c.ended for c in worker.calls) < 3, "a free slot")
            name = f"x{secrets.token_hex(8)}"
            sent[name] = path.stem
            datagram = path.read_bytes().replace(b"192.0.2.", b"127.0.2.")
            datagram = re.sub(
                rb"(?im)^((?:call-id|i)[ \t]*:[ \t\r\n]*)", rb"\g<1>" + name.encode(), datagram
            )
            caller.send_raw(datagram)
            await asyncio.sleep(0.02 if number < len(files) else 0.005)
    await all_slots_are_free(edge)
    answered = {sent[c.start.sip_call_id[:17]] for c in worker.calls if c.start.sip_call_id[:17] in sent}
    assert "longreq" in answered  # the test can tell
    assert answered <= LEGAL | TOLERATED, answered - LEGAL - TOLERATED


IPV6_SHAPES = {
    "reference in the request URI": (b"INVITE sip:bot@127.0.0.1:", b"INVITE sip:bot@[2001:db8::10]:"),
    "no brackets in the request URI": (b"INVITE sip:bot@127.0.0.1:", b"INVITE sip:bot@2001:db8::10:"),
    "brackets in received": (b";rport;", b";rport;received=[2001:db8::9:255];"),
    "no brackets in received": (b";rport;", b";rport;received=2001:db8::9:255;"),
    "reference in Via": (b"SIP/2.0/UDP 127.0.0.1:", b"SIP/2.0/UDP [2001:db8::9:1]:"),
    "port without brackets in Via": (b"SIP/2.0/UDP 127.0.0.1:", b"SIP/2.0/UDP 2001:db8::9:1:"),
    "reference in Contact": (b"Contact: <sip:alice@127.0.0.1", b"Contact: <sip:alice@[2001:db8::9:1]"),
    "IPv4 mapped": (b"Contact: <sip:alice@127.0.0.1", b"Contact: <sip:alice@[::ffff:192.0.2.10]"),
    "one colon too many": (
        b"Contact: <sip:alice@127.0.0.1",
        b"Contact: <sip:alice@[2001:db8:::192.0.2.1]",
    ),
    "zone": (b"Contact: <sip:alice@127.0.0.1", b"Contact: <sip:alice@[fe80::1%25lo]"),
    "media": (b"c=IN IP4 127.0.0.1", b"c=IN IP6 2001:db8::20"),
    "several media addresses": (b"c=IN IP4 127.0.0.1", b"c=IN IP6 ff1e:03ad::7f2e:172a:1e24/3"),
    "origin": (b"IN IP4 127.0.0.1\r\ns=", b"IN IP6 2001:db8::20\r\ns="),
}


async def test_addresses_of_ipv6(edge, worker):
    """The shapes of RFC 5118 over IPv4, which is all that the edge has: alive, no media to IPv6."""
    for name, (old, new) in IPV6_SHAPES.items():
        async with Caller(edge.server) as caller:
            sent = []
            caller.send_raw = sent.append
            caller.invite()
            del caller.send_raw
            assert old in sent[0], name
            head, _, body = sent[0].replace(old, new).partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
            lines.append(b"Content-Length: %d" % len(body))
            caller.send_raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            if "media" in name:
                assert (await caller.final()).code in (400, 488), name
            else:
                await asyncio.sleep(0.02)
    await next_call_is_answered(edge)


@pytest.mark.parametrize(
    "body",
    [
        "v=0\r\n",
        "garbage",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio x RTP/AVP 0\r\n",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 name.invalid\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP6 ::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        + "m=audio 4000 RTP/AVP 0\r\n" * 500,
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 4000 RTP/AVP 31\r\n",
    ],
    ids=["version-only", "garbage", "bad-port", "name-as-address", "ipv6", "500-streams", "video-only"],
)
async def test_bad_bodies_get_a_final_refusal(edge, worker, body):
    """No body without a usable audio stream is answered with 200."""
    async with Caller(edge.server) as caller:
        assert 400 <= (await caller.call(body)).code < 700


async def test_invites_without_body_that_are_refused_at_once(edge):
    """Refusing an INVITE without SDP must not abort the process; no worker is there, so it is 503."""
    for _ in range(3):
        async with Caller(edge.server) as caller:
            caller.invite(body="")
            response = await caller.final()
            assert response.code == 503
            assert int(response.get("Retry-After")) > 0


async def test_contact_with_a_name_does_not_stop_the_others(edge, worker):
    """A BYE to a host name that no server knows leaves the audio of another call even."""
    async with Caller(edge.server) as listener, Caller(edge.server) as hostile:
        await listener.call()
        await listener.hear(5)
        hostile_port = hostile.port
        hostile.port = f"{hostile_port}"
        sent = []
        original, hostile.send_raw = hostile.send_raw, sent.append
        hostile.invite()
        hostile.send_raw = original
        hostile.send_raw(
            sent[0].replace(
                f"Contact: <sip:alice@127.0.0.1:{hostile_port}>".encode(),
                b"Contact: <sip:alice@nowhere.invalid>",
            )
        )
        assert (await hostile.final()).code == 200
        start = len(listener.rtp)
        hostile.over = True
        await listener.hear(
            start + 75
        )  # its ACK never comes: the edge gives up and says BYE to the name
        times = [p.at_s for p in listener.rtp[start:]]
        assert max(b - a for a, b in itertools.pairwise(times)) < 0.5
        await listener.hang_up()
