"""The caller's media: one RTP port pair, a paced stream out, and everything that came in.

                ┌ the line's clock ─ next packet ─ impairment ─┐
say, press ──▶ OutgoingStream                                  ├─▶ RtpLine
wait for bot ◀─ received packets, levels, keys ◀── event loop ─┘
"""

from __future__ import annotations

import asyncio
import functools
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sip_test_harness import g711
from sip_test_harness.clock import NS_PER_MS, now_ns, wall_ns
from sip_test_harness.errors import SyntaxRefusedError
from sip_test_harness.impairment import ON_TIME, Fate, ImpairedPacket, Impairment, Perfect
from sip_test_harness.outgoing_stream import OutgoingPacket, OutgoingStream, Utterance
from sip_test_harness.reception import Reception
from sip_test_harness.rtp_line import RtpLine, UdpLine
from sip_test_harness.rtp_packet import (
    ReportBlock,
    RtpPacket,
    build_sender_report,
    parse_report_blocks,
    parse_rtp,
)
from sip_test_harness.rtp_statistics import ReceivedPacket
from sip_test_harness.telephone_event import EventReceiver, KeyShape, tone
from sip_test_harness.udp import Address, Capture, NetworkGuard
from sip_test_harness.voice import Voice, VoicePath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_RTCP_INTERVAL_MS = 5000


@dataclass(frozen=True)
class SentPacket:
    """A packet of the caller: when it should have left, when it left, and what it was."""

    due_ns: int
    sent_ns: int
    packet: RtpPacket


@dataclass
class MediaOptions:
    """How the caller's media behaves.

    Args:
        codec: PCMU or PCMA payload type offered first.
        ptime_ms: packet time, a multiple of 10.
        send_silence: False stops packets between utterances (DTX).
        rtcp: send a sender report every 5 s.
        realtime: ask for real-time priority of the sending thread.
        voice: echo, noise and the like of the caller; None leaves the sound alone. Only with
            20 ms packets and without DTX.
        impairment_out: fate of each packet from the caller to the bot.
        impairment_in: fate of each packet from the bot to the caller.
    """

    codec: int = g711.PCMU
    ptime_ms: int = 20
    send_silence: bool = True
    rtcp: bool = True
    realtime: bool = True
    voice: Voice | None = None
    impairment_out: Impairment = field(default_factory=Perfect)
    impairment_in: Impairment = field(default_factory=Perfect)


class MediaSession:
    """RTP of one call.

    Args:
        host: local address.
        options: codec, packet time, impairments.
        guard: decides where packets may go.
        capture: records every datagram at the socket.
        seed: start of every random choice.
        on_change: called on the event loop when the bot becomes audible or an utterance ends.
        line: where packets go and come from; a pair of UDP sockets when None.
    """

    def __init__(
        self,
        host: str,
        options: MediaOptions,
        *,
        guard: NetworkGuard,
        capture: Capture,
        seed: int,
        on_change: Callable[[], None],
        line: RtpLine | None = None,
    ) -> None:
        self.options = options
        self.random = random.Random(seed)
        self._on_change = on_change
        voice = options.voice
        self._voice = None if voice is None or voice.plain else VoicePath(voice, seed)
        self._loop = asyncio.get_running_loop()
        self._line = line or UdpLine(host, guard, capture, realtime=options.realtime)
        self._line.open(self._on_rtp, self._on_rtcp)
        self.address: Address = self._line.address
        self.remote: Address | None = None
        self.stream: OutgoingStream | None = None
        self.event_type: int | None = 101
        self.sent: list[SentPacket] = []
        self.spoken: list[tuple[int, bytes, int]] = []
        self.lost_out_ns: list[int] = []
        self.fates: list[tuple[RtpPacket, bool, int]] = []
        self.lateness_ms: list[float] = []
        self.received: list[ReceivedPacket] = []
        self.heard: list[ReceivedPacket] = []
        self.delayed: list[tuple[ReceivedPacket, int]] = []
        self.events = EventReceiver()
        self.report_blocks: list[ReportBlock] = []
        self._reception = Reception()
        self.not_rtp = 0
        self.foreign = 0
        self.utterances: list[Utterance] = []
        self.first_audible_ns: int | None = None
        self.last_audible_ns: int | None = None
        self.paused = False
        self.error: BaseException | None = None
        self._running = False
        self._closed = False
        self._verbatim = False
        self._next_report_ns = 0
        self._packet_index_in = 0

    # --- sending ------------------------------------------------------------------------------

    def connect(self, remote: Address, payload_type: int, event_type: int | None) -> None:
        """Send to this address with this codec from now on; the first call starts the clock."""
        self.remote = remote
        self.event_type = event_type
        if self.stream is None:
            self.stream = OutgoingStream(
                payload_type,
                event_type,
                self.options.ptime_ms,
                self.random,
                send_silence=self.options.send_silence,
            )
        self.stream.payload_type = payload_type
        self.stream.event_type = event_type
        if not self._running:
            self._running = True
            start_ns = now_ns() + NS_PER_MS
            self._next_report_ns = start_ns + 500 * NS_PER_MS
            self._line.call_at(start_ns, self._tick)

    def say(self, samples: NDArray[np.int16], label: str = "") -> Utterance:
        """Queue 8 kHz samples; they begin at the next packet time."""
        utterance = self._utterance(label)
        self._stream().play(samples, utterance)
        return utterance

    def press(self, digits: str, shape: KeyShape) -> Utterance:
        """Queue key presses as RFC 4733 events."""
        utterance = self._utterance(f"dtmf {digits}")
        utterance.words = False
        self._stream().press(digits, shape, utterance)
        return utterance

    def press_in_band(self, digits: str, shape: KeyShape) -> Utterance:
        """Queue key presses as tones in the audio."""
        parts: list[NDArray[np.int16]] = []
        for digit in digits:
            parts += [tone(digit, shape.duration_ms), np.zeros(shape.pause_ms * 8, np.int16)]
        return self.say(np.concatenate(parts), f"tones {digits}")

    def play_packets(self, packets: Sequence[tuple[float, RtpPacket]], label: str) -> Utterance:
        """Send recorded packets at their times (ms from now) instead of the stream's own.

        The stream's clock stops for good; impairments apply as usual.
        """
        utterance = self._utterance(label)
        self._verbatim = True
        start_ns = now_ns() + 20 * NS_PER_MS
        for index, (at_ms, packet) in enumerate(packets):
            level = (
                g711.level_dbfs(packet.payload, packet.payload_type)
                if packet.payload_type in g711.SILENCE_BYTE
                else 0.0
            )
            outgoing = OutgoingPacket(
                packet, utterance, level > g711.AUDIBLE_DBFS, index == len(packets) - 1
            )
            due_ns = start_ns + round(at_ms * NS_PER_MS)
            self._line.call_at(due_ns, functools.partial(self._verbatim_due, outgoing))
        return utterance

    def _verbatim_due(self, outgoing: OutgoingPacket, due_ns: int) -> None:
        if self._closed or self.paused:
            return
        packet = outgoing.packet
        if packet.payload_type in g711.SILENCE_BYTE:
            self.spoken.append((due_ns, packet.payload, packet.payload_type))
        self._dispatch(outgoing, due_ns)

    def stop_talking(self) -> None:
        """Drop what is still queued; silence follows."""
        if self.stream is not None and self.stream.clear():
            self._on_change()

    def send_raw(self, data: bytes, *, rtcp: bool = False) -> None:
        """Send bytes as they are to the far end's RTP (or RTCP) port: for hostile tests."""
        if self.remote is not None:
            if rtcp:
                self._line.send_rtcp(data, (self.remote[0], self.remote[1] + 1))
            else:
                self._line.send(data, self.remote)

    def first_audible_after(self, since_ns: int) -> int:
        """Return the arrival of the first audible packet later than this; 0 when there is none."""
        return min(
            (
                item.arrival_ns
                for item in self.heard
                if item.arrival_ns > since_ns
                and item.level_dbfs is not None
                and item.level_dbfs > g711.AUDIBLE_DBFS
            ),
            default=0,
        )

    @property
    def realtime_priority(self) -> bool:
        """Whether the sending thread runs under SCHED_FIFO."""
        return self._line.is_realtime

    def close(self) -> None:
        """Stop the clock and the sockets; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self.error = self.error or self._line.error
        self._line.close()

    def _stream(self) -> OutgoingStream:
        if self.stream is None:
            raise ValueError("the call has no media yet")
        return self.stream

    def _utterance(self, label: str) -> Utterance:
        utterance = Utterance(label)
        self.utterances.append(utterance)
        return utterance

    def _tick(self, due_ns: int) -> None:
        if self._closed or self._verbatim:
            return
        stream = self._stream()
        self._line.call_at(due_ns + self.options.ptime_ms * NS_PER_MS, self._tick)
        if self.paused:
            # On hold by RFC 3264: no media, but time goes on.
            stream.timestamp = (stream.timestamp + stream.samples) & 0xFFFFFFFF
            return
        outgoing = stream.next_packet()
        if outgoing is not None:
            if outgoing.packet.payload_type == stream.payload_type:
                outgoing = self._voiced(outgoing)
                self.spoken.append((due_ns, outgoing.packet.payload, stream.payload_type))
            self._dispatch(outgoing, due_ns)
        if self.options.rtcp and due_ns >= self._next_report_ns:
            self._next_report_ns = due_ns + _RTCP_INTERVAL_MS * NS_PER_MS
            report = build_sender_report(
                stream.ssrc,
                wall_ns=wall_ns(due_ns),
                timestamp=stream.timestamp,
                packets=stream.packets,
                octets=stream.octets,
                cname="caller@harness",
                block=self._reception.block(),
            )
            self.send_raw(report, rtcp=True)

    def _voiced(self, outgoing: OutgoingPacket) -> OutgoingPacket:
        """Pass a packet's sound through the caller's voice path."""
        if self._voice is None:
            return outgoing
        packet = outgoing.packet
        said = g711.decode(packet.payload, packet.payload_type)
        payload = g711.encode(self._voice.speak(said), packet.payload_type)
        return replace(outgoing, packet=replace(packet, payload=payload))

    def _fate(self, impairment: Impairment, packet: RtpPacket, at_ns: int) -> Fate:
        if isinstance(impairment, Perfect):
            return ON_TIME
        return impairment.fate(ImpairedPacket.of(packet, self.event_type), at_ns / NS_PER_MS)

    def _dispatch(self, outgoing: OutgoingPacket, due_ns: int) -> None:
        delays = self._fate(self.options.impairment_out, outgoing.packet, due_ns)
        self.fates.append((outgoing.packet, bool(delays), due_ns))
        if not delays:
            self.lost_out_ns.append(due_ns)
            self._mark(outgoing, due_ns)
        for index, delay_ms in enumerate(delays):
            marks = outgoing if index == 0 else OutgoingPacket(outgoing.packet)
            if delay_ms <= 0:
                self._send(marks, due_ns)
            else:
                later_ns = due_ns + round(delay_ms * NS_PER_MS)
                self._line.call_at(later_ns, functools.partial(self._send, marks))

    def _send(self, outgoing: OutgoingPacket, due_ns: int) -> None:
        if self._closed or self.remote is None:
            return
        sent_ns = self._line.send(outgoing.packet.encode(), self.remote)
        self.lateness_ms.append((sent_ns - due_ns) / NS_PER_MS)
        self.sent.append(SentPacket(due_ns, sent_ns, outgoing.packet))
        self._mark(outgoing, sent_ns)

    def _mark(self, outgoing: OutgoingPacket, at_ns: int) -> None:
        utterance = outgoing.utterance
        if utterance is None:
            return
        if utterance.started_ns is None:
            utterance.started_ns = at_ns
        if outgoing.speech:
            utterance.last_speech_ns = at_ns
            if utterance.first_speech_ns is None:
                utterance.first_speech_ns = at_ns
        if outgoing.last:
            utterance.finished = True
            self._loop.call_soon_threadsafe(self._on_change)

    # --- receiving ----------------------------------------------------------------------------

    def _on_rtp(self, data: bytes, source: Address, arrival_ns: int) -> None:
        try:
            packet = parse_rtp(data)
        except SyntaxRefusedError:
            self.not_rtp += 1
            return
        if self.remote is not None and source != self.remote:
            self.foreign += 1
        else:
            self._reception.receive(packet, arrival_ns)
        level = (
            g711.level_dbfs(packet.payload, packet.payload_type)
            if packet.payload_type in g711.SILENCE_BYTE
            else None
        )
        self.received.append(ReceivedPacket(arrival_ns, packet, level))
        for delay_ms in self._fate(self.options.impairment_in, packet, arrival_ns):
            item = ReceivedPacket(arrival_ns + round(delay_ms * NS_PER_MS), packet, level)
            self.delayed.append((item, arrival_ns))
            if delay_ms <= 0:
                self._hear(item)
            else:
                self._loop.call_later(delay_ms / 1000, self._hear, item)

    def _hear(self, item: ReceivedPacket) -> None:
        """Take a packet after the impairment of the way in: what the caller really gets."""
        self.heard.append(item)
        if self._voice is not None and item.level_dbfs is not None:
            self._voice.hear(g711.decode(item.packet.payload, item.packet.payload_type))
        if item.packet.payload_type == self.event_type:
            self.events.receive(item.packet, item.arrival_ns)
            self._on_change()
        elif item.level_dbfs is not None and item.level_dbfs > g711.AUDIBLE_DBFS:
            if self.first_audible_ns is None:
                self.first_audible_ns = item.arrival_ns
            self.last_audible_ns = item.arrival_ns
            self._on_change()

    def _on_rtcp(self, data: bytes, _source: Address, _arrival_ns: int) -> None:
        self.report_blocks += parse_report_blocks(data)
