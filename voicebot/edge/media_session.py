"""One RTP session: sockets, receive path, send path and RTCP, on the clock of the process."""

import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from voicebot.config.settings import RtpSettings
from voicebot.edge.frame_clock import FrameClock
from voicebot.edge.receive_path import HeardFrame, ReceivePath
from voicebot.edge.rtp_port import RtpPort
from voicebot.edge.send_path import SendPath
from voicebot.edge.signalling import NegotiatedMedia
from voicebot.link.messages import Stats
from voicebot.rtp.packetizer import Packetizer
from voicebot.rtp.rtcp import ReceiverReport, SenderReport, SourceDescription, build_rtcp
from voicebot.rtp.telephone_event import DtmfPressed, DtmfReleased

_REPORT_TICKS: Final = 250
_NTP_EPOCH_S: Final = 2_208_988_800
_FRAME_MS: Final = 20


def received_stats(path: ReceivePath) -> Stats:
    """What is known of the stream that a receive path receives."""
    received = path.statistics.snapshot()
    return Stats(
        received_packets=received.received,
        lost_packets=received.lost,
        late_packets=received.late,
        duplicate_packets=received.duplicate,
        foreign_packets=path.counters["foreign"],
        malformed_packets=path.counters["malformed"],
        jitter_ms=round(received.jitter_ms, 2),
        target_delay_ms=round(path.jitter.target_delay_ms, 1),
        concealed_ms=path.concealed_frames * _FRAME_MS,
    )


class MediaOwner(Protocol):
    """What a media session tells its owner; called on the frame clock, so it must be quick."""

    def on_heard(self, frame: HeardFrame) -> None:
        """20 ms of the far end, in order."""

    def on_key(self, key: DtmfPressed | DtmfReleased) -> None:
        """A telephone event."""

    def on_sent(self, ulaw: bytes) -> None:
        """20 ms that went out, mu-law."""

    def on_tick(self, now_us: int) -> None:
        """The end of each 20 ms tick."""


class MediaSession:
    """The media of one SIP leg, from the first answer to its end.

    Args:
        port: The sockets that our SDP names.
        clock: Clock of the process.
        settings: Media settings.
        owner: Who hears.
    """

    def __init__(
        self, port: RtpPort, clock: FrameClock, settings: RtpSettings, owner: MediaOwner
    ) -> None:
        self._port = port
        self._clock = clock
        self._owner = owner
        chance = random.Random()
        self._cname = f"{chance.getrandbits(64):016x}".encode()
        packetizer = Packetizer(
            chance.getrandbits(32),
            first_sequence_number=chance.getrandbits(15),
            first_timestamp=chance.getrandbits(31),
        )
        self.send = SendPath(packetizer, self._transmit, owner.on_sent)
        self.receive = ReceivePath(
            owner.on_heard,
            owner.on_key,
            jitter_max_ms=settings.jitter_max_ms,
            port_follow_packets=settings.port_follow_packets,
        )
        self.agreed: NegotiatedMedia | None = None
        self.on_far_report: Callable[[float | None, int], None] | None = None
        """Told of each RTCP report of the far end: the share it lost of our packets (None when it says
        nothing about them) and how many we have sent."""
        self._ticks = 0

    def agree(self, media: NegotiatedMedia) -> None:
        """Follow an outcome of offer and answer; the first one starts the clock."""
        first = self.agreed is None
        self.agreed = media
        self.receive.expect(media)
        self.send.expect(media)
        if first:
            self._port.listen(self.receive.datagram, self._rtcp_datagram)
            self._clock.add(self)

    def tick(self, now_us: int) -> None:
        """One frame is due."""
        del now_us
        self.send.tick()

    def after_tick(self, now_us: int) -> None:
        """What can wait until all legs have sent."""
        self.receive.tick(now_us)
        self._ticks += 1
        if self._ticks % _REPORT_TICKS == 0:
            self._send_report(now_us)
        self._owner.on_tick(now_us)

    def close(self) -> None:
        """Stop for good."""
        self._clock.remove(self)
        self._port.close()

    def stats(self) -> Stats:
        """Line quality so far."""
        return replace(
            received_stats(self.receive),
            sent_packets=self.send.packetizer.packet_count,
            queue_ms=int(self.send.queued_ms),
            dropped_queue_ms=int(self.send.dropped_ms),
        )

    def _transmit(self, datagram: bytes) -> None:
        remote = self.receive.remote
        if remote is not None:
            self._port.send(datagram, remote)

    def _rtcp_datagram(self, datagram: bytes, address: str, port: int, arrival_us: int) -> None:  # noqa: ARG002 - the port of RTCP may be any
        packets = self.receive.rtcp(datagram, address, arrival_us)
        if self.on_far_report is None:
            return
        sent = self.send.packetizer
        for packet in packets:
            if isinstance(packet, SenderReport | ReceiverReport):
                ours = (b.fraction_lost / 256 for b in packet.report_blocks if b.ssrc == sent.ssrc)
                self.on_far_report(next(ours, None), sent.packet_count)

    def _send_report(self, now_us: int) -> None:
        remote = self.receive.remote
        if remote is None:
            return
        packetizer = self.send.packetizer
        block = self.receive.statistics.report_block(now_us)
        blocks = () if block is None else (block,)
        report: SenderReport | ReceiverReport
        if packetizer.packet_count:
            # NTP time is wall-clock time by definition (RFC 3550 section 4); nothing else here is.
            wall_ns = time.time_ns()
            seconds, rest = divmod(wall_ns, 1_000_000_000)
            ntp = (seconds + _NTP_EPOCH_S) << 32 | (rest << 32) // 1_000_000_000
            report = SenderReport(
                ssrc=packetizer.ssrc,
                ntp_timestamp=ntp,
                rtp_timestamp=packetizer.timestamp,
                packet_count=packetizer.packet_count,
                octet_count=packetizer.octet_count,
                report_blocks=blocks,
            )
        else:
            report = ReceiverReport(ssrc=packetizer.ssrc, report_blocks=blocks)
        names = SourceDescription(cnames=((packetizer.ssrc, self._cname),))
        self._port.send_rtcp(build_rtcp((report, names)), (remote[0], remote[1] + 1))
