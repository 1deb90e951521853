"""What the caller tells the far end about its packets: a report block (RFC 3550 section 6.4.1)."""

from __future__ import annotations

import struct
from typing import Final

from sip_test_harness.rtp_packet import RtpPacket

_BLOCK: Final = struct.Struct("!IIIIII")
_HALF: Final = 0x8000
_SAMPLES_PER_NS: Final = 8000 / 1e9


class Reception:
    """Counts one stream at a time; another SSRC begins anew."""

    def __init__(self) -> None:
        self._ssrc: int | None = None

    def receive(self, packet: RtpPacket, arrival_ns: int) -> None:
        """Take a packet as it came from the wire."""
        transit = round(arrival_ns * _SAMPLES_PER_NS) - packet.timestamp
        if packet.ssrc != self._ssrc:
            self._ssrc = packet.ssrc
            self._first = self._highest = packet.sequence_number
            self._received = self._expected_before = self._received_before = 0
            self._jitter = 0.0
            self._transit = transit
        step = (packet.sequence_number - self._highest) & 0xFFFF
        if step < _HALF:
            self._highest += step
        self._received += 1
        change = abs((transit - self._transit + 2**31) % 2**32 - 2**31)
        self._transit = transit
        self._jitter += (change - self._jitter) / 16

    def block(self) -> bytes:
        """The report since the last one; empty when nothing has come yet."""
        if self._ssrc is None:
            return b""
        expected = self._highest - self._first + 1
        lost = max(-0x800000, min(expected - self._received, 0x7FFFFF))
        expected_now = expected - self._expected_before
        lost_now = expected_now - (self._received - self._received_before)
        self._expected_before, self._received_before = expected, self._received
        fraction = min(255, lost_now * 256 // expected_now) if expected_now > 0 < lost_now else 0
        counts = fraction << 24 | lost & 0xFFFFFF
        return _BLOCK.pack(self._ssrc, counts, self._highest & 0xFFFFFFFF, int(self._jitter), 0, 0)
