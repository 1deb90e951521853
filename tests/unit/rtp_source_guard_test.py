import ipaddress

import pytest

from tests.unit.rtp_kit import FRAME_US, audio
from voicebot.rtp.source_guard import SourceGuard, SourceVerdict, media_address_allowed

CALLER = "127.0.0.2"
ACCEPTED = SourceVerdict.ACCEPTED


def locked(**settings) -> SourceGuard:
    guard = SourceGuard(CALLER, 4000, **settings)
    for index in range(50):
        assert guard.check(CALLER, 4000, audio(index), index * FRAME_US) is ACCEPTED
    return guard


def test_locks_on_the_signalled_source():
    """The SDP's address and port are heard at once, and answered."""
    guard = SourceGuard(CALLER, 4000)
    assert guard.remote == (CALLER, 4000) and not guard.locked
    assert guard.check(CALLER, 4000, audio(0), 0) is ACCEPTED
    assert guard.locked


def test_learns_the_port_behind_a_translator():
    """A first packet from another port of the address is heard and answered there."""
    guard = SourceGuard(CALLER, 4000)
    assert guard.check(CALLER, 50_000, audio(0), 0) is ACCEPTED
    assert guard.remote == (CALLER, 50_000)


@pytest.mark.parametrize("caller", ["talking", "silent", "on hold", "not yet there"])
@pytest.mark.parametrize("same_ssrc", [True, False])
def test_a_stranger_gets_nothing(caller, same_ssrc):
    """800 packets/s for 10 s from another address: none accepted, the destination stays."""
    guard = SourceGuard(CALLER, 4000) if caller == "not yet there" else locked()
    guard.held = caller == "on hold"
    for index in range(8000):
        now_us = 1_000_000 + index * 1250
        if caller == "talking" and index % 16 == 0:
            packet = audio(50 + index // 16)
            assert guard.check(CALLER, 4000, packet, now_us) is ACCEPTED
        packet = audio(50 + index, ssrc=1 if same_ssrc else 666)
        assert guard.check("127.0.0.3", 4000, packet, now_us) is SourceVerdict.STRANGER
    assert guard.remote == (CALLER, 4000)
    assert guard.dropped[SourceVerdict.STRANGER] == 8000
    assert guard.switches == 0


def test_a_neighbour_on_the_callers_address_is_not_followed():
    """Another process at the same address, with its own SSRC, never takes over a silent caller."""
    guard = locked()
    for index in range(8000):
        verdict = guard.check(CALLER, 4002, audio(index, ssrc=9), 1_000_000 + index * 1250)
        assert verdict is SourceVerdict.UNCONFIRMED
    assert guard.remote == (CALLER, 4000)


def test_port_change_is_followed_when_the_old_port_is_silent():
    """The caller's stream goes on from another port: accepted after 10 packets and the silence."""
    guard = locked(silence_us=100_000)
    verdicts = [guard.check(CALLER, 4002, audio(index), index * FRAME_US) for index in range(50, 80)]
    assert verdicts == [SourceVerdict.UNCONFIRMED] * 9 + [ACCEPTED] * 21
    assert guard.remote == (CALLER, 4002) and guard.switches == 1


def test_port_change_waits_for_the_silence():
    """10 packets are not enough while the old port has been heard within the last second."""
    guard = locked(silence_us=1_000_000)
    verdicts = [guard.check(CALLER, 4002, audio(index), index * FRAME_US) for index in range(50, 110)]
    assert verdicts.index(ACCEPTED) == 49


def test_port_change_is_not_followed_while_the_old_port_talks():
    """A copy of the stream from another port never wins against the live one."""
    guard = locked(silence_us=100_000)
    for index in range(50, 500):
        assert guard.check(CALLER, 4000, audio(index), index * FRAME_US) is ACCEPTED
        verdict = guard.check(CALLER, 4002, audio(index), index * FRAME_US + 1)
        assert verdict is SourceVerdict.UNCONFIRMED
    assert guard.remote == (CALLER, 4000)


def test_no_port_change_on_hold():
    """On hold silence is normal, so nobody is followed."""
    guard = locked()
    guard.held = True
    for index in range(50, 500):
        assert guard.check(CALLER, 4002, audio(index), index * FRAME_US) is not ACCEPTED


def test_the_signalled_port_wins():
    """Whoever was learnt or followed: a packet from the SDP's port takes the lock back."""
    guard = SourceGuard(CALLER, 4000)
    guard.check(CALLER, 50_000, audio(0), 0)
    assert guard.check(CALLER, 4000, audio(1), FRAME_US) is ACCEPTED
    assert guard.remote == (CALLER, 4000)
    assert guard.check(CALLER, 50_000, audio(2), 2 * FRAME_US) is SourceVerdict.UNCONFIRMED


def test_new_ssrc_is_followed_only_if_asked_for():
    """Media servers that change port and SSRC together need the setting."""
    guard = locked(follow_new_ssrc=True)
    verdicts = [
        guard.check(CALLER, 4002, audio(index, ssrc=2), 3_000_000 + index * FRAME_US)
        for index in range(10)
    ]
    assert verdicts == [SourceVerdict.UNCONFIRMED] * 9 + [ACCEPTED]


def test_new_sdp():
    """A re-INVITE with another address starts anew; with the same one it changes nothing."""
    guard = locked()
    guard.expect(CALLER, 4000)
    assert guard.locked
    guard.expect("127.0.0.9", 6000)
    assert not guard.locked and guard.remote == ("127.0.0.9", 6000)
    assert guard.check(CALLER, 4000, audio(50), 0) is SourceVerdict.STRANGER


def test_payload_types_and_low_ports():
    """Payloads that were not agreed and privileged ports neither lock nor pass."""
    guard = SourceGuard(CALLER, 4000, payload_types=[0, 101])
    assert guard.check(CALLER, 4000, audio(0, payload_type=8), 0) is SourceVerdict.INVALID
    assert guard.check(CALLER, 53, audio(0), 0) is SourceVerdict.INVALID
    assert not guard.locked


def test_rtcp():
    """RTCP counts only from the peer's address, and only once RTP came."""
    guard = SourceGuard(CALLER, 4000)
    assert not guard.check_rtcp(CALLER)
    guard.check(CALLER, 4000, audio(0), 0)
    assert guard.check_rtcp(CALLER)
    assert not guard.check_rtcp("127.0.0.3")


@pytest.mark.parametrize(
    ("address", "port", "allowed"),
    [
        ("127.0.0.2", 4000, True),
        ("127.0.0.2", 1024, True),
        ("127.0.0.2", 1023, False),
        ("127.0.0.2", 0, False),
        ("127.0.0.2", 65536, False),
        ("8.8.8.8", 4000, False),
        ("0.0.0.0", 4000, False),
        ("224.0.0.1", 4000, False),
        ("localhost", 4000, False),
        ("127.0.0.2.evil.example", 4000, False),
        ("", 4000, False),
        ("::1", 4000, True),
        ("::ffff:127.0.0.2", 4000, False),
        ("2001:db8::1", 4000, False),
    ],
)
def test_media_address_allowed(address, port, allowed):
    """Only IP addresses inside the networks, and no privileged ports."""
    networks = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]
    assert media_address_allowed(address, port, networks) is allowed
    assert not media_address_allowed(address, port, [])
