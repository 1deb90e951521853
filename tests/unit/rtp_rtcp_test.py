import random

import pytest

from voicebot.core.errors import MalformedRtpError
from voicebot.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    build_rtcp,
    parse_rtcp,
    round_trip_ms,
)

BLOCK = ReportBlock(0x11223344, 25, -3, 0x00012345, 80, 0x1234ABCD, 65536)
COMPOUND = (
    SenderReport(1, 0xE000000080000000, 160, 50, 8000, (BLOCK,)),
    SourceDescription(((1, b"bot@127.0.0.1"),)),
    Goodbye((1,), b"bye"),
)


def test_compound_round_trip():
    """SR, SDES and BYE survive building and parsing, with a negative loss."""
    assert parse_rtcp(build_rtcp(COMPOUND)) == COMPOUND


@pytest.mark.parametrize("length", range(6))
def test_sdes_padding(length):
    """A CNAME of any length ends on a word boundary with at least one zero."""
    packets = (ReceiverReport(7), SourceDescription(((7, b"c" * length), (8, b"d"))))
    datagram = build_rtcp(packets)
    assert len(datagram) % 4 == 0
    assert parse_rtcp(datagram) == packets


def test_receiver_report_on_the_wire():
    """An RR byte for byte (RFC 3550 section 6.4.2)."""
    datagram = build_rtcp([ReceiverReport(0xCAFE, (BLOCK,))])
    assert datagram.hex() == "81c900070000cafe1122334419fffffd00012345000000501234abcd00010000"


def test_unknown_types_are_skipped():
    """APP and XR between known ones are no error."""
    app = bytes.fromhex("80cc0002000000016e616d65")
    rr = build_rtcp([ReceiverReport(7)])
    assert parse_rtcp(rr + app + bytes.fromhex("80cf000100000001")) == (ReceiverReport(7),)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x80\xc9\x00",
        bytes.fromhex("40c9000100000007"),
        bytes.fromhex("8000000100000007"),
        bytes.fromhex("80c9ffff00000007"),
        bytes.fromhex("81c9000100000007"),
        bytes.fromhex("80c90000"),
        bytes.fromhex("80c8000100000007"),
        bytes.fromhex("81ca00020000000701ff6161"),
        bytes.fromhex("81ca00020000000761616161"),
        bytes.fromhex("82cb000100000007"),
        bytes.fromhex("81cb000200000007ff616161"),
        bytes.fromhex("a0c90001000000ff"),
        bytes.fromhex("80c9000100000007") + b"\x80",
        bytes.fromhex("80c9000100000007") * 40,
        bytes(1504),
    ],
)
def test_malformed(datagram):
    """Wrong version or type, lengths beyond the datagram, cut items, too many packets."""
    with pytest.raises(MalformedRtpError):
        parse_rtcp(datagram)


def test_mutations_raise_nothing_else():
    """5,000 mutated compounds parse or raise MalformedRtpError, nothing else."""
    rng = random.Random(1)
    good = build_rtcp(COMPOUND)
    refused = 0
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            parse_rtcp(bytes(data[: rng.randrange(len(data) + 1)]))
        except MalformedRtpError:
            refused += 1
    assert 0 < refused < 5000


def test_round_trip_time():
    """The example of RFC 3550 figure 2: 6.125 s."""
    block = ReportBlock(1, 0, 0, 0, 0, 0xB7052000, 0x00054000)
    assert round_trip_ms(block, 0xB7108000 << 16) == pytest.approx(6125.0)
    assert round_trip_ms(ReportBlock(1, 0, 0, 0, 0), 1 << 60) is None
