"""Reading captures: pcap and pcapng, UDP over IPv4 and IPv6, and the calls in them."""

from __future__ import annotations

import ipaddress
import itertools
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sip_test_harness import sdp, sip_message
from sip_test_harness.errors import SyntaxRefusedError, UsageError
from sip_test_harness.rtp_packet import RtpPacket, parse_rtp
from sip_test_harness.sip_message import SipMessage, SipRequest, SipResponse
from sip_test_harness.udp import Address, CapturedDatagram

MAX_CAPTURE_BYTES: Final = 512 * 1024 * 1024
MIN_STREAM_PACKETS: Final = 10

# link types (www.tcpdump.org/linktypes.html) and where their network header begins
_NULL, _ETHERNET, _RAW, _LOOP, _SLL, _IPV4, _IPV6, _SLL2 = 0, 1, 101, 108, 113, 228, 229, 276


def read_capture(path: str | Path) -> list[CapturedDatagram]:
    """Read every whole UDP datagram of a pcap or pcapng file; fragments are left out.

    Returns:
        Datagrams in the order of the file; ``time_ns`` is the Unix time.

    Raises:
        UsageError: no such file, too large, or not a capture.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_CAPTURE_BYTES:
            raise UsageError(f"{path}: larger than {MAX_CAPTURE_BYTES} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        return parse_capture(data)
    except SyntaxRefusedError as error:
        raise UsageError(f"{path}: {error}") from error


def parse_capture(data: bytes) -> list[CapturedDatagram]:
    """Parse the bytes of a capture; a cut-off last record is left out.

    Raises:
        SyntaxRefusedError: neither pcap nor pcapng, or a broken structure.
    """
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        frames = _pcapng_frames(data)
    elif data[:4] in _PCAP_MAGIC:
        frames = _pcap_frames(data)
    else:
        raise SyntaxRefusedError("neither pcap nor pcapng")
    out: list[CapturedDatagram] = []
    for time_ns, link_type, frame in frames:
        datagram = _udp_of(time_ns, link_type, frame)
        if datagram is not None:
            out.append(datagram)
    return out


_PCAP_MAGIC: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_Frame = tuple[int, int, bytes]


def _pcap_frames(data: bytes) -> Iterator[_Frame]:
    order, unit_ns = _PCAP_MAGIC[data[:4]]
    if len(data) < 24:
        raise SyntaxRefusedError("the pcap header is cut off")
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    record = struct.Struct(order + "IIII")
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, captured, _original = record.unpack_from(data, at)
        at += 16
        if at + captured > len(data):
            return
        yield seconds * 1_000_000_000 + fraction * unit_ns, link_type, data[at : at + captured]
        at += captured


def _pcapng_frames(data: bytes) -> Iterator[_Frame]:
    order = "<"
    interfaces: list[tuple[int, int, int]] = []
    at = 0
    while at + 12 <= len(data):
        kind = struct.unpack_from(order + "I", data, at)[0]
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            kind = 0x0A0D0D0A
            interfaces = []
        length = struct.unpack_from(order + "I", data, at + 4)[0]
        if length < 12 or length % 4:
            raise SyntaxRefusedError("a pcapng block with an impossible length")
        if at + length > len(data):
            return
        body = data[at + 8 : at + length - 4]
        if kind == 1 and len(body) >= 8:
            interfaces.append(_interface(order, body))
        elif kind == 6 and len(body) >= 20:
            number, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
            if number < len(interfaces) and 20 + captured <= len(body):
                link_type, units_per_s, offset_s = interfaces[number]
                ticks = (high << 32) | low
                time_ns = ticks * 1_000_000_000 // units_per_s + offset_s * 1_000_000_000
                yield time_ns, link_type, body[20 : 20 + captured]
        at += length


def _interface(order: str, body: bytes) -> tuple[int, int, int]:
    """Return link type, time units per second, and time offset of an interface block."""
    link_type = struct.unpack_from(order + "H", body)[0]
    units_per_s, offset_s = 1_000_000, 0
    at = 8
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : at + 4 + length]
        if code == 0:
            break
        if code == 9 and value:
            exponent = value[0] & 0x7F
            units_per_s = 2**exponent if value[0] & 0x80 else 10 ** min(exponent, 18)
        elif code == 14 and len(value) == 8:
            offset_s = struct.unpack(order + "q", value)[0]
        at += 4 + length + (-length % 4)
    return link_type, units_per_s, offset_s


def _udp_of(time_ns: int, link_type: int, frame: bytes) -> CapturedDatagram | None:
    if link_type == _ETHERNET:
        at = 12
        while frame[at : at + 2] in {b"\x81\x00", b"\x88\xa8"}:
            at += 4
        packet = frame[at + 2 :]
    elif link_type in {_NULL, _LOOP}:
        packet = frame[4:]
    elif link_type == _SLL:
        packet = frame[16:]
    elif link_type == _SLL2:
        packet = frame[20:]
    elif link_type in {_RAW, _IPV4, _IPV6, 12, 14}:
        packet = frame
    else:
        return None
    if len(packet) < 20:
        return None
    version = packet[0] >> 4
    if version == 4:
        header = 4 * (packet[0] & 0x0F)
        total, fragment = struct.unpack_from("!H2xH", packet, 2)
        if packet[9] != 17 or fragment & 0x3FFF or header < 20:
            return None
        hosts = packet[12:16], packet[16:20]
        udp = packet[header : max(total, header)] if total else packet[header:]
    elif version == 6 and len(packet) >= 40 and packet[6] == 17:
        hosts = packet[8:24], packet[24:40]
        udp = packet[40:]
    else:
        return None
    if len(udp) < 8:
        return None
    source, destination, length = struct.unpack_from("!HHH", udp)
    if length < 8 or length > len(udp):
        return None
    return CapturedDatagram(
        time_ns,
        (str(ipaddress.ip_address(hosts[0])), source),
        (str(ipaddress.ip_address(hosts[1])), destination),
        udp[8:length],
    )


# --- calls -----------------------------------------------------------------------------------


@dataclass
class CapturedStream:
    """The RTP packets of one SSRC from one address to another, with their Unix times in ns."""

    source: Address
    destination: Address
    ssrc: int
    packets: list[tuple[int, RtpPacket]] = field(default_factory=list)
    event_type: int | None = None


@dataclass
class CapturedCall:
    """A call in a capture; without SIP there is one "call" of all streams.

    ``caller`` and ``called`` are the RTP streams by who sent them, longest first.
    """

    call_id: str
    invite_ns: int | None = None
    answer_ns: int | None = None
    caller: list[CapturedStream] = field(default_factory=list)
    called: list[CapturedStream] = field(default_factory=list)


def rtp_streams(datagrams: Sequence[CapturedDatagram]) -> list[CapturedStream]:
    """Find the RTP streams: at least 10 packets of one SSRC whose numbers mostly follow on."""
    found: dict[tuple[Address, Address, int], CapturedStream] = {}
    for datagram in datagrams:
        try:
            packet = parse_rtp(datagram.payload)
        except SyntaxRefusedError:
            continue
        if 64 <= packet.payload_type < 96:
            continue  # RTCP and unassigned
        key = (datagram.source, datagram.destination, packet.ssrc)
        stream = found.setdefault(
            key, CapturedStream(datagram.source, datagram.destination, packet.ssrc)
        )
        stream.packets.append((datagram.time_ns, packet))
    return [stream for stream in found.values() if _follows_on(stream)]


def _follows_on(stream: CapturedStream) -> bool:
    if len(stream.packets) < MIN_STREAM_PACKETS:
        return False
    numbers = [packet.sequence_number for _, packet in stream.packets]
    steps = [(b - a) & 0xFFFF for a, b in itertools.pairwise(numbers)]
    near = sum(step < 64 or step > 0xFFFF - 64 for step in steps)
    return near >= 0.9 * len(steps)


def calls_of(datagrams: Sequence[CapturedDatagram]) -> list[CapturedCall]:
    """Find the calls: by SIP when there is some, else by the streams alone.

    Without SIP the caller is who sent the first RTP packet.
    """
    streams = rtp_streams(datagrams)
    calls: dict[str, CapturedCall] = {}
    media: dict[str, dict[str, list[sdp.AudioDescription]]] = defaultdict(
        lambda: {"caller": [], "called": []}
    )
    for datagram in datagrams:
        message = _sip_of(datagram.payload)
        if message is None:
            continue
        _note_sip(calls, media, message, datagram.time_ns)
    if not calls:
        return [_call_without_sip(streams)] if streams else []
    for call_id, call in calls.items():
        for side, into in (("caller", call.caller), ("called", call.called)):
            for described in media[call_id][side]:
                for stream in streams:
                    if stream.source == (described.host, described.port) and stream not in into:
                        stream.event_type = described.telephone_event
                        into.append(stream)
            into.sort(key=lambda stream: -len(stream.packets))
    return list(calls.values())


def _sip_of(payload: bytes) -> SipRequest | SipResponse | None:
    if b"SIP/2.0" not in payload[:2000]:
        return None
    try:
        return sip_message.parse(payload)
    except SyntaxRefusedError:
        return None


def _note_sip(
    calls: dict[str, CapturedCall],
    media: dict[str, dict[str, list[sdp.AudioDescription]]],
    message: SipMessage,
    time_ns: int,
) -> None:
    number, method = message.cseq
    if isinstance(message, SipRequest) and method == "INVITE" and not message.to_tag:
        call = calls.setdefault(message.call_id, CapturedCall(message.call_id))
        call.invite_ns = call.invite_ns or time_ns
    call = calls.get(message.call_id, CapturedCall(""))
    if not call.call_id or not number:
        return
    answered = isinstance(message, SipResponse) and 200 <= message.status < 300
    if method == "INVITE" and answered and call.answer_ns is None:
        call.answer_ns = time_ns
    if message.body and method in {"INVITE", "ACK"}:
        try:
            described = sdp.parse(message.body)
        except SyntaxRefusedError:
            return
        side = "called" if isinstance(message, SipResponse) else "caller"
        media[message.call_id][side].append(described)


def _call_without_sip(streams: list[CapturedStream]) -> CapturedCall:
    first = min(streams, key=lambda stream: stream.packets[0][0])
    call = CapturedCall("")
    for stream in sorted(streams, key=lambda stream: -len(stream.packets)):
        (call.caller if stream.source == first.source else call.called).append(stream)
    return call
