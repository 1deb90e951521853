"""Keys pressed: RFC 4733 events out and in, SIP INFO bodies, and in-band tones."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sip_test_harness.rtp_packet import RtpPacket

DIGITS: Final = "0123456789*#ABCD"
_EVENT: Final = struct.Struct("!BBH")
_ROW_HZ: Final = (697, 770, 852, 941)
_COLUMN_HZ: Final = (1209, 1336, 1477, 1633)
_KEYPAD: Final = ("123A", "456B", "789C", "*0#D")


@dataclass(frozen=True)
class KeyShape:
    """How a key press looks on the wire; the defaults are those of a good gateway.

    ``end_packets`` of 0 is the defect "every end packet lost"; ``send_events`` of False leaves
    out the packets before the end; ``stated_duration`` overrides the duration field (0xFFFF).
    """

    duration_ms: int = 160
    pause_ms: int = 80
    end_packets: int = 3
    volume: int = 10
    send_events: bool = True
    stated_duration: int | None = None


@dataclass(frozen=True)
class EventPayload:
    """One RFC 4733 payload, and whether it opens the event (marker bit)."""

    payload: bytes
    first: bool
    end: bool


def event_payloads(digit: str, shape: KeyShape, ptime_ms: int) -> list[EventPayload]:
    """Return the payloads of one press, to be sent one per packet time with one timestamp.

    Raises:
        ValueError: not one of 0-9, *, #, A-D.
    """
    code = DIGITS.index(digit.upper())
    updates = max(1, shape.duration_ms // ptime_ms)
    out: list[EventPayload] = []
    if shape.send_events:
        for index in range(updates):
            duration = min(0xFFFF, (index + 1) * ptime_ms * 8)
            out.append(_payload(code, shape, duration, first=index == 0, end=False))
    total = min(0xFFFF, updates * ptime_ms * 8)
    for index in range(shape.end_packets):
        first = index == 0 and not shape.send_events
        out.append(_payload(code, shape, total, first=first, end=True))
    return out


def _payload(code: int, shape: KeyShape, duration: int, *, first: bool, end: bool) -> EventPayload:
    stated = duration if shape.stated_duration is None else shape.stated_duration
    return EventPayload(_EVENT.pack(code, (end << 7) | shape.volume, stated), first, end)


@dataclass
class ReceivedDigit:
    """One key press heard from the far end; arrival in monotonic ns."""

    digit: str
    arrival_ns: int
    duration_ms: float
    ended: bool
    packets: int = 1


@dataclass
class EventReceiver:
    """Turns RFC 4733 packets into presses: one per SSRC and timestamp, however often repeated."""

    digits: list[ReceivedDigit] = field(default_factory=list)
    malformed: int = 0
    _by_timestamp: dict[tuple[int, int], ReceivedDigit] = field(default_factory=dict)

    def receive(self, packet: RtpPacket, arrival_ns: int) -> None:
        """Take one packet of the telephone-event payload type."""
        if len(packet.payload) < 4 or packet.payload[0] >= len(DIGITS):
            self.malformed += 1
            return
        code, flags, duration = _EVENT.unpack_from(packet.payload)
        key = (packet.ssrc, packet.timestamp)
        known = self._by_timestamp.get(key)
        if known is None:
            known = ReceivedDigit(DIGITS[code], arrival_ns, duration / 8, bool(flags & 0x80))
            self._by_timestamp[key] = known
            self.digits.append(known)
            return
        known.packets += 1
        known.duration_ms = max(known.duration_ms, duration / 8)
        known.ended = known.ended or bool(flags & 0x80)


def info_body(digit: str, duration_ms: int = 160) -> tuple[str, bytes]:
    """Return content type and body of a SIP INFO key press."""
    text = f"Signal={digit}\r\nDuration={duration_ms}\r\n"
    return "application/dtmf-relay", text.encode()


def digit_of_info(content_type: str, body: bytes) -> str | None:
    """Return the key of a SIP INFO body (dtmf-relay or dtmf), or None."""
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    text = body.decode("utf-8", "replace").strip()
    if kind == "application/dtmf" and text in DIGITS and len(text) == 1:
        return text
    found = re.search(r"(?im)^signal\s*=\s*([0-9*#A-D])\s*$", text)
    return found.group(1).upper() if kind == "application/dtmf-relay" and found else None


def tone(digit: str, duration_ms: int, level: float = 0.25) -> NDArray[np.int16]:
    """Return the dual tone of a key at 8 kHz (ITU-T Q.23), each tone at ``level`` of full scale."""
    for row, keys in zip(_ROW_HZ, _KEYPAD, strict=True):
        if digit.upper() in keys:
            column = _COLUMN_HZ[keys.index(digit.upper())]
            time_s = np.arange(duration_ms * 8) / 8000
            wave = np.sin(2 * np.pi * row * time_s) + np.sin(2 * np.pi * column * time_s)
            return (wave * level * 32767).astype(np.int16)
    raise ValueError(f"not a telephone key: {digit!r}")
