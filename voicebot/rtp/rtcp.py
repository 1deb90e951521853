"""RTCP compound packets: SR, RR, SDES with CNAME, BYE (RFC 3550 section 6)."""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from voicebot.core.errors import MalformedRtpError

_SENDER_REPORT: Final = 200
_RECEIVER_REPORT: Final = 201
_SOURCE_DESCRIPTION: Final = 202
_GOODBYE: Final = 203
_CNAME: Final = 1
_MAX_DATAGRAM_BYTES: Final = 1500
_MAX_PACKETS: Final = 32
"""A bound on the work that one datagram can cause."""

_BLOCK = struct.Struct("!IIIIII")
_SENDER_INFO = struct.Struct("!IQIII")


class ReportBlock(msgspec.Struct, frozen=True, gc=False):
    """What a receiver says about one source (RFC 3550 section 6.4.1).

    Attributes:
        ssrc: The source the block is about.
        fraction_lost: Lost since the last report, in 1/256.
        cumulative_lost: Lost since the start, signed 24 bit.
        highest_sequence: Extended highest sequence number, 32 bit.
        jitter: Interarrival jitter in timestamp units (1/8000 s).
        last_sr: Middle 32 bits of the NTP time of the last SR; 0 if none came.
        delay_since_last_sr: In 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_sr: int = 0
    delay_since_last_sr: int = 0


class SenderReport(msgspec.Struct, frozen=True):
    """SR: what a source has sent, and how it receives."""

    ssrc: int
    ntp_timestamp: int
    """64 bit: seconds since 1900 * 2^32."""
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    report_blocks: tuple[ReportBlock, ...] = ()


class ReceiverReport(msgspec.Struct, frozen=True):
    """RR: how a participant that sends nothing receives."""

    ssrc: int
    report_blocks: tuple[ReportBlock, ...] = ()


class SourceDescription(msgspec.Struct, frozen=True):
    """SDES: SSRC → CNAME; other items are skipped. The name comes raw: clean it before showing it."""

    cnames: tuple[tuple[int, bytes], ...]


class Goodbye(msgspec.Struct, frozen=True):
    """BYE: sources that leave."""

    ssrcs: tuple[int, ...]
    reason: bytes = b""


RtcpPacket = SenderReport | ReceiverReport | SourceDescription | Goodbye


def parse_rtcp(datagram: bytes) -> tuple[RtcpPacket, ...]:
    """Read a compound packet; types that we do not use are skipped.

    Args:
        datagram: What one UDP receive returned, at most 1500 bytes and 32 packets.

    Raises:
        MalformedRtpError: Not RTCP, a length that exceeds the datagram, or a body that is too short.
    """
    size = len(datagram)
    if size < 4 or size > _MAX_DATAGRAM_BYTES:
        raise MalformedRtpError(f"{size} bytes are no RTCP datagram")
    packets: list[RtcpPacket] = []
    start = 0
    for _ in range(_MAX_PACKETS):
        if start == size:
            return tuple(packets)
        if size - start < 4:
            raise MalformedRtpError("RTCP header is cut off")
        first, packet_type, words = struct.unpack_from("!BBH", datagram, start)
        end = start + 4 * (words + 1)
        if first >> 6 != 2:
            raise MalformedRtpError(f"RTCP version {first >> 6} instead of 2")
        if start == 0 and not 192 <= packet_type <= 223:
            raise MalformedRtpError(f"packet type {packet_type} is no RTCP")
        if end > size:
            raise MalformedRtpError(f"RTCP length {4 * (words + 1)} exceeds the datagram")
        body = datagram[start + 4 : end]
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise MalformedRtpError("RTCP padding is longer than its packet")
            body = body[: -body[-1]]
        try:
            packet = _parse_body(packet_type, first & 0x1F, body)
        except (struct.error, IndexError) as error:
            raise MalformedRtpError(f"RTCP type {packet_type} is too short") from error
        if packet is not None:
            packets.append(packet)
        start = end
    raise MalformedRtpError(f"more than {_MAX_PACKETS} RTCP packets in a datagram")


def build_rtcp(packets: Sequence[RtcpPacket]) -> bytes:
    """Write a compound packet in the given order; RFC 3550 wants SR or RR first, then SDES."""
    return b"".join(map(_build_packet, packets))


def round_trip_ms(block: ReportBlock, now_ntp: int) -> float | None:
    """Round-trip time from a report about us (RFC 3550 section 6.4.1); None without an SR of ours.

    Args:
        block: Report block that the far end sent.
        now_ntp: Our NTP time at its arrival, 64 bit.
    """
    if block.last_sr == 0:
        return None
    ticks = ((now_ntp >> 16) - block.last_sr - block.delay_since_last_sr) & 0xFFFFFFFF
    return ticks * 1000 / 65536 if ticks < 0x80000000 else 0.0


def _parse_body(packet_type: int, count: int, body: bytes) -> RtcpPacket | None:
    if packet_type == _SENDER_REPORT:
        ssrc, ntp, rtp, packet_count, octet_count = _SENDER_INFO.unpack_from(body)
        blocks = _parse_blocks(body, _SENDER_INFO.size, count)
        return SenderReport(ssrc, ntp, rtp, packet_count, octet_count, blocks)
    if packet_type == _RECEIVER_REPORT:
        (ssrc,) = struct.unpack_from("!I", body)
        return ReceiverReport(ssrc, _parse_blocks(body, 4, count))
    if packet_type == _SOURCE_DESCRIPTION:
        return _parse_source_description(body, count)
    if packet_type == _GOODBYE:
        ssrcs = struct.unpack_from(f"!{count}I", body)
        reason = body[4 * count :]
        if reason:
            if reason[0] > len(reason) - 1:
                raise IndexError("BYE reason")
            reason = reason[1 : 1 + reason[0]]
        return Goodbye(ssrcs, reason)
    return None


def _parse_blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for index in range(count):
        ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(
            body, start + index * _BLOCK.size
        )
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, last_sr, delay))
    return tuple(blocks)


def _parse_source_description(body: bytes, count: int) -> SourceDescription:
    cnames = []
    start = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, start)
        start += 4
        while body[start] != 0:
            kind, length = body[start], body[start + 1]
            value = body[start + 2 : start + 2 + length]
            if len(value) != length:
                raise IndexError("SDES item")
            if kind == _CNAME:
                cnames.append((ssrc, value))
            start += 2 + length
        # A chunk ends with at least one zero byte and fills up to 32 bits.
        start += 4 - start % 4
    return SourceDescription(tuple(cnames))


def _build_packet(packet: RtcpPacket) -> bytes:
    match packet:
        case SenderReport():
            body = _SENDER_INFO.pack(
                packet.ssrc,
                packet.ntp_timestamp,
                packet.rtp_timestamp,
                packet.packet_count & 0xFFFFFFFF,
                packet.octet_count & 0xFFFFFFFF,
            )
            body += b"".join(map(_build_block, packet.report_blocks))
            return _with_header(_SENDER_REPORT, len(packet.report_blocks), body)
        case ReceiverReport():
            body = struct.pack("!I", packet.ssrc)
            body += b"".join(map(_build_block, packet.report_blocks))
            return _with_header(_RECEIVER_REPORT, len(packet.report_blocks), body)
        case SourceDescription():
            body = b""
            for ssrc, cname in packet.cnames:
                body += struct.pack("!IBB", ssrc, _CNAME, len(cname)) + cname
                body += bytes(4 - len(body) % 4)
            return _with_header(_SOURCE_DESCRIPTION, len(packet.cnames), body)
        case Goodbye():
            body = struct.pack(f"!{len(packet.ssrcs)}I", *packet.ssrcs)
            if packet.reason:
                body += bytes([len(packet.reason)]) + packet.reason
                body += bytes(-len(body) % 4)
            return _with_header(_GOODBYE, len(packet.ssrcs), body)


def _build_block(block: ReportBlock) -> bytes:
    lost = max(-0x800000, min(0x7FFFFF, block.cumulative_lost)) & 0xFFFFFF
    return _BLOCK.pack(
        block.ssrc,
        block.fraction_lost << 24 | lost,
        block.highest_sequence & 0xFFFFFFFF,
        block.jitter,
        block.last_sr,
        block.delay_since_last_sr,
    )


def _with_header(packet_type: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body
