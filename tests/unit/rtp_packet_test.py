import pytest

from voicebot.core.errors import MalformedRtpError
from voicebot.rtp.packet import RtpPacket, build_rtp, parse_rtp
from voicebot.rtp.sequence import SequenceUnwrapper, TimestampUnwrapper, signed_difference

HEADER = bytes.fromhex("80000001000000a0deadbeef")


def test_fields():
    """Every header field lands where RFC 3550 section 5.1 puts it."""
    packet = parse_rtp(bytes.fromhex("80e51234000000a0deadbeef") + b"abcd")
    assert packet == RtpPacket(101, 0x1234, 160, 0xDEADBEEF, True, b"abcd")


def test_round_trip():
    """What is built is what is parsed."""
    packet = RtpPacket(127, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, True, bytes(range(160)))
    assert parse_rtp(build_rtp(packet)) == packet


def test_csrc_extension_and_padding_are_taken_off():
    """Two CSRCs, an extension of one word and 3 bytes of padding leave the payload."""
    datagram = (
        bytes([0x80 | 0x20 | 0x10 | 2]) + HEADER[1:] + bytes(8) + b"\xbe\xde\x00\x01abcd" + b"payload"
        + b"\x00\x00\x03"
    )  # fmt: skip
    assert parse_rtp(datagram).payload == b"payload"


def test_padding_may_leave_an_empty_payload():
    """A packet that is all padding is legal (keep-alive)."""
    assert parse_rtp(bytes([0xA0]) + HEADER[1:] + b"\x00\x00\x00\x04").payload == b""


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "shorter"),
        (HEADER[:11], "shorter"),
        (b"\x40" + HEADER[1:], "version 1"),
        (b"\xc0" + HEADER[1:], "version 3"),
        (b"\x8f" + HEADER[1:], "exceed"),
        (b"\x90" + HEADER[1:], "extension is cut off"),
        (b"\x90" + HEADER[1:] + b"\xbe\xde\xff\xff", "exceed"),
        (b"\xa0" + HEADER[1:] + b"abc\x00", "length 0"),
        (b"\xa0" + HEADER[1:] + b"abc\x05", "exceed"),
        (b"\x80\xc8" + HEADER[2:], "RTCP"),
        (HEADER + bytes(1489), "more than"),
    ],
)
def test_malformed(datagram, reason):
    """Each way to be no RTP packet is named."""
    with pytest.raises(MalformedRtpError, match=reason):
        parse_rtp(datagram)


@pytest.mark.parametrize(
    "packet",
    [
        RtpPacket(128, 0, 0, 0, False, b""),
        RtpPacket(0, 0x10000, 0, 0, False, b""),
        RtpPacket(0, 0, 2**32, 0, False, b""),
        RtpPacket(0, 0, 0, -1, False, b""),
    ],
)
def test_build_refuses_fields_out_of_range(packet):
    """A counter that was not wrapped is found before it reaches the wire."""
    with pytest.raises(MalformedRtpError):
        build_rtp(packet)


def test_sequence_wrap_and_reordering_over_it():
    """The counter goes on over the wrap, and a straggler from before it keeps its place."""
    unwrap = SequenceUnwrapper().unwrap
    assert [unwrap(n) for n in (65534, 65535, 1, 0, 65533, 2)] == [
        65534, 65535, 65537, 65536, 65533, 65538,
    ]  # fmt: skip


def test_timestamp_wrap_and_restart():
    """32 bits wrap likewise; a restart forgets."""
    timestamps = TimestampUnwrapper()
    assert timestamps.unwrap(2**32 - 160) == 2**32 - 160
    assert timestamps.unwrap(0) == 2**32
    assert timestamps.peek(160) == 2**32 + 160
    assert timestamps.highest == 2**32
    timestamps.restart()
    assert timestamps.unwrap(5) == 5


@pytest.mark.parametrize(("new", "old", "step"), [(0, 65535, 1), (65535, 0, -1), (32767, 0, 32767)])
def test_signed_difference(new, old, step):
    """The shortest way round the ring."""
    assert signed_difference(new, old, 16) == step
