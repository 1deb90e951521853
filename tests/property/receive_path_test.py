"""Whatever arrives at the media ports: no exception, whole frames, keys that make sense, bounded output."""

import struct
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from voicebot.edge.receive_path import ReceivePath
from voicebot.edge.signalling import NegotiatedMedia
from voicebot.rtp.telephone_event import DtmfPressed, DtmfReleased

CALLER = ("192.0.2.7", 40_000)
EVENTS = 101
U8, U16, U32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
LONGEST_JUMP_FRAMES = 3_000
"""Most frames that one packet may release: no hour of silence for a timestamp that jumps."""


def rtp(first, payload_type, sequence, timestamp, ssrc, body):
    return struct.pack("!BBHII", first, payload_type, sequence, timestamp, ssrc) + body


audio = st.builds(
    rtp,
    st.sampled_from([0x80, 0x80, 0x80, 0x90, 0xA0, 0x8F]) | U8,
    st.sampled_from([0, 8, 13, EVENTS, 0x80, 0x80 | EVENTS]) | U8,
    st.integers(0, 40) | U16,
    st.integers(0, 40).map(lambda n: 160 * n) | U32,
    st.sampled_from([1, 1, 1, 2]) | U32,
    st.sampled_from([b"\x55" * 160, b"\x55" * 80, b"", b"\x10" * 1400]) | st.binary(max_size=300),
)
events = st.builds(
    lambda number, event, flags, duration, again: rtp(
        0x80, EVENTS, number, 160 * again, 1, struct.pack("!BBH", event, flags, duration)
    ),
    st.integers(0, 40),
    st.integers(0, 20),
    U8,
    U16,
    st.integers(0, 3),
)
reports = st.builds(
    lambda first, kind, words, body: struct.pack("!BBH", first, kind, words) + body,
    st.integers(0x80, 0xBF),
    st.integers(192, 223),
    st.integers(0, 12),
    st.binary(max_size=80),
)
arrivals = st.tuples(audio | events | st.binary(max_size=64), reports, st.integers(0, 400_000))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(arrivals, max_size=40))
def test_anything_at_the_media_ports(steps):
    """Packets, keys and reports with any content, at any pace, from the right address."""
    frames, keys = [], []
    path = ReceivePath(frames.append, keys.append)
    path.expect(NegotiatedMedia(*CALLER, codec="PCMU", event_receive_payload_type=EVENTS))
    now_us = 0
    for datagram, report, gap_us in steps:
        now_us += gap_us
        count = len(frames)
        path.datagram(datagram, *CALLER, now_us)
        path.rtcp(report, CALLER[0], now_us)
        path.tick(now_us)
        assert len(frames) - count <= LONGEST_JUMP_FRAMES
    path.tick(now_us + 1_000_000)
    assert all(len(frame.ulaw) == 160 for frame in frames)
    pressed = Counter(key.digit for key in keys if isinstance(key, DtmfPressed))
    released = Counter(key.digit for key in keys if isinstance(key, DtmfReleased))
    assert released <= pressed  # one that was overtaken by a later one is told without its end


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(audio | events, reports), max_size=20))
def test_nothing_of_a_stranger_counts(steps):
    """Another address: counted, nothing heard, and it never becomes the peer."""
    frames, keys = [], []
    path = ReceivePath(frames.append, keys.append)
    path.expect(NegotiatedMedia(*CALLER, codec="PCMU", event_receive_payload_type=EVENTS))
    for at, (datagram, report) in enumerate(steps):
        path.datagram(datagram, "198.51.100.1", 5000, at * 20_000)
        assert path.rtcp(report, "198.51.100.1", at * 20_000) == ()
        path.tick(at * 20_000)
    assert not frames
    assert not keys
    assert path.remote == CALLER
