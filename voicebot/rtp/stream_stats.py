"""Reception statistics of one stream, taken before the jitter buffer (RFC 3550 A.1, A.3, A.8).

What the network did, not what the buffer made of it: a packet that arrives too late to be played is
received here, and counted ``late`` only because the buffer says so.
"""

from typing import Final

import msgspec

from voicebot.rtp.packet import SAMPLE_RATE_HZ, RtpPacket
from voicebot.rtp.rtcp import ReportBlock, SenderReport
from voicebot.rtp.sequence import signed_difference

_MAX_DROPOUT: Final = 3000
_MAX_MISORDER: Final = 100
_SEEN_MASK: Final = (1 << 512) - 1
"""Duplicates are recognised among the last 512 sequence numbers."""
_MAX_TRANSIT_STEP_TICKS: Final = 5 * SAMPLE_RATE_HZ
"""A larger step between two packets is a new timestamp base, not jitter."""


class StreamSnapshot(msgspec.Struct, frozen=True, gc=False):
    """Counters since the start of the call, over all SSRCs.

    Attributes:
        received: Packets, without duplicates.
        expected: Packets the sequence numbers say were sent.
        lost: expected - received, never below 0.
        fraction_lost: lost / expected, 0.0-1.0.
        duplicate: Packets that came again.
        reordered: Packets that came after a later one.
        late: Packets that came too late for the jitter buffer.
        jitter_ms: Interarrival jitter (RFC 3550 A.8) of the current SSRC.
        ssrc_changes: How often another SSRC took over.
        restarts: How often the sequence numbers started anew under the same SSRC.
    """

    received: int = 0
    expected: int = 0
    lost: int = 0
    fraction_lost: float = 0.0
    duplicate: int = 0
    reordered: int = 0
    late: int = 0
    jitter_ms: float = 0.0
    ssrc_changes: int = 0
    restarts: int = 0


class StreamStatistics:
    """Counts every packet that the source guard accepted.

    Args:
        telephone_event_payload_type: Its packets repeat one timestamp (RFC 4733), so they count in
            the sequence but not in the jitter.
    """

    def __init__(self, *, telephone_event_payload_type: int | None = None) -> None:
        self._event_payload_type = telephone_event_payload_type
        self.ssrc: int | None = None
        """SSRC of the stream at present; None before the first packet."""
        self._base = 0
        self._highest = 0
        self._seen = 0
        self._bad_sequence: int | None = None
        self._received = 0
        self._past_expected = 0
        self._past_received = 0
        self._duplicate = 0
        self._reordered = 0
        self._late = 0
        self._ssrc_changes = 0
        self._restarts = 0
        self._jitter_ticks = 0.0
        self._last_transit_ticks: int | None = None
        self._prior_expected = 0
        self._prior_received = 0
        self._last_sr = 0
        self._last_sr_arrival_us = 0

    def receive(self, packet: RtpPacket, arrival_us: int) -> None:
        """Count one packet that arrived at a monotonic time."""
        sequence_number = packet.sequence_number
        if packet.ssrc != self.ssrc:
            if self.ssrc is not None:
                self._ssrc_changes += 1
            self.ssrc = packet.ssrc
            self._last_sr = 0
            self._start(sequence_number)
        else:
            step = signed_difference(sequence_number, self._highest & 0xFFFF, 16)
            if 0 < step < _MAX_DROPOUT:
                self._highest += step
                self._seen = (self._seen << step | 1) & _SEEN_MASK
            elif -_MAX_MISORDER < step <= 0:
                bit = 1 << -step
                if self._seen & bit:
                    self._duplicate += 1
                    return
                self._seen |= bit
                self._reordered += 1
                # The first packets of a stream may themselves come in the wrong order.
                self._base = min(self._base, self._highest + step)
            elif sequence_number == self._bad_sequence:
                self._restarts += 1
                self._start(sequence_number)
            else:
                self._bad_sequence = (sequence_number + 1) & 0xFFFF
                return
        self._bad_sequence = None
        self._received += 1
        if packet.payload_type != self._event_payload_type:
            self._measure_jitter(packet.timestamp, arrival_us)

    def note_late(self) -> None:
        """Count one packet that the jitter buffer found too late."""
        self._late += 1

    def receive_sender_report(self, report: SenderReport, arrival_us: int) -> None:
        """Remember an SR of this stream for ``last_sr`` and ``delay_since_last_sr``."""
        if report.ssrc == self.ssrc:
            self._last_sr = report.ntp_timestamp >> 16 & 0xFFFFFFFF
            self._last_sr_arrival_us = arrival_us

    def snapshot(self) -> StreamSnapshot:
        """The counters as they stand."""
        expected = self._past_expected + self._expected_here()
        lost = max(0, expected - self._received)
        return StreamSnapshot(
            received=self._received,
            expected=expected,
            lost=lost,
            fraction_lost=lost / expected if expected else 0.0,
            duplicate=self._duplicate,
            reordered=self._reordered,
            late=self._late,
            jitter_ms=self._jitter_ticks * 1000 / SAMPLE_RATE_HZ,
            ssrc_changes=self._ssrc_changes,
            restarts=self._restarts,
        )

    def report_block(self, now_us: int) -> ReportBlock | None:
        """The report block for the next SR or RR (RFC 3550 A.3); None before the first packet.

        ``fraction_lost`` covers the time since the previous call of this method.
        """
        if self.ssrc is None:
            return None
        expected = self._expected_here()
        received = self._received - self._past_received
        interval_expected = expected - self._prior_expected
        interval_lost = interval_expected - (received - self._prior_received)
        self._prior_expected = expected
        self._prior_received = received
        fraction = 0
        if interval_expected > 0 and interval_lost > 0:
            fraction = min(255, (interval_lost << 8) // interval_expected)
        delay = 0
        if self._last_sr:
            delay = (now_us - self._last_sr_arrival_us) * 65536 // 1_000_000
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=fraction,
            cumulative_lost=expected - received,
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter=int(self._jitter_ticks),
            last_sr=self._last_sr,
            delay_since_last_sr=min(delay, 0xFFFFFFFF),
        )

    def _expected_here(self) -> int:
        return 0 if self.ssrc is None else self._highest - self._base + 1

    def _start(self, sequence_number: int) -> None:
        if self._seen:
            self._past_expected += self._expected_here()
        self._past_received = self._received
        # One cycle up, so that a packet from before the first one stays positive.
        self._base = self._highest = 0x10000 + sequence_number
        self._seen = 1
        self._last_transit_ticks = None
        self._jitter_ticks = 0.0
        self._prior_expected = 0
        self._prior_received = 0

    def _measure_jitter(self, timestamp: int, arrival_us: int) -> None:
        transit = arrival_us * SAMPLE_RATE_HZ // 1_000_000 - timestamp
        if self._last_transit_ticks is not None:
            step = abs(signed_difference(transit, self._last_transit_ticks, 32))
            if step < _MAX_TRANSIT_STEP_TICKS:
                self._jitter_ticks += (step - self._jitter_ticks) / 16
        self._last_transit_ticks = transit
