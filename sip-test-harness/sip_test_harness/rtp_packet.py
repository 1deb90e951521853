"""RTP packets (RFC 3550 section 5.1) and the small part of RTCP that a caller speaks."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from sip_test_harness.errors import SyntaxRefusedError

_HEADER: Final = struct.Struct("!BBHII")
_REPORT: Final = struct.Struct("!IIIIII")


@dataclass(frozen=True)
class RtpPacket:
    """One RTP packet; ``timestamp`` in 8 kHz samples for audio."""

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    def encode(self) -> bytes:
        """Return the datagram."""
        return (
            _HEADER.pack(
                0x80,
                (self.marker << 7) | self.payload_type,
                self.sequence_number & 0xFFFF,
                self.timestamp & 0xFFFFFFFF,
                self.ssrc,
            )
            + self.payload
        )


def parse_rtp(data: bytes) -> RtpPacket:
    """Parse an RTP datagram.

    Raises:
        SyntaxRefusedError: too short, not version 2, or a length that does not fit.
    """
    if len(data) < 12:
        raise SyntaxRefusedError(f"{len(data)} bytes are no RTP packet")
    first, second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise SyntaxRefusedError(f"RTP version {first >> 6}")
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            raise SyntaxRefusedError("RTP header extension is cut off")
        start += 4 + 4 * struct.unpack_from("!H", data, start + 2)[0]
    end = len(data)
    if first & 0x20:
        if data[-1] == 0:
            raise SyntaxRefusedError("RTP padding of zero bytes")
        end -= data[-1]
    if start > end:
        raise SyntaxRefusedError("RTP header is longer than the packet")
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence_number=sequence_number,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=data[start:end],
        marker=bool(second & 0x80),
    )


@dataclass(frozen=True)
class ReportBlock:
    """What the far end says it received of us (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: float
    cumulative_lost: int
    jitter_samples: int


def build_sender_report(
    ssrc: int, *, wall_ns: int, timestamp: int, packets: int, octets: int, cname: str, block: bytes = b""
) -> bytes:
    """Build a compound RTCP packet: sender report with at most one block, then SDES CNAME."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    report = _REPORT.pack(
        ssrc,
        (seconds + 2_208_988_800) & 0xFFFFFFFF,  # the NTP era begins in 1900
        (rest << 32) // 1_000_000_000,
        timestamp & 0xFFFFFFFF,
        packets & 0xFFFFFFFF,
        octets & 0xFFFFFFFF,
    )
    name = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, 1, len(name)) + name
    chunk += bytes(4 - len(chunk) % 4)
    return (
        struct.pack("!BBH", 0x80 | bool(block), 200, (len(report) + len(block)) // 4)
        + report
        + block
        + struct.pack("!BBH", 0x81, 202, len(chunk) // 4)
        + chunk
    )


def parse_report_blocks(data: bytes) -> list[ReportBlock]:
    """Return the report blocks of a compound RTCP datagram; damaged parts are left out."""
    blocks: list[ReportBlock] = []
    at = 0
    while at + 4 <= len(data):
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 * (words + 1)
        if first >> 6 != 2 or end > len(data):
            break
        start = at + (28 if kind == 200 else 8)
        if kind in {200, 201}:
            for index in range(first & 0x1F):
                offset = start + 24 * index
                if offset + 24 > end:
                    break
                ssrc, lost, _highest, jitter = struct.unpack_from("!IIII", data, offset)
                cumulative = lost & 0xFFFFFF
                if cumulative & 0x800000:
                    cumulative -= 1 << 24
                blocks.append(ReportBlock(ssrc, (lost >> 24) / 256, cumulative, jitter))
        at = end
    return blocks
