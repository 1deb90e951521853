"""RTP packets on the wire (RFC 3550 section 5.1).

0                   1                   2                   3
V=2|P|X|  CC   |M|     PT      |       sequence number
timestamp
SSRC
[CSRC * CC] [extension header and data, if X] payload [padding, if P]
"""

import struct
from typing import Final

import msgspec

from voicebot.core.errors import MalformedRtpError

PCMU: Final = 0
"""Payload type of G.711 µ-law (RFC 3551)."""
PCMA: Final = 8
"""Payload type of G.711 A-law (RFC 3551)."""
COMFORT_NOISE: Final = 13
"""Payload type of comfort noise (RFC 3389)."""

SAMPLE_RATE_HZ: Final = 8000
FRAME_MS: Final = 20
FRAME_SAMPLES: Final = 160
SAMPLE_US: Final = 125
FRAME_US: Final = 20_000

_HEADER = struct.Struct("!BBHII")
_MAX_DATAGRAM_BYTES: Final = 1500
"""More than an Ethernet frame holds is no telephone audio."""


class RtpPacket(msgspec.Struct, frozen=True, gc=False):
    """One RTP packet without its CSRC list, extension and padding.

    Attributes:
        payload_type: 0-127.
        sequence_number: 16 bit, as on the wire.
        timestamp: 32 bit, in samples at 8 kHz, as on the wire.
        ssrc: 32 bit.
        marker: First packet of a talkspurt or of a telephone event.
        payload: What the codec made; one byte per sample for G.711.
    """

    payload_type: int
    sequence_number: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: bytes


def parse_rtp(datagram: bytes) -> RtpPacket:
    """Read one RTP packet; padding, CSRC list and header extension are taken off.

    Args:
        datagram: What one UDP receive returned, 12-1500 bytes.

    Raises:
        MalformedRtpError: With the reason; RTCP on the RTP port (payload types 72-76) is one.
    """
    size = len(datagram)
    if size < 12:
        raise MalformedRtpError(f"{size} bytes are shorter than an RTP header")
    if size > _MAX_DATAGRAM_BYTES:
        raise MalformedRtpError(f"{size} bytes are more than one RTP packet may have")
    first, second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(datagram)
    if first >> 6 != 2:
        raise MalformedRtpError(f"version {first >> 6} instead of 2")
    payload_type = second & 0x7F
    if 72 <= payload_type <= 76:
        raise MalformedRtpError(f"payload type {payload_type} is RTCP (RFC 5761 section 4)")
    start = 12
    if first & 0x3F:
        start += 4 * (first & 0x0F)
        if first & 0x10:
            if size < start + 4:
                raise MalformedRtpError("header extension is cut off")
            start += 4 + 4 * int.from_bytes(datagram[start + 2 : start + 4], "big")
        if first & 0x20:
            padding = datagram[-1]
            if padding == 0:
                raise MalformedRtpError("padding of length 0")
            size -= padding
        if size < start:
            raise MalformedRtpError("CSRC list, extension and padding exceed the packet")
    payload = bytes(datagram[start:size])
    return RtpPacket(payload_type, sequence_number, timestamp, ssrc, second >= 0x80, payload)


def build_rtp(packet: RtpPacket) -> bytes:
    """Write one RTP packet: version 2, no padding, extension or CSRC list.

    Raises:
        MalformedRtpError: A field is out of its range.
    """
    try:
        header = _HEADER.pack(
            0x80,
            (0x80 if packet.marker else 0) | packet.payload_type,
            packet.sequence_number,
            packet.timestamp,
            packet.ssrc,
        )
    except struct.error as error:
        raise MalformedRtpError(f"header field out of range: {error}") from error
    if packet.payload_type > 127:
        raise MalformedRtpError(f"payload type {packet.payload_type} is above 127")
    return header + packet.payload
