"""Who may begin a call: strangers, rates, bans, room, digest; and reading requests that are hostile."""

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicebot.config.settings import SipSettings
from voicebot.edge.admission import DROP, MAX_SOURCES, PASS, Admission, EdgeState, SipRequest
from voicebot.edge.digest import NONCE_LIFE_S, DigestGate, DigestOutcome
from voicebot.edge.load_guard import WINDOW_TICKS, LoadGuard
from voicebot.edge.sip_agent.door import is_harmless, read_request

TRUNK = "10.0.0.1"
OTHER_TRUNK = "10.0.0.2"
STRANGER = "192.0.2.9"
FRONT = "10.9.9.9"


def door(digest=None, **changes):
    return Admission(
        SipSettings(trunks=("10.0.0.0/24",), fronts=(f"{FRONT}/32",), **changes), (), digest
    )


def state(**changes):
    values = {
        "draining": False, "ready": True, "overloaded": False, "live_calls": 0, "call_limit": 4,
        "half_open": lambda source: (0, 0),
    }  # fmt: skip
    return EdgeState(**(values | changes))


def invite(source=TRUNK, branch="", **more):
    return SipRequest("INVITE", source, branch=branch, **more)


def test_a_refer_is_refused_before_the_library():
    """In a dialog and outside; in one that was ending the library aborted instead of refusing it."""
    for in_dialog in (True, False):
        verdict = door().check(SipRequest("REFER", TRUNK, in_dialog=in_dialog), state(), 0)
        assert (verdict.code, verdict.reason) == (603, "refer")


def test_strangers_get_nothing_by_default():
    """Whatever they send, also inside a dialog; an ACK is not even counted."""
    gate = door()
    for method in ("INVITE", "OPTIONS", "REGISTER", "BYE"):
        verdict = gate.check(SipRequest(method, STRANGER, in_dialog=method == "BYE"), state(), 0)
        assert (verdict.code, verdict.reason) == (DROP, "source")
    assert gate.check(SipRequest("ACK", STRANGER), state(), 0).reason == ""


@pytest.mark.parametrize(
    ("body", "head", "harmless"),
    [
        ("Signal=5\r\nDuration=160", "Content-Length: 22", True),
        ("Signal=5\r\nDuration=160", "l:22", True),
        ("Signal= #\r\n", "Content-Length: 11", True),
        ("Signal=5", "Content-Length: 8", False),
        ("Signal=5\n", "Content-Length: 9", False),
        ("Signal=5\r\nDuration=160", "Content-Length: 8", False),
        ("Signal=5\r\nDuration=160", "Content-Length: 22\r\nContent-Length: 8", False),
        ("Signal=5\r\nDuration=160", "Content-Length: 22\r\nl:\r\n 8", False),
        ("Signal=5\r\nDuration=160", "X: y", False),
    ],
)
def test_keys_by_info_pass_only_in_the_usual_form(body, head, harmless):
    """What the library reads of the body is what was looked at: its length is told once, in one line."""
    for kind in ("Content-Type: application/dtmf-relay", "c: application/DTMF-Relay;x=y"):
        text = f"INFO sip:a@b SIP/2.0\r\n{kind}\r\n{head}\r\n\r\n{body}"
        assert is_harmless(text.encode()) is harmless
    folded = f"INFO sip:a@b SIP/2.0\r\nc:\r\n application/dtmf-relay\r\n{head}\r\n\r\n{body}"
    assert not is_harmless(folded.encode())
    assert is_harmless(f"INFO sip:a@b SIP/2.0\r\nc: text/plain\r\n\r\n{body} dtmf-relay".encode())


def test_what_was_cut_off_is_refused_up_to_a_rate():
    """Half an INVITE is no INVITE, in a call or not; a stranger learns nothing by it."""
    gate = door(invites_per_s=1, invite_burst=5)
    assert gate.check(invite(STRANGER, flaw=513), state(), 0).code == DROP
    assert gate.check(invite(flaw=513, in_dialog=True), state(), 0).code == 513
    codes = [gate.check(invite(flaw=513), state(), 0.001 * n).code for n in range(20)]
    assert codes == [513] * 4 + [DROP] * 16


FINE = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nTo: <sip:a@b>\r\nl: 4\r\nCall-ID: 1\r\n\r\nbody"


@pytest.mark.parametrize(
    ("old", "new", "flaw"),
    [
        ("", "", 0),
        ("l: 4", "l: 3", 0),
        ("l: 4\r\n", "", 0),
        ("Via: ", "Via: SIP/2.0/UDP g\r\nVia: ", 0),
        ("l: 4", "l: 5", 400),
        ("l: 4", "l: 4\r\nContent-Length: 4", 400),
        ("Call-ID", "I : 2\r\nCall-ID", 400),
        ("To: ", "t: <sip:c@d>\r\nTo: ", 400),
        ("INVITE", "OPTIONS", 0),
    ],
)
def test_flaws_that_the_library_does_not_see(old, new, flaw):
    """A body that is not all there, a header twice of which there must be one: no call begins so."""
    assert read_request(FINE.replace(old, new, 1).encode(), "127.0.0.1").flaw == flaw
    broken_bye = (
        FINE.replace("INVITE", "BYE").replace("<sip:a@b>", "<sip:a@b>;tag=1").replace("l: 4", "l: 9")
    )
    assert read_request(broken_bye.encode(), "127.0.0.1").flaw == 0


def test_strangers_may_get_403_up_to_a_rate():
    """A scan is answered at first and then no more."""
    gate = door(strangers="refuse", invites_per_s=1, invite_burst=5)
    codes = [gate.check(invite(STRANGER), state(), 0.001 * n).code for n in range(20)]
    assert codes == [403] * 5 + [DROP] * 15


def test_calls_in_progress_always_pass():
    """Draining, overloaded, full or under a flood: a request of a dialog gets through."""
    gate = door()
    worst = state(draining=True, overloaded=True, live_calls=4, half_open=lambda _: (9, 9))
    for method in ("BYE", "INVITE", "ACK", "INFO", "UPDATE"):
        assert gate.check(SipRequest(method, TRUNK, in_dialog=True), worst, 0) == PASS
    assert gate.check(SipRequest("OPTIONS", TRUNK, in_dialog=True), worst, 0).code == 200


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"draining": True}, "draining"),
        ({"overloaded": True}, "overload"),
        ({"live_calls": 4}, "no_slot"),
        ({"half_open": lambda source: (2, 2)}, "half_open"),
    ],
)
def test_no_room_is_503_with_retry_after(changes, reason):
    """Each reason under its own name."""
    verdict = door().check(invite(), state(**changes), 0)
    assert (verdict.code, verdict.reason) == (503, reason)
    assert dict(verdict.headers)["Retry-After"] == "5"


def test_young_half_open_calls_make_others_of_that_source_wait():
    """No answer: an honest caller repeats; other sources are let in."""
    waiting = state(half_open=lambda source: (0, 2 if source == TRUNK else 0))
    assert door().check(invite(), waiting, 0).code == DROP
    assert door().check(invite(OTHER_TRUNK), waiting, 0) == PASS


def test_options_tell_dispatchers_the_truth():
    """200 by the library, or 503 while no call could be taken."""
    options = SipRequest("OPTIONS", TRUNK)
    assert door().check(options, state(), 0) == PASS
    assert door().check(options, state(ready=False), 0).code == 503
    assert door().check(options, state(draining=True), 0).code == 503


def test_a_flood_is_cut_to_its_rate_and_others_do_not_suffer():
    """200 a second for ten seconds from one source: what is let in is the rate; the neighbour passes."""
    gate = door(invites_per_s=5, invite_burst=10)
    codes = [gate.check(invite(branch=f"z{n}"), state(), n / 200).code for n in range(2000)]
    assert codes.count(0) == pytest.approx(10 + 5 * 10, abs=2)
    assert codes.count(503) <= 10 + 2 * 5 * 10 + 2
    assert gate.check(invite(OTHER_TRUNK), state(), 10) == PASS


def test_repetitions_of_an_invite_cost_nothing():
    """The same branch passes again and takes nothing from the rate."""
    gate = door(invites_per_s=1, invite_burst=1)
    assert gate.check(invite(branch="a"), state(), 0) == PASS
    assert gate.check(invite(branch="a"), state(live_calls=4), 0.5) == PASS
    assert gate.check(invite(branch="b"), state(), 0.5).reason == "rate"


def test_sources_are_bounded():
    """A spoofing stranger cannot fill the memory."""
    gate = door(strangers="refuse")
    for n in range(3 * MAX_SOURCES):
        gate.check(invite(f"192.0.{n // 250}.{n % 250}"), state(), n)
    assert len(gate._sources) <= MAX_SOURCES


def test_behind_a_front_the_caller_counts_and_the_front_is_always_answered():
    """X-Source-Address of a front names the caller; of anybody else it means nothing."""
    gate = door(invites_per_s=1, invite_burst=1)
    assert gate.check(invite(FRONT, claimed=TRUNK), state(), 0) == PASS
    assert gate.check(invite(FRONT, claimed=STRANGER), state(), 0).code == 403
    assert gate.check(invite(STRANGER, claimed=TRUNK), state(), 0).code == DROP
    assert [gate.check(invite(FRONT, claimed=TRUNK), state(), 0.1).code for _ in range(9)] == [503] * 9
    assert gate.check(SipRequest("OPTIONS", FRONT), state(), 0) == PASS


# ---------------------------------------------------------------- digest


def answer(gate, *, user="ann", password="pw", uri="sip:bot@x", now_s=0.0, method="INVITE"):
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', gate.challenge(now_s)))
    nonce = challenge["nonce"]

    def h(text):
        return hashlib.md5(text.encode()).hexdigest()

    proof = h(f"{h(f'{user}:bank:{password}')}:{nonce}:00000001:c:auth:{h(f'{method}:{uri}')}")
    return (
        f'Digest username="{user}", realm="bank", nonce="{nonce}", uri="{uri}", qop=auth, '
        f'nc=00000001, cnonce="c", response="{proof}"'
    )


GATE = DigestGate("bank", {"ann": "pw"}, b"k" * 32)


def test_digest_answers():
    """Right, wrong in each part, too old, from another process, missing."""

    def checked(header, now_s=1.0, gate=GATE):
        return gate.check("INVITE", "sip:bot@x", header, now_s)

    assert checked(answer(GATE)) is DigestOutcome.GOOD
    assert checked(answer(GATE, password="no")) is DigestOutcome.BAD
    assert checked(answer(GATE, user="eve")) is DigestOutcome.BAD
    assert checked(answer(GATE, uri="sip:other@x")) is DigestOutcome.BAD
    assert checked(answer(GATE, method="BYE")) is DigestOutcome.BAD
    assert checked(answer(GATE), now_s=NONCE_LIFE_S + 2) is DigestOutcome.STALE
    assert checked(answer(GATE), gate=DigestGate("bank", {"ann": "pw"}, b"j" * 32)) is DigestOutcome.BAD
    assert checked("") is DigestOutcome.MISSING
    assert checked("Basic YTpi") is DigestOutcome.MISSING


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(max_size=200))
def test_no_digest_header_is_good_by_chance(text):
    """Arbitrary text is refused without an exception."""
    outcome = GATE.check("INVITE", "sip:bot@x", f"Digest {text}", 1.0)
    assert outcome is not DigestOutcome.GOOD


def test_brute_force_is_banned_and_looks_the_same_for_unknown_users():
    """Five wrong passwords, then silence for the ban; the right one is not heard either."""
    for user in ("ann", "nobody"):
        gate = door(GATE, ban_after=5, ban_s=600)
        codes = [
            gate.check(invite(authorization=answer(GATE, user=user, password="x"), uri="sip:bot@x"), state(), 1)
            for _ in range(7)
        ]  # fmt: skip
        assert [v.code for v in codes] == [401] * 4 + [DROP] * 3
        right = invite(authorization=answer(GATE, now_s=2), uri="sip:bot@x")
        assert gate.check(right, state(), 2).code == DROP
        late = invite(authorization=answer(GATE, now_s=602), uri="sip:bot@x")
        assert gate.check(late, state(), 602) == PASS


# ---------------------------------------------------------------- overload


def test_load_guard():
    """A quarter of two seconds late sheds; one stall does not; without calls all is forgotten."""
    guard = LoadGuard(60)
    for _ in range(WINDOW_TICKS):
        guard.tick(1000)
    for _ in range(WINDOW_TICKS // 4 - 1):
        guard.tick(80_000)
    assert not guard.overloaded
    guard.tick(80_000)
    assert guard.overloaded
    guard.idle()
    assert not guard.overloaded
    off = LoadGuard(0)
    for _ in range(WINDOW_TICKS):
        off.tick(10**9)
    assert not off.overloaded


# ---------------------------------------------------------------- reading

PLAIN = (
    b"INVITE sip:bot@10.0.0.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bKa\r\n"
    b"Via: SIP/2.0/UDP 9.9.9.9;branch=z9other\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\n"
    b"X-Source-Address: 1.1.1.1\r\nX-Source-Address: 2.2.2.2\r\nCSeq: 1 INVITE\r\n\r\n"
    b"\r\nTo: x;tag=body\r\n"
)


def test_what_the_door_reads():
    """Method, URI, topmost branch, tag of To only, the front's header last; nothing of the body."""
    request = read_request(PLAIN, TRUNK)
    assert (request.method, request.uri, request.branch) == ("INVITE", "sip:bot@10.0.0.9", "z9hG4bKa")
    assert (request.in_dialog, request.claimed) == (False, "2.2.2.2")
    assert read_request(PLAIN.replace(b"\nTo: <sip:b@b>", b"\nt: <sip:b@b> ; TAG=x"), TRUNK).in_dialog
    assert read_request(b"SIP/2.0 200 OK\r\n\r\n", TRUNK) is None
    assert read_request(b"", TRUNK) is None


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.data())
def test_mutated_requests_are_read_or_refused(data):
    """No exception and no slow expression, whatever the bytes."""
    message = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(message) - 1))
        message[place : place + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    request = read_request(bytes(message), TRUNK)
    assert request is None or request.source == TRUNK


def test_reading_a_full_datagram_of_one_letter_is_quick():
    """Four thousand bytes that almost match everywhere."""
    for piece in (
        b"via:;branch=",
        b"\nto:;tag",
        b"\nx-source-address: 1",
        b";" * 9,
        b"\nVia: ; branch ",
    ):
        read_request(b"INVITE a SIP/2.0\r\n" + piece * (4000 // len(piece)), TRUNK)
