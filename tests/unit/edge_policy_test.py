"""Destinations, the ring of caller audio, RTP ports."""

import socket

import pytest

from voicebot.core.errors import ConfigError, OverloadError
from voicebot.edge.caller_ring import CallerRing
from voicebot.edge.outgoing_policy import refusal
from voicebot.edge.rtp_port import RtpPortPool
from voicebot.edge.sip_agent import library_call_limit, system_name_servers
from voicebot.link.binary_media import CallerAudio
from voicebot.link.messages import Dtmf

HOSTS = ("pbx.example", "127.0.0.1")


@pytest.mark.parametrize(
    "uri",
    [
        "sip:desk@pbx.example",
        "sip:+4930@PBX.example:5070",
        "sip:127.0.0.1",
        "sip:a@127.0.0.1;transport=udp",
    ],
)
def test_listed_destinations_are_allowed(uri):
    """Plain SIP URIs of listed hosts pass when outgoing calls are on, and only then."""
    assert refusal(uri, allow_outgoing=True, hosts=HOSTS) == ""
    assert refusal(uri, allow_outgoing=False, hosts=HOSTS)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:x@evil.example", "sips:x@pbx.example", "tel:+1900", "sip:x@pbx.example?Replaces=a", "sip:a@b@pbx.example",
        "sip:x@pbx.example;maddr=evil", "sip:x@pbx.example\r\nVia: y", "sip:x@pbx.example.evil", "<sip:x@pbx.example>",
        "", "sip:x%00@pbx.example", "sip:x@[::1]",
    ],
)  # fmt: skip
def test_all_else_is_refused(uri):
    """Other hosts, schemes, header parts and tricks of syntax."""
    assert refusal(uri, allow_outgoing=True, hosts=HOSTS)


def audio(frame):
    return CallerAudio(frame=frame, rtp_timestamp=0, edge_us=0, position_samples=0, payload=b"x")


def test_ring_replays_what_was_not_acknowledged():
    """Acknowledged frames go, the rest comes back marked, in order; odd acknowledgements do no harm."""
    ring = CallerRing(max_frames=5)
    for frame in range(7):
        ring.append(audio(frame))
    assert ring.dropped_frames == 2
    ring.acknowledge(3)
    ring.acknowledge(1)
    assert [a.frame for a in ring.replay()] == [4, 5, 6]
    assert all(a.replayed for a in ring.replay())
    assert ring.acknowledged_frame == 3
    ring.acknowledge(10**9)
    assert len(ring) == 0
    assert ring.acknowledged_frame == 6


def test_ring_replays_keys_among_the_frames():
    """A key that no worker has taken comes again, where it was pressed; taken ones do not."""
    ring = CallerRing()
    for frame in range(6):
        ring.append(audio(frame))
        if frame in {1, 3}:
            ring.append_key(Dtmf(digit=str(frame)))
    ring.append_key(Dtmf(digit="9"))
    ring.acknowledge(2, keys=1)
    assert [getattr(m, "digit", None) or m.frame for m in ring.replay()] == [3, "3", 4, 5, "9"]
    assert ring.acknowledged_keys == 1
    ring.acknowledge(3, keys=1)
    assert [getattr(m, "digit", None) or m.frame for m in ring.replay()] == ["3", 4, 5, "9"]
    ring.acknowledge(5)  # a worker that does not count keys
    assert [m.digit for m in ring.replay()] == ["9"]
    ring.acknowledge(5, keys=10**9)
    assert list(ring.replay()) == []
    assert ring.acknowledged_keys == 3


def test_ring_holds_at_least_thirty_seconds():
    """The promise to a worker that dies in a long turn."""
    ring = CallerRing()
    for frame in range(1500):
        ring.append(audio(frame))
    assert next(ring.replay()).frame == 0


def free_base(pairs):
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            base = probe.getsockname()[1] & ~1
        if base + 2 * pairs < 65000:
            return base


def test_ports_are_even_in_turn_and_given_back():
    """RTP is even, ports are not reused at once, a pair in foreign hands is passed over."""
    base = free_base(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        try:
            foreign.bind(("127.0.0.1", base + 3))
        except OSError:
            pytest.skip("port was taken meanwhile")
        pool = RtpPortPool("127.0.0.1", "192.0.2.1", base, base + 15)
        first = pool.open()
        assert first.port == base
        assert first.advertised_address == "192.0.2.1"
        second = pool.open()
        assert second.port > base + 2
        assert second.port % 2 == 0
        first.close()
        first.close()
        assert pool.taken == 1
        third = pool.open()
        assert third.port != base
        opened = [second, third]
        while pool.taken < 7:
            try:
                opened.append(pool.open())
            except OverloadError:  # somebody else holds a pair of the range at this moment
                break
        with pytest.raises(OverloadError):
            pool.open()
        for port in opened:
            port.close()
        assert pool.taken == 0


def test_sending_never_raises():
    """A datagram that the system refuses is counted."""
    base = free_base(2)
    port = RtpPortPool("127.0.0.1", "127.0.0.1", base, base + 7).open()
    port.send(b"x" * 70_000, ("127.0.0.1", 9))
    assert port.send_errors == 1
    port.send_rtcp(b"x", ("127.0.0.1", 65536))  # one above the RTP port of a far end on 65535
    assert port.send_errors == 2
    port.close()
    port.send(b"x", ("127.0.0.1", 9))
    assert port.send_errors == 2


def test_empty_range_is_a_config_error():
    """A range without a pair is refused at start."""
    with pytest.raises(ConfigError, match=r"rtp\.port_max"):
        RtpPortPool("127.0.0.1", "127.0.0.1", 5001, 5002)


def test_call_limit_is_the_librarys_own():
    """The number is read from the extension module, not written into the code: 0 before libInit."""
    assert library_call_limit() == 0


def test_name_servers_of_the_system(tmp_path):
    """IPv4 servers only, three at most; without any the machine itself, so that nothing blocks."""
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "# x\nnameserver 192.0.2.1\nnameserver ::1\nnameserver\n" + "nameserver 192.0.2.2\n" * 4
    )
    assert system_name_servers(conf) == ["192.0.2.1", "192.0.2.2", "192.0.2.2"]
    assert system_name_servers(tmp_path / "missing") == ["127.0.0.1"]
