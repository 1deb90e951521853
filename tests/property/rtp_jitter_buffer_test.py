from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.rtp_kit import FRAME_US, audio
from voicebot.core.errors import MalformedRtpError
from voicebot.rtp.jitter_buffer import FrameKind, InsertResult, JitterBuffer, ReadMode
from voicebot.rtp.packet import COMFORT_NOISE, PCMA, PCMU, RtpPacket, build_rtp, parse_rtp
from voicebot.rtp.rtcp import parse_rtcp
from voicebot.rtp.sequence import SequenceUnwrapper
from voicebot.rtp.stream_stats import StreamStatistics
from voicebot.rtp.telephone_event import DtmfPressed, TelephoneEventDecoder

CAPACITY_MS = 400

modes = st.sampled_from(list(ReadMode))
delays_ms = st.one_of(st.integers(0, 30), st.integers(0, 300), st.integers(0, 3000))
arrivals = st.lists(
    st.tuples(delays_ms, st.integers(0, 2)),  # delay of the packet, copies (0: lost)
    min_size=1,
    max_size=120,
)


def run(mode, schedule, *, first_sequence=0, first_timestamp=0):
    """Insert packets by arrival time, read after each and on ticks; frames and results."""
    buffer = JitterBuffer(mode, capacity_ms=CAPACITY_MS)
    order = []
    for index, (delay_ms, copies) in enumerate(schedule):
        sent_us = index * FRAME_US + delay_ms * 1000
        order.extend((sent_us + copy * 1000, index) for copy in range(copies))
    frames, results = [], []
    tick_us = 0
    for arrival_us, index in sorted(order):
        while tick_us <= arrival_us:
            frames += buffer.read(tick_us)
            tick_us += FRAME_US
        payload = index.to_bytes(2, "big") + bytes(158)
        packet = audio(
            index,
            payload=payload,
            sequence=first_sequence + index,
            timestamp=first_timestamp + 160 * index,
        )
        results.append(buffer.insert(packet, arrival_us))
        frames += buffer.read(arrival_us)
        assert buffer.buffered_ms <= CAPACITY_MS
    for _ in range(100):
        frames += buffer.read(tick_us)
        tick_us += FRAME_US
    return buffer, frames, results


def heard(frames):
    return [int.from_bytes(f.payload[:2], "big") for f in frames if f.kind is FrameKind.SPEECH]


@given(modes, arrivals, st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_in_order_nothing_twice_nothing_invented(mode, schedule, first_sequence, first_timestamp):
    """Over any delays, losses and copies: rising order, only what was sent, bounded memory."""
    buffer, frames, results = run(
        mode, schedule, first_sequence=first_sequence, first_timestamp=first_timestamp
    )
    sent = {index for index, (_, copies) in enumerate(schedule) if copies}
    out = heard(frames)
    assert out == sorted(set(out))
    assert set(out) <= sent
    positions = [frame.position_samples for frame in frames]
    assert positions == sorted(set(positions))
    assert buffer.buffered_ms == 0
    kept = sum(
        r in (InsertResult.ACCEPTED, InsertResult.OVERFLOW, InsertResult.RESYNCED) for r in results
    )
    assert len(out) + buffer.stats().overflow + buffer.stats().accelerated_frames >= kept
    assert len(out) <= kept


@given(modes, st.lists(st.tuples(st.integers(0, 19), st.just(1)), min_size=1, max_size=100))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_jitter_below_a_frame_loses_nothing_in_eager_mode(mode, schedule):
    """Below one frame of jitter, each packet is heard by the recogniser."""
    if mode is ReadMode.EAGER:
        _, frames, _ = run(mode, schedule)
        assert heard(frames) == list(range(len(schedule)))


hostile_packets = st.builds(
    RtpPacket,
    st.sampled_from([PCMU, PCMA, COMFORT_NOISE, 101, 18]),
    st.one_of(st.integers(0, 40), st.integers(0, 0xFFFF)),
    st.one_of(st.integers(0, 8000), st.integers(0, 2**32 - 1)),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 900).map(lambda size: bytes([0x90]) * size),
)


@given(modes, st.lists(st.tuples(hostile_packets, st.integers(0, 200_000)), max_size=150))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_hostile_streams(mode, stream):
    """Any packets at all: positions rise, memory and output per read stay bounded, no exception."""
    buffer = JitterBuffer(mode, capacity_ms=CAPACITY_MS)
    now_us = 0
    last_position = None
    for packet, gap_us in stream:
        now_us += gap_us
        buffer.insert(packet, now_us)
        frames = buffer.read(now_us)
        assert len(frames) <= 4 * CAPACITY_MS // 20
        assert buffer.buffered_ms <= CAPACITY_MS
        for frame in frames:
            assert last_position is None or frame.position_samples > last_position
            last_position = frame.position_samples
            if frame.kind is FrameKind.SPEECH:
                assert len(frame.payload) == 160


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_parsers_raise_only_their_error(datagram):
    """Any bytes: a packet that can be built again, or MalformedRtpError."""
    try:
        packet = parse_rtp(datagram)
    except MalformedRtpError:
        pass
    else:
        assert parse_rtp(build_rtp(packet)) == packet
    with suppress(MalformedRtpError):
        parse_rtcp(datagram)


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-500, 3000), max_size=200))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_sequence_numbers_unwrap_to_what_was_meant(start, steps):
    """Any walk with steps below half the ring is followed exactly."""
    unwrapper = SequenceUnwrapper()
    highest = unwrapper.unwrap(start)
    for step in steps:
        meant = highest + step
        assert unwrapper.unwrap(meant & 0xFFFF) == meant
        highest = max(highest, meant)


@given(st.permutations(range(60)), st.sets(st.integers(0, 59)), st.integers(0, 0xFFFF))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_statistics_count_every_packet_once(order, copied, first):
    """In any order and with any copies: received and duplicate are exact."""
    statistics = StreamStatistics()
    for index in order:
        for _ in range(2 if index in copied else 1):
            statistics.receive(audio(index, sequence=first + index), index * FRAME_US)
    seen = statistics.snapshot()
    assert (seen.received, seen.expected, seen.lost) == (60, 60, 0)
    assert seen.duplicate == len(copied)


@given(
    st.lists(
        st.tuples(st.integers(0, 15), st.sets(st.integers(0, 6), min_size=1)), min_size=1, max_size=20
    )
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_each_press_once_whatever_survives(presses):
    """Any non-empty part of each press gives exactly one press, in order."""
    decoder = TelephoneEventDecoder()
    out = []
    for number, (event, kept) in enumerate(presses):
        timestamp = number * 2400
        for index in sorted(kept):
            samples = min(index + 1, 5) * 160
            payload = bytes([event, 0x8A if index >= 4 else 0x0A]) + samples.to_bytes(2, "big")
            packet = RtpPacket(101, 0, timestamp, 1, False, payload)
            out += decoder.receive(packet, (timestamp + index * 160) * 125)
    digits = [e.digit for e in out if isinstance(e, DtmfPressed)]
    assert digits == ["0123456789*#ABCD"[event] for event, _ in presses]
