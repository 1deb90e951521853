"""Outgoing RTP state of one stream: numbers without gaps, one packet per 20 ms tick."""

from collections import deque

from voicebot.rtp.packet import FRAME_SAMPLES, PCMU, RtpPacket
from voicebot.rtp.telephone_event import EventPacket, encode_digit


class Packetizer:
    """Makes exactly one RTP packet per tick; sequence numbers and timestamps are contiguous.

    While a digit is being sent its telephone-event packets take the place of audio (RFC 4733
    section 2.5.1); the media clock runs on underneath.

    Args:
        ssrc: Our SSRC, chosen at random by the caller of this class.
        first_sequence_number: Random 16-bit start (RFC 3550 section 5.1).
        first_timestamp: Random 32-bit start.
        payload_type: PCMU or PCMA, as agreed.
        telephone_event_payload_type: As agreed; None when the far end takes no events.
    """

    def __init__(
        self,
        ssrc: int,
        *,
        first_sequence_number: int,
        first_timestamp: int,
        payload_type: int = PCMU,
        telephone_event_payload_type: int | None = None,
    ) -> None:
        self.ssrc = ssrc
        self.payload_type = payload_type
        """May be changed between two ticks, after a re-INVITE."""
        self.telephone_event_payload_type = telephone_event_payload_type
        self.packet_count = 0
        """Packets made, for the sender report."""
        self.octet_count = 0
        """Payload bytes made, for the sender report."""
        self._sequence_number = first_sequence_number & 0xFFFF
        self._timestamp = first_timestamp & 0xFFFFFFFF
        self._in_talkspurt = False
        self._events: deque[tuple[int, EventPacket]] = deque()
        self._event_queue: deque[tuple[str, int]] = deque()
        self._pause_frames = 0

    @property
    def timestamp(self) -> int:
        """RTP timestamp that the next tick has, for the sender report."""
        return self._timestamp

    @property
    def sending_digits(self) -> bool:
        """Whether a digit is being sent or waits."""
        return bool(self._events or self._event_queue or self._pause_frames)

    def send_digits(self, digits: str, *, duration_ms: int = 100) -> None:
        """Queue digits ``0-9*#A-D``; they start with the next tick, 60 ms apart.

        Raises:
            ValueError: An unknown digit, a duration outside 40-5000 ms, more than 64 queued, or the
                far end takes no telephone events.
        """
        if self.telephone_event_payload_type is None:
            raise ValueError("telephone events were not agreed with the far end")
        for digit in digits:
            encode_digit(digit, duration_ms=duration_ms)
        if len(self._event_queue) + len(digits) > 64:
            raise ValueError("more than 64 digits would be queued")
        self._event_queue.extend((digit, duration_ms) for digit in digits)

    def tick(self, payload: bytes, *, silence: bool = False) -> RtpPacket:
        """The packet of this tick.

        Args:
            payload: 160 bytes of the agreed codec; unused while a digit is being sent.
            silence: The frame carries nothing to hear; the first one after it carries the marker.
        """
        event = self._next_event()
        if event is None:
            marker = not silence and not self._in_talkspurt
            self._in_talkspurt = not silence
            packet = self._packet(self.payload_type, self._timestamp, payload, marker=marker)
        else:
            timestamp, part = event
            self._in_talkspurt = False
            event_type = self.telephone_event_payload_type
            assert event_type is not None  # send_digits refuses to queue without one
            packet = self._packet(event_type, timestamp, part.payload, marker=part.marker)
        self._timestamp = (self._timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
        return packet

    def skip(self) -> None:
        """Let one tick pass without a packet (on hold); the next frame is marked."""
        self._timestamp = (self._timestamp + FRAME_SAMPLES) & 0xFFFFFFFF
        self._in_talkspurt = False

    def _packet(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> RtpPacket:
        packet = RtpPacket(payload_type, self._sequence_number, timestamp, self.ssrc, marker, payload)
        self._sequence_number = (self._sequence_number + 1) & 0xFFFF
        self.packet_count += 1
        self.octet_count += len(payload)
        return packet

    def _next_event(self) -> tuple[int, EventPacket] | None:
        if self._pause_frames:
            self._pause_frames -= 1
            return None
        if not self._events and self._event_queue:
            digit, duration_ms = self._event_queue.popleft()
            start = self._timestamp
            self._events.extend((start, part) for part in encode_digit(digit, duration_ms=duration_ms))
        if not self._events:
            return None
        event = self._events.popleft()
        if not self._events:
            # The three end packets already fill 40 ms of the pause between two digits.
            self._pause_frames = 3
        return event
