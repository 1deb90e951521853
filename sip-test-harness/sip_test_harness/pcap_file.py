"""Packet captures: writing pcap of the call's SIP and RTP.

Classic pcap with nanosecond times (magic 0xa1b23c4d) and link type RAW (101): each record is an
IPv4 packet, which Wireshark, tshark and tcpdump open.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sip_test_harness.clock import wall_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sip_test_harness.udp import CapturedDatagram

_FILE_HEADER: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
_RECORD: Final = struct.Struct("<IIII")


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def ip_packet(datagram: CapturedDatagram, identification: int) -> bytes:
    """Return the IPv4 packet (RFC 791, RFC 768) that carried a datagram; cut off at 65,507 bytes."""
    source = socket.inet_aton(datagram.source[0])
    destination = socket.inet_aton(datagram.destination[0])
    payload = datagram.payload[:65507]
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", datagram.source[1], datagram.destination[1], length, 0) + payload
    pseudo = source + destination + struct.pack("!BBH", 0, 17, length)
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        20 + length,
        identification & 0xFFFF,
        0x4000,
        64,
        17,
        0,
        source,
        destination,
    )
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + udp


def write_pcap(
    path: str | Path,
    datagrams: Iterable[CapturedDatagram],
    *,
    unix_ns: Callable[[int], int] = wall_ns,
) -> int:
    """Write datagrams in the order of time; returns how many.

    Args:
        path: file to write.
        datagrams: what to write.
        unix_ns: turns ``time_ns`` into Unix time; by default it is monotonic time of this process.
    """
    ordered = sorted(datagrams, key=lambda datagram: datagram.time_ns)
    with Path(path).open("wb") as file:
        file.write(_FILE_HEADER)
        for index, datagram in enumerate(ordered):
            packet = ip_packet(datagram, index)
            seconds, rest = divmod(unix_ns(datagram.time_ns), 1_000_000_000)
            file.write(_RECORD.pack(seconds, rest, len(packet), len(packet)) + packet)
    return len(ordered)
