"""SIP and SDP with random defects, outside of calls and in them: the edge lives and answers the next call.

The SIP library is built with assertions, so that whatever reaches one ends the process and its calls.
"""

import contextlib
import random
import re
import secrets
from collections import Counter

import pytest

from tests.loopback.edge_program import ScriptedWorker, impatient_edge
from tests.loopback.raw_sip_caller import Caller
from tests.loopback.test_edge_bad_input import all_slots_are_free

pytestmark = pytest.mark.loopback

BATCH = 4  # as many as there are slots
WARM_UP = 100
MOST_GROWTH_KIB = 5_000


@pytest.fixture
def edge():
    """Calls that are never acknowledged, or whose end is not heard, are given up soon."""
    program = impatient_edge()
    yield program
    assert program.alive
    assert not program.events("sip_event_failed")


@pytest.fixture
async def worker(edge):
    async with ScriptedWorker(edge.worker_port) as scripted:
        yield scripted


def damaged(text, chance):
    """One to eight defects: a byte changed, some cut out, some doubled."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(data))
        kind = chance.randrange(3)
        if kind == 0:
            data[place] = chance.randrange(256)
        elif kind == 1:
            del data[place : place + chance.randint(1, 40)]
        else:
            data[place:place] = data[place : place + chance.randint(1, 40)]
        if not data:
            break
    return bytes(data)


def mutated(template, number, chance):
    """An INVITE of a call and a transaction of its own; every second one is damaged in its body only."""
    fresh = f"{number}x{secrets.token_hex(6)}".encode()
    whole = template.replace(b"Call-ID: ", b"Call-ID: " + fresh)
    whole = whole.replace(b"branch=z9hG4bK", b"branch=z9hG4bK" + fresh)
    head, _, body = whole.partition(b"\r\n\r\n")
    while True:
        data = damaged(whole, chance)
        if number % 2:
            data = with_body(head, damaged(body, chance))
        if stays_here(data):
            return data


def with_body(head, body):
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"Content-Length: [0-9]+", length, head) + b"\r\n\r\n" + body


def stays_here(data):
    """It names no other machine, so that nothing that answers it leaves this one."""
    addresses = re.findall(rb"[0-9]+(?:\.[0-9]+)+", data)
    return all(address.startswith((b"127.", b"2.0")) for address in addresses)  # 2.0: SIP/2.0


def end_call(caller, answer):
    """ACK and BYE for a 200: the next INVITE finds a free slot, and its body is looked at."""
    number = int(answer.get("CSeq").split()[0])
    for method, cseq in (("ACK", number), ("BYE", number + 1)):
        lines = [
            f"{method} sip:bot@127.0.0.1:{caller.server[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {caller.host}:{caller.port};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 70",
            *(f"{name}: {answer.get(name)}" for name in ("From", "To", "Call-ID")),
            f"CSeq: {cseq} {method}",
            "Content-Length: 0",
        ]
        caller.send_raw("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))


async def still_answers(caller):
    """The edge has dealt with what was sent before; asked again where the system dropped a datagram."""
    for _ in range(10):
        caller.cseq += 1000
        caller.request("OPTIONS")
        with contextlib.suppress(AssertionError):
            await caller.final("OPTIONS", timeout_s=3)
            return
    raise AssertionError("no answer to OPTIONS")


async def send_mutated(edge, count, chance):
    """So many, in batches; returns how often each final answer came."""
    codes = Counter()
    async with Caller(edge.server) as caller:
        caller.auto_ok = False
        caller.over = True
        caller.send_raw = (sent := []).append
        caller.invite()
        del caller.send_raw
        finished = set()
        for number in range(count):
            caller.send_raw(mutated(sent[0], number, chance))
            if number % BATCH < BATCH - 1:
                continue
            await still_answers(caller)
            for response in caller.responses:
                name = response.get("Call-ID")
                if name in finished or response.code < 200 or "INVITE" not in response.get("CSeq"):
                    continue
                finished.add(name)
                codes[response.code] += 1
                if response.code == 200:
                    end_call(caller, response)
            caller.responses.clear()
            caller.requests.clear()
        for size in (0, 1, 3, 60, 200, 400):
            caller.send_raw(sent[0][:size])
        caller.send_raw(b"\r\n\r\n")
        caller.send_raw(bytes(range(256)) * 8)
    return codes


SDP = "SDP"
BODIES = (
    ("INFO", "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"),
    ("INFO", "application/media_control+xml", "<media_control><vc_primitive/></media_control>"),
    ("INFO", "application/trickle-ice-sdpfrag", "a=ice-ufrag:x\r\na=mid:0\r\n"),
    ("NOTIFY", "message/sipfrag;version=2.0", "SIP/2.0 200 OK\r\n"),
    ("MESSAGE", "application/im-iscomposing+xml", "<isComposing><state>active</state></isComposing>"),
    ("INVITE", "application/sdp", SDP),
    (
        "INVITE",
        "multipart/mixed;boundary=b",
        f"--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b--",
    ),
    ("INVITE", "text/plain", ""),
    ("UPDATE", "application/sdp", SDP),
    ("ACK", "application/sdp", SDP),
    *(
        (method, "text/plain", "")
        for method in ("REFER", "PRACK", "SUBSCRIBE", "CANCEL", "OPTIONS", "ACK")
    ),
)
HEADERS = (
    *(
        "Refer-To: <sip:x@127.0.0.1:9>",
        "Event: refer",
        "Subscription-State: terminated",
        "RAck: 1 1 INVITE",
    ),
    *("Session-Expires: 90;refresher=uas", "Min-SE: 90", "Supported: timer,100rel", "Require: timer"),
    *("Require: 100rel", "Replaces: a;to-tag=b;from-tag=c", "Expires: 60", "Contact: *", "Timestamp: 1"),
    *(
        'Authorization: Digest username="a"',
        "Retry-After: 5",
        "Reason: Q.850;cause=16",
        "Info-Package: x",
    ),
)


def of_this_call(caller, chance):
    """A request of the caller's dialog, three times in four with defects in it, in a header or in its body."""
    method, kind, body = chance.choice(BODIES)
    direction = chance.choice(["sendrecv", "sendonly", "inactive", "recvonly"])
    caller.send_raw = (sent := []).append
    caller.request(
        method,
        body.replace(SDP, caller.sdp(direction=direction)),
        chance.sample(HEADERS, chance.randint(0, 4)),
        content_type=kind,
    )
    del caller.send_raw
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
                at = chance.randrange(1, len(lines))
                lines[at] = damaged(lines[at], chance)
                data = b"\r\n".join([*lines, b"", body])
        if stays_here(data):
            return data


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(200, id="short"),
        pytest.param(5000, id="long", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_mutated_requests_in_a_call(edge, worker, count):
    """Re-INVITE, UPDATE, INFO, REFER and others, with tags that fit: alive, no traceback, no slot lost."""
    chance = random.Random(3261)
    codes = Counter()
    sent = 0
    async with Caller(edge.server) as other:
        other.over = True
        while sent < count:
            async with Caller(edge.server) as caller:
                if (await caller.call(repeats=True)).code != 200:
                    continue
                for _ in range(40):
                    if caller.over:  # one of the last was understood as the end
                        break
                    caller.send_raw(of_this_call(caller, chance))
                    sent += 1
                    if sent % BATCH == 0:
                        await still_answers(other)
                codes.update(response.code for response in caller.responses)
    await all_slots_are_free(edge)
    print(f"{sent} requests in calls: answers {sorted(codes.items())}")  # noqa: T201 - figures
    assert codes[200] >= 5
    assert sum(codes[code] for code in (400, 415, 481, 488)) >= 5
    assert not [line for line in edge.lines if "Traceback" in line]


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(300, id="short"),
        pytest.param(5000, id="long", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_mutated_invites(edge, worker, count):
    """Bytes changed, cut or doubled: alive, no traceback, memory +< 5 MB, no slot lost."""
    chance = random.Random(4475)
    await send_mutated(edge, WARM_UP, chance)
    before_kib = edge.memory_kib
    codes = await send_mutated(edge, count, chance)
    await all_slots_are_free(edge)
    grown_kib = edge.memory_kib - before_kib
    print(f"{count} mutated INVITEs: answers {sorted(codes.items())}, memory {grown_kib:+} KiB")  # noqa: T201
    assert codes[200] >= 5  # the defects reached what reads bodies
    assert sum(codes[code] for code in (400, 415, 488)) > count / 20
    assert grown_kib < MOST_GROWTH_KIB
    assert not [line for line in edge.lines if "Traceback" in line]
