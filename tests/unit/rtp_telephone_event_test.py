import random
import struct

import pytest

from voicebot.core.errors import MalformedRtpError
from voicebot.rtp.packet import RtpPacket
from voicebot.rtp.packetizer import Packetizer
from voicebot.rtp.telephone_event import (
    DIGITS,
    DtmfDeduplicator,
    DtmfPressed,
    DtmfReleased,
    TelephoneEventDecoder,
    encode_digit,
)

Sent = list[tuple[int, RtpPacket]]


def event(
    digit: str, timestamp: int, samples: int, *, end: bool = False, sequence: int = 0, ssrc: int = 1
) -> RtpPacket:
    payload = struct.pack("!BBH", DIGITS.index(digit), 0x8A if end else 0x0A, samples)
    return RtpPacket(101, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc, False, payload)


def press(digit: str, at_ms: int, *, duration_ms: int = 100, base: int = 1000) -> Sent:
    """Arrival time in µs and packet of one press with three end packets."""
    out = []
    for part in encode_digit(digit, duration_ms=duration_ms):
        packet = RtpPacket(101, 0, (base + at_ms * 8) & 0xFFFFFFFF, 1, part.marker, part.payload)
        out.append(((at_ms + part.offset_ms) * 1000, packet))
    return out


def decode(sent: Sent) -> list[DtmfPressed | DtmfReleased]:
    decoder = TelephoneEventDecoder()
    out = []
    now_us = 0
    for at_us, packet in sorted(sent, key=lambda item: item[0]):
        while now_us < at_us:
            out += decoder.poll(now_us)
            now_us += 20_000
        out += decoder.receive(packet, at_us)
    out += decoder.poll(now_us + 1_000_000)
    return out


def pressed(sent: Sent) -> str:
    return "".join(e.digit for e in decode(sent) if isinstance(e, DtmfPressed))


@pytest.mark.parametrize("digit", DIGITS)
def test_every_digit_once(digit):
    """One press, one release, with its length."""
    events = decode(press(digit, 0))
    assert [type(e) for e in events] == [DtmfPressed, DtmfReleased]
    assert events[0].digit == events[1].digit == digit
    assert events[1].duration_ms == 100 and not events[1].timed_out


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("all ends lost", slice(0, 4)),
        ("one end only", slice(0, 5)),
        ("starts lost", slice(4, None)),
        ("only the last end", slice(6, None)),
        ("only the first", slice(0, 1)),
        ("only one in the middle", slice(2, 3)),
    ],
)
def test_lost_packets(name, kept):
    """Whatever remains of a press, it is one press and one release."""
    events = decode(press("5", 0)[kept])
    assert [type(e) for e in events] == [DtmfPressed, DtmfReleased]


def test_same_digit_twice():
    """Two presses of one key are two, even if all ends and the second start are lost."""
    first, second = press("7", 0), press("7", 160)
    assert pressed(first + second) == "77"
    assert pressed(first[:4] + second[1:4]) == "77"
    assert pressed(first[:1] + second[-1:]) == "77"


def test_duplicates():
    """Every packet three times is still one press each."""
    assert pressed((press("1", 0) + press("1", 200) + press("2", 400)) * 3) == "112"


@pytest.mark.parametrize("seed", range(20))
def test_reordered(seed):
    """Packets delayed by up to 150 ms, across two presses, still give each press once."""
    rng = random.Random(seed)
    sent = press("3", 0) + press("4", 180) + press("3", 360)
    shuffled = [(at_us + rng.randrange(150_000), packet) for at_us, packet in sent]
    assert sorted(pressed(shuffled)) == ["3", "3", "4"]


def test_straggler_after_the_next_press():
    """An end packet that comes after the next press has begun changes nothing."""
    first, second = press("1", 0), press("2", 200)
    late = [(260_000, first[-1][1])]
    events = decode(first[:3] + second + late)
    assert [e.digit for e in events] == ["1", "1", "2", "2"]


@pytest.mark.parametrize("lost", [(), (1,), (0,), (2,)])
def test_long_press_in_segments(lost):
    """A press beyond 0xFFFF samples comes in segments with new timestamps: one press."""
    sent = []
    for segment in range(3):
        if segment in lost:
            continue
        base = 4_294_900_000 + segment * 0xFFFF
        for index in range(1, 410):
            samples = min(index * 160, 0xFFFF)
            at_us = (segment * 0xFFFF + samples) * 125
            sent.append((at_us, event("9", base, samples)))
    sent.append((sent[-1][0] + 20_000, event("9", 4_294_900_000 + 2 * 0xFFFF, 0xFFFF, end=True)))
    assert pressed(sent) == "9"


def test_duration_stuck_at_ffff():
    """A sender that keeps sending duration 0xFFFF under one timestamp makes one press."""
    sent = [(index * 20_000, event("*", 500, 0xFFFF)) for index in range(100)]
    assert pressed(sent) == "*"


def test_timestamp_that_moves_with_each_update():
    """Gateways that move the timestamp on with each update packet make one press."""
    sent = [
        (index * 20_000, event("6", 1000 + index * 160, (index + 1) * 160, end=index > 5))
        for index in range(8)
    ]
    assert pressed(sent) == "6"


def test_timestamp_wrap():
    """A press on either side of the timestamp wrap is one each."""
    assert pressed(press("1", 0, base=2**32 - 400) + press("1", 200, base=2**32 - 400)) == "11"


def test_timeout_by_given_time():
    """A press whose packets cease is released after the timeout, once."""
    decoder = TelephoneEventDecoder(timeout_ms=200)
    decoder.receive(event("1", 0, 320), 1_000_000)
    assert decoder.poll(1_199_999) == []
    assert decoder.poll(1_200_000) == [DtmfReleased("1", 1_200_000, 40, timed_out=True)]
    assert decoder.poll(9_000_000) == []


def test_flash_and_tones_are_no_digits():
    """Events above 15 are ignored."""
    decoder = TelephoneEventDecoder()
    packet = RtpPacket(101, 0, 0, 1, True, struct.pack("!BBH", 16, 0x0A, 160))
    assert decoder.receive(packet, 0) == []


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x0a\x00"])
def test_short_payload(payload):
    """A cut-off event is an error, not a digit."""
    with pytest.raises(MalformedRtpError):
        TelephoneEventDecoder().receive(RtpPacket(101, 0, 0, 1, True, payload), 0)


@pytest.mark.parametrize("seed", range(50))
def test_five_percent_loss_with_every_defect(seed):
    """Target 14: 40 random presses at 5 % loss, duplicates and jitter: each exactly once."""
    rng = random.Random(seed)
    sent: Sent = []
    expected = ""
    at_ms = 0
    for _ in range(40):
        digit = rng.choice(DIGITS)
        duration_ms = rng.randrange(60, 400)
        packets = press(digit, at_ms, duration_ms=duration_ms)
        if rng.random() < 0.3:
            packets = packets[:-3]
        packets = [p for p in packets if rng.random() > 0.05]
        expected += digit if packets else ""
        for at_us, packet in packets:
            for _ in range(2 if rng.random() < 0.1 else 1):
                sent.append((at_us + rng.randrange(40_000), packet))
        at_ms += duration_ms + rng.randrange(60, 300)
    assert pressed(sent) == expected
    assert len(expected) == 40


def test_press_in_three_sources_counts_once():
    """RFC 4733, in-band and INFO of one press are one; a second press is one more."""
    dedup = DtmfDeduplicator()
    reports = [
        ("1", "inband", 0), ("1", "rfc4733", 40_000), ("1", "info", 300_000),
        ("1", "rfc4733", 500_000), ("1", "info", 700_000), ("1", "inband", 520_000),
        ("2", "info", 900_000), ("2", "rfc4733", 1_000_000),
    ]  # fmt: skip
    accepted = [dedup.accept(digit, source, at_us) for digit, source, at_us in reports]
    assert accepted == [True, False, False, True, False, False, True, False]


def test_fast_double_press_with_late_info():
    """Two presses by RFC 4733 before the first INFO comes: both INFOs find their press."""
    dedup = DtmfDeduplicator()
    assert dedup.accept("5", "rfc4733", 0)
    assert dedup.accept("5", "rfc4733", 200_000)
    assert not dedup.accept("5", "info", 300_000)
    assert not dedup.accept("5", "info", 400_000)


def test_info_at_the_end_of_a_long_press():
    """INFO that comes when a press of 4 s ends is the same press."""
    dedup = DtmfDeduplicator()
    assert dedup.accept("5", "rfc4733", 0)
    dedup.note_release("5", "rfc4733", 4_000_000)
    assert not dedup.accept("5", "info", 4_100_000)


def test_other_source_after_the_window_is_a_new_press():
    """A report far apart in time is a press of its own."""
    dedup = DtmfDeduplicator(window_ms=2000)
    assert dedup.accept("5", "rfc4733", 0)
    assert dedup.accept("5", "info", 2_000_001)


@pytest.mark.parametrize(
    "arguments",
    [{"digit": "E"}, {"digit": ""}, {"digit": "12"}, {"digit": "1", "duration_ms": 39},
     {"digit": "1", "duration_ms": 5001}, {"digit": "1", "volume": 64}],
)  # fmt: skip
def test_encode_refuses(arguments):
    """Impossible digits are refused before anything is sent."""
    with pytest.raises(ValueError):
        encode_digit(**arguments)


def test_encoded_press():
    """Marker on the first packet only, growing duration, three equal ends."""
    packets = encode_digit("#", duration_ms=100)
    assert [p.marker for p in packets] == [True] + [False] * 6
    fields = [struct.unpack("!BBH", p.payload) for p in packets]
    assert [f[2] for f in fields] == [160, 320, 480, 640, 800, 800, 800]
    assert [f[1] >> 7 for f in fields] == [0, 0, 0, 0, 1, 1, 1]
    assert {f[0] for f in fields} == {11}


def test_packetizer_interleaves_events():
    """Digits take the place of audio; sequence numbers have no gap and audio time runs on."""
    packetizer = Packetizer(
        9, first_sequence_number=0xFFFE, first_timestamp=2**32 - 160, telephone_event_payload_type=96
    )
    packets = [packetizer.tick(b"\x90" * 160) for _ in range(2)]
    packetizer.send_digits("11", duration_ms=60)
    packets += [packetizer.tick(b"\x90" * 160) for _ in range(30)]
    assert [p.sequence_number for p in packets] == [(0xFFFE + i) & 0xFFFF for i in range(32)]
    audio = [(i, p) for i, p in enumerate(packets) if p.payload_type == 0]
    assert all(p.timestamp == (2**32 - 160 + 160 * i) % 2**32 for i, p in audio)
    sent = [(i * 20_000, p) for i, p in enumerate(packets) if p.payload_type == 96]
    assert pressed(sent) == "11"
    assert not packetizer.sending_digits
    markers = [i for i, p in enumerate(packets) if p.marker]
    assert markers == [0, 2, 7, 10, 15]
    assert packetizer.packet_count == 32


def test_packetizer_marks_talkspurts():
    """The first frame after silence or a pause carries the marker."""
    packetizer = Packetizer(9, first_sequence_number=0, first_timestamp=0)
    marks = [packetizer.tick(b"\xff" * 160, silence=s).marker for s in (False, False, True, True, False)]
    assert marks == [True, False, False, False, True]
    packetizer.skip()
    packet = packetizer.tick(b"\xff" * 160)
    assert packet.marker and packet.timestamp == 6 * 160 and packet.sequence_number == 5
    with pytest.raises(ValueError):
        packetizer.send_digits("1")
