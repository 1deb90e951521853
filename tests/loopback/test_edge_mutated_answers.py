"""Who we dial answers with random defects, and goes on so in the call: the edge and the caller beside it live."""

import itertools
import random
import re
from collections import Counter

import pytest

from tests.loopback.edge_program import ScriptedWorker, shared_edge
from tests.loopback.raw_sip_caller import Caller
from tests.loopback.test_edge_bad_input import all_slots_are_free
from tests.loopback.test_edge_mutated_sip import damaged, of_this_call, stays_here, with_body
from voicebot.link.messages import Dial, LegEnded, Result, Unbridge

pytestmark = pytest.mark.loopback

COURSES = (
    *((180, 200), (183, 200), (183, 183, 200), (200,), (200, 200), (183, 486), (180, 180, 603)),
    *((302,), (401,), (407,), (420,), (422,), (491,), (500,), (600,), (100, 199, 200)),
)
HEADERS = (
    *("Require: 100rel", "RSeq: 1", "Supported: timer,100rel", "Session-Expires: 90;refresher=uac"),
    *(
        "Contact: *",
        "Contact: <sip:x@127.0.0.1:9>",
        "Retry-After: 5",
        "Record-Route: <sip:127.0.0.1;lr>",
    ),
    'WWW-Authenticate: Digest realm="a", nonce="b"',
    'Proxy-Authenticate: Digest realm="a", nonce="b", qop="auth"',
    *(
        "Content-Disposition: session;handling=required",
        "Min-SE: 7200",
        "Unsupported: timer",
        "To: <sip:x>",
    ),
)
DIRECTIONS = ("sendrecv", "sendonly", "inactive", "recvonly")


@pytest.fixture
def edge():
    """It may dial this machine, and soon gives up what is not answered."""
    program = shared_edge(
        "mutated answers",
        sip={"allow_outgoing": True, "ack_deadline_ms": 500, "answer_deadline_ms": 1000},
    )
    yield program
    assert program.alive
    assert not program.events("sip_event_failed")


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


def answer(callee, invite, code, chance):
    """A response to our INVITE, three times in four with defects: anywhere, in a header or in its body."""
    body = ""
    if code in (183, 200) and chance.random() < 0.9:
        body = callee.sdp(direction=chance.choice(DIRECTIONS))
    callee.send_raw = (sent := []).append
    callee.respond(invite, code, "Some", body, chance.sample(HEADERS, chance.choice([0, 0, 1, 2])))
    del callee.send_raw
    head, _, body = sent[0].partition(b"\r\n\r\n")
    while True:
        data = sent[0]
        match chance.randrange(4):
            case 0:
                data = damaged(data, chance)
            case 1 if body:
                data = with_body(head, damaged(body, chance))
            case 2:
                lines = head.split(b"\r\n")
                at = chance.randrange(len(lines))
                lines[at] = damaged(lines[at], chance)
                data = b"\r\n".join([*lines, b"", body])
        if stays_here(data):
            return data


def results(call, request):
    return [r for r in call.of(Result) if r.request == request]


async def dialled(call, callee, name):
    """The INVITE that the edge sends; None when no slot is free yet."""
    seen = len(callee.requests)
    uri = f"sip:x@127.0.0.1:{callee.port}"
    await call.send(Dial(request=f"d-{name}", leg=f"l-{name}", uri=uri, timeout_s=1.0))

    def come():
        new = (r for r in callee.requests[seen:] if r.method == "INVITE")
        return next(new, None) or next(iter(results(call, f"d-{name}")), None)

    found = await call.wait(come, 20, "INVITE")
    if isinstance(found, Result):
        assert found.code == 503
        return None
    callee.call_id, callee.to_tag = found.get("Call-ID"), re.findall("tag=(.+)", found.get("From"))[0]
    callee.target = found.get("Contact").strip("<>")
    return found


async def one_leg(call, callee, name, chance):
    """Dial, answer badly, misbehave in the call, end; returns the outcome of the dialling."""
    invite = await dialled(call, callee, name)
    if invite is None:
        return None
    for code in chance.choice(COURSES):
        callee.send_raw(answer(callee, invite, code, chance))
    if chance.random() < 0.5:
        callee.respond(invite, 200, "OK", callee.sdp())
    callee.respond(invite, 486, "Busy Here")  # the last word, where nothing before was understood
    (told,) = await call.wait(lambda: results(call, f"d-{name}"), 20, "result of the dialling")
    if told.ok:
        for _ in range(chance.randrange(4)):
            callee.send_raw(of_this_call(callee, chance))
        if chance.random() < 0.5:
            callee.request("BYE")  # not heeded when one of the requests before had a greater number
        await call.send(Unbridge(request=f"u-{name}", leg=f"l-{name}"))
        await call.wait(
            lambda: any(e.leg == f"l-{name}" for e in call.of(LegEnded)), 20, "end of the leg"
        )
    return told


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(40, id="short"),
        pytest.param(2000, id="long", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_mutated_answers_of_who_we_dial(edge, worker, count):
    """1xx, 2xx, 3xx to 6xx, SDP, and requests in the call: each dialling has one outcome, each leg one end."""
    chance = random.Random(3264)
    codes = Counter()
    async with Caller(edge.server) as caller:
        await caller.call(repeats=True)
        call = await worker.call()
        names = iter(range(10 * count))
        while sum(codes.values()) < count:
            caller.send_rtp(b"\xaa" * 160)  # a line that brings nothing is given up
            async with Caller(edge.server) as callee:
                callee.over = True  # each leg is ended in its own way
                name = next(names)
                callee.tag = f"t{name}"
                told = await one_leg(call, callee, name, chance)
                if told is not None:
                    codes[told.code] += 1
                    assert len(results(call, f"d-{name}")) == 1
        assert caller.rtp
        numbers = [packet.sequence_number for packet in caller.rtp]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(numbers))
        assert (await caller.hang_up()).code == 200
    await all_slots_are_free(edge)
    print(f"{count} diallings: outcomes {sorted(codes.items())}")  # noqa: T201 - figures
    assert codes[200] >= count / 10
    assert sum(codes[code] for code in codes if code >= 300) >= count / 10
    assert not [line for line in edge.lines if "Traceback" in line]
