"""The way of the caller's audio through the edge: ``ReceivePath.datagram``, top to bottom."""

from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from typing import Final

from voicebot.audio import comfort_noise, concealment, g711
from voicebot.core.errors import MalformedRtpError
from voicebot.edge.signalling import NegotiatedMedia
from voicebot.rtp.jitter_buffer import FrameKind, InsertResult, JitterBuffer, JitterFrame, ReadMode
from voicebot.rtp.packet import COMFORT_NOISE, PCMA, PCMU, RtpPacket, parse_rtp
from voicebot.rtp.rtcp import RtcpPacket, SenderReport, parse_rtcp
from voicebot.rtp.source_guard import SourceGuard, SourceVerdict
from voicebot.rtp.stream_stats import StreamStatistics
from voicebot.rtp.telephone_event import DtmfPressed, DtmfReleased, TelephoneEventDecoder

_SILENCE_ULAW: Final = bytes([g711.ULAW_SILENCE]) * g711.FRAME_SAMPLES

FrameSink = Callable[["HeardFrame"], None]
DigitSink = Callable[[DtmfPressed | DtmfReleased], None]


class HeardFrame:
    """20 ms of the caller, in order.

    Attributes:
        ulaw: 160 bytes of G.711 mu-law, concealed where it was lost.
        timestamp: Extended RTP timestamp of the first sample.
        concealed: It was lost; the audio is a guess.
        dtx: The sender sent nothing; the audio is silence or comfort noise.
        source_payload: The codec bytes as they came when nothing had to be changed, else None.
        source_payload_type: 0 or 8.
    """

    __slots__ = ("concealed", "dtx", "source_payload", "source_payload_type", "timestamp", "ulaw")

    def __init__(
        self,
        ulaw: bytes,
        timestamp: int,
        *,
        concealed: bool = False,
        dtx: bool = False,
        source_payload: bytes | None = None,
        source_payload_type: int = PCMU,
    ) -> None:
        self.ulaw = ulaw
        self.timestamp = timestamp
        self.concealed = concealed
        self.dtx = dtx
        self.source_payload = source_payload
        self.source_payload_type = source_payload_type


class ReceivePath:
    """Receives one RTP stream. All times are monotonic microseconds given by the caller.

    Args:
        on_frame: Takes each frame in order.
        on_digit: Takes key presses and releases of RFC 4733.
        jitter_max_ms: Bound of the adaptive delay.
        port_follow_packets: Packets from a new port before it is followed.
        seed: Seed of concealment and comfort noise.
    """

    def __init__(
        self,
        on_frame: FrameSink,
        on_digit: DigitSink,
        *,
        jitter_max_ms: int = 200,
        port_follow_packets: int = 10,
        seed: int = 0,
    ) -> None:
        self._on_frame = on_frame
        self._on_digit = on_digit
        self._jitter_max_ms = jitter_max_ms
        self._port_follow_packets = port_follow_packets
        self._guard: SourceGuard | None = None
        self._event_payload_type: int | None = None
        self._statistics = StreamStatistics()
        self._jitter = self._new_jitter_buffer()
        self._events = TelephoneEventDecoder()
        self._concealer = concealment.Concealer(seed)
        self._comfort_noise = comfort_noise.ComfortNoise(seed)
        self._noise_described = False
        self.last_packet_us: int | None = None
        self.concealed_frames = 0
        self.counters: Counter[str] = Counter()

    # ------------------------------------------------------------------ set-up

    def expect(self, media: NegotiatedMedia) -> None:
        """Take packets of this peer and these payload types from now on (first answer, re-INVITE)."""
        event_type = media.event_receive_payload_type
        if not media.address:
            if self._guard is not None:
                self._guard.held = True
            return
        if self._guard is None:
            self._guard = SourceGuard(
                media.address,
                media.port,
                payload_types=[PCMU, PCMA, COMFORT_NOISE, *range(96, 128)],  # dynamic ones carry keys
                follow_after_packets=self._port_follow_packets,
            )
            self._set_event_type(event_type)
        else:
            self._guard.expect(media.address, media.port)
            if event_type != self._event_payload_type:
                self._set_event_type(event_type)
        # On hold nothing is expected, and nobody else may take the silent caller's place.
        self._guard.held = not media.receive

    @property
    def remote(self) -> tuple[str, int] | None:
        """Where our own packets must go: the port the peer really sends from, once it is known."""
        return None if self._guard is None else self._guard.remote

    # ------------------------------------------------------------------ the way of a datagram

    def datagram(self, datagram: bytes, address: str, port: int, arrival_us: int) -> None:
        """One datagram of the RTP port: guard, statistics, then key press or audio."""
        try:
            packet = parse_rtp(datagram)
        except MalformedRtpError:
            self.counters["malformed"] += 1
            return
        if self._guard is None:
            self.counters["early"] += 1
            return
        verdict = self._guard.check(address, port, packet, arrival_us)
        if verdict is not SourceVerdict.ACCEPTED:
            self.counters["unusable" if verdict is SourceVerdict.INVALID else "foreign"] += 1
            return
        self.last_packet_us = arrival_us
        self._statistics.receive(packet, arrival_us)
        if packet.payload_type == self._event_payload_type:
            self._take_event(packet, arrival_us)
        result = self._jitter.insert(packet, arrival_us)
        if result is InsertResult.LATE:
            self._statistics.note_late()
        elif result is InsertResult.UNUSABLE:
            self.counters["unusable"] += 1
        self._release(arrival_us)

    def tick(self, now_us: int) -> None:
        """Once per 20 ms: what is due although nothing arrived."""
        for digit in self._events.poll(now_us):
            self._on_digit(digit)
        self._release(now_us)

    def _release(self, now_us: int) -> None:
        frames = self._jitter.read(now_us)
        for frame, after in zip_longest(frames, frames[1:]):
            self._on_frame(self._voice(frame, after))

    def _voice(self, frame: JitterFrame, after: JitterFrame | None) -> HeardFrame:
        if frame.kind is FrameKind.SPEECH:
            if self._concealer.lost_frames:
                samples = self._concealer.good(g711.decode(frame.payload_type, frame.payload))
                return HeardFrame(g711.encode_ulaw(samples), frame.timestamp)
            self._concealer.received(frame.payload_type, frame.payload)
            ulaw = frame.payload if frame.payload_type == PCMU else g711.alaw_to_ulaw(frame.payload)
            return HeardFrame(
                ulaw,
                frame.timestamp,
                source_payload=frame.payload,
                source_payload_type=frame.payload_type,
            )
        if frame.kind is FrameKind.LOST:
            self.concealed_frames += 1
            following = None
            if after is not None and after.kind is FrameKind.SPEECH:
                following = g711.decode(after.payload_type, after.payload)
            samples = self._concealer.lost(following)
            return HeardFrame(g711.encode_ulaw(samples), frame.timestamp, concealed=True)
        if frame.kind is FrameKind.COMFORT_NOISE:
            try:
                self._comfort_noise.update(frame.payload)
                self._noise_described = True
            except MalformedRtpError:
                self.counters["malformed"] += 1
        if self._noise_described:
            samples = self._concealer.good(self._comfort_noise.generate(g711.FRAME_SAMPLES))
            return HeardFrame(g711.encode_ulaw(samples), frame.timestamp, dtx=True)
        return HeardFrame(_SILENCE_ULAW, frame.timestamp, dtx=True)

    def _take_event(self, packet: RtpPacket, arrival_us: int) -> None:
        try:
            digits = self._events.receive(packet, arrival_us)
        except MalformedRtpError:
            self.counters["malformed"] += 1
            return
        for digit in digits:
            self._on_digit(digit)

    # ------------------------------------------------------------------ RTCP and figures

    def rtcp(self, datagram: bytes, address: str, arrival_us: int) -> tuple[RtcpPacket, ...]:
        """One datagram of the RTCP port; gives what was in it, nothing when it does not count."""
        if self._guard is None or not self._guard.check_rtcp(address):
            self.counters["foreign"] += 1
            return ()
        try:
            packets = parse_rtcp(datagram)
        except MalformedRtpError:
            self.counters["malformed"] += 1
            return ()
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._statistics.receive_sender_report(packet, arrival_us)
        return packets

    @property
    def statistics(self) -> StreamStatistics:
        """Reception statistics, taken before the jitter buffer."""
        return self._statistics

    @property
    def jitter(self) -> JitterBuffer:
        """The jitter buffer, for its figures."""
        return self._jitter

    def _set_event_type(self, payload_type: int | None) -> None:
        self._event_payload_type = payload_type
        if self._statistics.ssrc is None:
            self._statistics = StreamStatistics(telephone_event_payload_type=payload_type)
            self._jitter = self._new_jitter_buffer()

    def _new_jitter_buffer(self) -> JitterBuffer:
        # Eager: the recogniser need not wait for playout (docs/adr/0002).
        return JitterBuffer(
            ReadMode.EAGER,
            telephone_event_payload_type=self._event_payload_type,
            max_delay_ms=self._jitter_max_ms,
        )


def warm_up() -> None:
    """Conceal one loss of nothing: the first time costs ten milliseconds, which no call shall pay."""
    concealer = concealment.Concealer()
    for _ in range(4):
        concealer.good(g711.decode_ulaw(_SILENCE_ULAW))
    concealer.lost()
    concealer.good(g711.decode_ulaw(_SILENCE_ULAW))
    comfort_noise.ComfortNoise(0).generate(g711.FRAME_SAMPLES)
