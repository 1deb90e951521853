"""DTMF as telephone events (RFC 4733) in both directions, and one press out of several sources."""

import struct
from collections import OrderedDict, deque
from typing import Final, Literal

import msgspec

from voicebot.core.errors import MalformedRtpError
from voicebot.rtp.packet import FRAME_MS, SAMPLE_RATE_HZ, RtpPacket
from voicebot.rtp.sequence import signed_difference

DIGITS: Final = "0123456789*#ABCD"
"""Event codes 0-15 in order (RFC 4733 section 3.2)."""

DtmfSource = Literal["rfc4733", "info", "inband"]

_EVENT = struct.Struct("!BBH")
_END: Final = 0x80
_SAMPLES_PER_MS: Final = SAMPLE_RATE_HZ // 1000
_MAX_SEGMENT_SAMPLES: Final = 0xFFFF
_HISTORY: Final = 32
_DEFAULT_TIMEOUT_MS: Final = 200
_REPEAT_SAMPLES: Final = 160
_LATE_SAMPLES: Final = 5 * SAMPLE_RATE_HZ


class DtmfPressed(msgspec.Struct, frozen=True, gc=False):
    """A key went down; reported once, with the first packet of the press that arrives."""

    digit: str
    at_us: int
    """Monotonic arrival time of that packet."""
    timestamp: int
    """RTP timestamp of the press, 32 bit."""


class DtmfReleased(msgspec.Struct, frozen=True, gc=False):
    """The key went up, or its packets ceased."""

    digit: str
    at_us: int
    duration_ms: int
    """As far as it was heard of."""
    timed_out: bool
    """True when no end packet came."""


class EventPacket(msgspec.Struct, frozen=True, gc=False):
    """One telephone-event payload to send, at ``offset_ms`` after the start of the press."""

    offset_ms: int
    marker: bool
    payload: bytes


class _Press:
    """The press that is going on, or the last one."""

    __slots__ = ("digit", "ended", "last_at_us", "segment", "segment_samples", "ssrc", "timestamp")

    def __init__(self, digit: str, ssrc: int, timestamp: int, at_us: int) -> None:
        self.digit = digit
        self.ssrc = ssrc
        self.timestamp = timestamp
        self.segment = timestamp
        self.segment_samples = 0
        self.last_at_us = at_us
        self.ended = False

    @property
    def duration_ms(self) -> int:
        before = signed_difference(self.segment, self.timestamp, 32)
        return (before + self.segment_samples) // _SAMPLES_PER_MS

    def continued_by(self, digit: str, ssrc: int, timestamp: int) -> bool:
        """Whether a packet with a new timestamp still belongs to this press.

        Long presses come in segments of 0xFFFF samples (RFC 4733 section 2.5.1.3), of which whole
        ones may be lost; and some gateways move the timestamp on with each update.
        """
        if digit != self.digit or ssrc != self.ssrc:
            return False
        step = signed_difference(timestamp, self.segment, 32)
        if step % _MAX_SEGMENT_SAMPLES == 0:
            return True
        # A finger needs at least 40 ms to press the same key again.
        return abs(step) <= self.segment_samples + _REPEAT_SAMPLES


class TelephoneEventDecoder:
    """Turns telephone-event packets into one press and one release each.

    The first packet of a press that arrives reports it, whichever it is: so lost starts and lost
    ends do not matter, and a press is told apart by its timestamp, so duplicates do not either.

    Args:
        timeout_ms: A press without further packets ends after this time.
    """

    def __init__(self, *, timeout_ms: int = _DEFAULT_TIMEOUT_MS) -> None:
        self._timeout_us = timeout_ms * 1000
        self._press: _Press | None = None
        self._seen: OrderedDict[tuple[int, int], None] = OrderedDict()

    def receive(self, packet: RtpPacket, arrival_us: int) -> list[DtmfPressed | DtmfReleased]:
        """Take one packet of the telephone-event payload type, in any order, any number of times.

        Events above 15 (flash, modem and fax tones) are ignored.

        Raises:
            MalformedRtpError: The payload is shorter than 4 bytes.
        """
        if len(packet.payload) < _EVENT.size:
            raise MalformedRtpError(f"telephone event of {len(packet.payload)} bytes")
        event, flags, samples = _EVENT.unpack_from(packet.payload)
        if event >= len(DIGITS):
            return []
        digit = DIGITS[event]
        timestamp = packet.timestamp
        out: list[DtmfPressed | DtmfReleased] = []
        press = self._press
        key = (packet.ssrc, timestamp)
        if key not in self._seen:
            self._remember(key)
            if press is None or not press.continued_by(digit, packet.ssrc, timestamp):
                out += self._new_press(digit, packet.ssrc, timestamp, arrival_us)
                press = self._press
        assert press is not None  # a timestamp that was seen left its press behind
        if press.ended or press.digit != digit:
            return out
        step = signed_difference(timestamp, press.segment, 32)
        if step < 0 or press.ssrc != packet.ssrc:
            return out
        if step > 0 and not press.continued_by(digit, packet.ssrc, timestamp):
            return out
        if step > 0:
            press.segment = timestamp
            press.segment_samples = 0
        press.last_at_us = arrival_us
        press.segment_samples = max(press.segment_samples, samples)
        if flags & _END:
            press.ended = True
            out.append(DtmfReleased(digit, arrival_us, press.duration_ms, timed_out=False))
        return out

    def poll(self, now_us: int) -> list[DtmfPressed | DtmfReleased]:
        """The release of a press whose packets ceased; call once per tick."""
        press = self._press
        if press is None or press.ended or now_us - press.last_at_us < self._timeout_us:
            return []
        press.ended = True
        return [DtmfReleased(press.digit, now_us, press.duration_ms, timed_out=True)]

    def _new_press(
        self, digit: str, ssrc: int, timestamp: int, arrival_us: int
    ) -> list[DtmfPressed | DtmfReleased]:
        out: list[DtmfPressed | DtmfReleased] = []
        old = self._press
        if old is not None and old.ssrc == ssrc:
            step = signed_difference(timestamp, old.timestamp, 32)
            if -_LATE_SAMPLES < step < 0:
                # All packets of an earlier press were overtaken: report it, stay with the later.
                return [DtmfPressed(digit, arrival_us, timestamp)]
        if old is not None and not old.ended:
            out.append(DtmfReleased(old.digit, arrival_us, old.duration_ms, timed_out=True))
        self._press = _Press(digit, ssrc, timestamp, arrival_us)
        out.append(DtmfPressed(digit, arrival_us, timestamp))
        return out

    def _remember(self, key: tuple[int, int]) -> None:
        self._seen[key] = None
        if len(self._seen) > _HISTORY:
            self._seen.popitem(last=False)


class DtmfDeduplicator:
    """Counts a press once although RFC 4733, SIP INFO and in-band detection all report it.

    Two reports of one source are two presses; a report of another source is the same press if an
    equal digit inside the window has not been told by that source yet.

    Args:
        window_ms: How far apart two sources may report the same press.
    """

    def __init__(self, *, window_ms: int = 2000) -> None:
        self._window_us = window_ms * 1000
        self._recent: deque[tuple[str, list[int], set[DtmfSource]]] = deque(maxlen=_HISTORY)

    def accept(self, digit: str, source: DtmfSource, at_us: int) -> bool:
        """Whether this report is a new press; False when another source told of it already."""
        for known, last_us, sources in self._recent:
            recent = abs(at_us - last_us[0]) <= self._window_us
            if known == digit and source not in sources and recent:
                sources.add(source)
                return False
        self._recent.append((digit, [at_us], {source}))
        return True

    def note_release(self, digit: str, source: DtmfSource, at_us: int) -> None:
        """A long press lasts: INFO often comes at its end, so the window starts anew here."""
        for known, last_us, sources in reversed(self._recent):
            if known == digit and source in sources:
                last_us[0] = max(last_us[0], at_us)
                return


def encode_digit(digit: str, *, duration_ms: int = 100, volume: int = 10) -> list[EventPacket]:
    """The payloads of one press: first with marker, an update each 20 ms, three times the end.

    The end packets are 20 ms apart, so that one lost burst does not take all three.

    Args:
        digit: One of ``0-9*#A-D``.
        duration_ms: 40-5000, rounded up to a multiple of 20.
        volume: Power in -dBm0, 0-63.

    Raises:
        ValueError: An argument is out of range.
    """
    if len(digit) != 1 or digit not in DIGITS:
        raise ValueError(f"{digit!r} is no DTMF digit")
    if not 40 <= duration_ms <= 5000:
        raise ValueError(f"duration of {duration_ms} ms is outside 40-5000 ms")
    if not 0 <= volume <= 63:
        raise ValueError(f"volume of {volume} is outside 0-63")
    event = DIGITS.index(digit)
    updates = -(-duration_ms // FRAME_MS)
    packets = []
    for index in range(updates + 2):
        samples = min(index + 1, updates) * FRAME_MS * _SAMPLES_PER_MS
        flags = volume | (_END if index >= updates - 1 else 0)
        payload = _EVENT.pack(event, flags, samples)
        packets.append(EventPacket(index * FRAME_MS, index == 0, payload))
    return packets
