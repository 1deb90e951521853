"""Where on one contiguous media timeline each packet belongs, whatever its sender does.

A sender may change its SSRC, restart its numbers, jump an hour, freeze its timestamp or stop its
clock during silence. Positions (samples at 8 kHz) go on regardless: each packet is placed by its
timestamp where that agrees with its sequence number and arrival time, otherwise anew.
"""

from typing import Final

import msgspec

from voicebot.rtp.packet import FRAME_SAMPLES, FRAME_US, SAMPLE_US, RtpPacket
from voicebot.rtp.sequence import SequenceUnwrapper, TimestampUnwrapper, signed_difference

_MAX_DROPOUT: Final = 3000
_MAX_MISORDER: Final = 100
_MAX_EARLY_US: Final = 60_000
"""Nothing arrives that much before the fastest packet of the last seconds: its clock has jumped."""
_VERY_LATE_CONFIRMATIONS: Final = 3
_LATE_CONFIRMATIONS: Final = 10
"""Packets in a row that can never be played in time: further off than jitter would put them, or
just beyond what the buffer may wait for.
"""
_DRAIN_US: Final = 10_000
"""Lateness that falls faster than this is a queue draining after a stall."""
_RETIRED_SSRC_US: Final = 1_000_000
_REAL_GAP_SAMPLES: Final = 480
_AHEAD_SAMPLES: Final = 1600


class Placement(msgspec.Struct, frozen=True, gc=False):
    """Where a packet belongs.

    Attributes:
        epoch: Counts sequence number spaces; sequences compare only within one.
        sequence: Extended sequence number.
        timestamp: Extended RTP timestamp.
        position: Sample position on the timeline.
        resynced: A new time base starts with it.
    """

    epoch: int
    sequence: int
    timestamp: int
    position: int
    resynced: bool


class MediaTimeline:
    """Places the packets of one leg; one instance per jitter buffer.

    Args:
        max_late_us: Longest delay that is waited for; lasting ones beyond it start a new time base.
    """

    def __init__(self, *, max_late_us: int) -> None:
        self._max_late_us = max_late_us
        self._ssrc: int | None = None
        self._retired_ssrc: int | None = None
        self._retired_at_us = 0
        self._epoch = 0
        self._sequences = SequenceUnwrapper()
        self._timestamps = TimestampUnwrapper()
        self._expected_restart: int | None = None
        self._offset = 0
        self._shift = 0
        self._last_sequence = 0
        self._last_timestamp = 0
        self._last_position = 0
        self._last_duration = FRAME_SAMPLES
        self._end = 0
        self._late_packets = 0
        self._very_late_packets = 0
        self._last_transit_us = 0

    def extended_sequence(self, packet: RtpPacket) -> tuple[int, int] | None:
        """Epoch and extended sequence number of a packet without audio; None for another stream."""
        if packet.ssrc != self._ssrc:
            return None
        return self._epoch, self._sequences.peek(packet.sequence_number)

    def place(
        self,
        packet: RtpPacket,
        duration: int,
        arrival_us: int,
        *,
        fastest_us: int,
        median_us: int,
    ) -> Placement | None:
        """Place one audio packet.

        Args:
            packet: The packet.
            duration: Samples that it holds; 0 for comfort noise.
            arrival_us: Monotonic arrival time.
            fastest_us: Smallest recent transit (arrival minus media time).
            median_us: Median recent transit.

        Returns:
            None for a stale SSRC, or a sequence jump that the next packet must confirm.
        """
        # With little history the late packets themselves would make the median.
        median_us = min(median_us, fastest_us + self._max_late_us // 2)
        if packet.ssrc != self._ssrc:
            retired_us = arrival_us - self._retired_at_us
            if packet.ssrc == self._retired_ssrc and retired_us < _RETIRED_SSRC_US:
                return None
            first = self._ssrc is None
            self._retired_ssrc = self._ssrc
            self._retired_at_us = arrival_us
            self._ssrc = packet.ssrc
            return self._restart(packet, duration, arrival_us, median_us, first=first)
        sequence = self._sequences.peek(packet.sequence_number)
        step = sequence - self._last_sequence
        if step > _MAX_DROPOUT or (step < -_MAX_MISORDER and not self._old(packet, step)):
            if packet.sequence_number == self._expected_restart:
                return self._restart(packet, duration, arrival_us, median_us, first=False)
            self._expected_restart = (packet.sequence_number + 1) & 0xFFFF
            return None
        self._expected_restart = None
        timestamp = self._timestamps.unwrap(packet.timestamp)
        natural = timestamp + self._offset + self._shift
        if step <= 0:
            if timestamp > self._last_timestamp or (timestamp == self._last_timestamp and step):
                natural = self._last_position + step * self._last_duration
            return Placement(self._epoch, sequence, timestamp, natural, resynced=False)
        self._sequences.unwrap(packet.sequence_number)
        contiguous = self._end + (step - 1) * self._last_duration
        resynced = False
        if natural != contiguous:
            if timestamp <= self._last_timestamp or natural < self._end:
                resynced = True
            elif natural > contiguous:
                resynced = arrival_us - natural * SAMPLE_US < fastest_us - _MAX_EARLY_US
                if not resynced:
                    natural = self._align(natural, contiguous)
        if not resynced and self._clock_stood_still(
            packet, natural, arrival_us, fastest_us=fastest_us, median_us=median_us
        ):
            resynced = True
        if resynced:
            natural = self._anchor(timestamp, contiguous, arrival_us, median_us)
        self._advance(sequence, timestamp, natural, duration)
        return Placement(self._epoch, sequence, timestamp, natural, resynced)

    def _restart(
        self, packet: RtpPacket, duration: int, arrival_us: int, median_us: int, *, first: bool
    ) -> Placement:
        self._epoch += 1
        self._expected_restart = None
        self._sequences.restart()
        self._timestamps.restart()
        sequence = self._sequences.unwrap(packet.sequence_number)
        timestamp = self._timestamps.unwrap(packet.timestamp)
        if first:
            position = 0
            self._offset = -timestamp
            self._shift = 0
        else:
            position = self._anchor(timestamp, self._end, arrival_us, median_us)
        self._advance(sequence, timestamp, position, duration)
        return Placement(self._epoch, sequence, timestamp, position, resynced=not first)

    def _advance(self, sequence: int, timestamp: int, position: int, duration: int) -> None:
        self._last_sequence = sequence
        self._last_timestamp = timestamp
        self._last_position = position
        self._end = position + duration
        if duration:
            self._last_duration = duration

    def _anchor(self, timestamp: int, contiguous: int, arrival_us: int, median_us: int) -> int:
        """Start a new time base: right behind the old audio, unless the clock says otherwise.

        It does after a pause that really passed, and when made-up numbers ran ahead of time.
        """
        position = (arrival_us - median_us) // SAMPLE_US
        if -_AHEAD_SAMPLES <= position - contiguous < _REAL_GAP_SAMPLES:
            position = contiguous
        else:
            position += -position % FRAME_SAMPLES
        self._offset = position - timestamp
        self._shift = 0
        self._late_packets = self._very_late_packets = 0
        return position

    def _align(self, natural: int, contiguous: int) -> int:
        """Start a talkspurt on a frame boundary, so that its frames need not wait for two packets.

        Rounds against the true position, so that the error never adds up.
        """
        true = natural - self._shift
        aligned = (true + FRAME_SAMPLES // 2) // FRAME_SAMPLES * FRAME_SAMPLES
        while aligned < contiguous:
            aligned += FRAME_SAMPLES
        self._shift = aligned - true
        return aligned

    def _old(self, packet: RtpPacket, step: int) -> bool:
        """Whether a packet far back in sequence is as far back in time: late, no restart."""
        back = self._timestamps.peek(packet.timestamp) - self._last_timestamp
        return abs(back - step * self._last_duration) <= _MAX_MISORDER * FRAME_SAMPLES and (
            signed_difference(packet.timestamp, self._last_timestamp, 32) < 0
        )

    def _clock_stood_still(
        self,
        packet: RtpPacket,
        position: int,
        arrival_us: int,
        *,
        fastest_us: int,
        median_us: int,
    ) -> bool:
        """Whether the sender's media clock was stopped meanwhile, so that all would be late now."""
        transit_us = arrival_us - position * SAMPLE_US
        draining = self._last_transit_us - transit_us > _DRAIN_US
        self._last_transit_us = transit_us
        if transit_us < fastest_us + self._max_late_us - FRAME_US:
            self._late_packets = self._very_late_packets = 0
            return False
        very_late = transit_us >= median_us + self._max_late_us
        if not draining:
            self._late_packets += 1
            self._very_late_packets += very_late
        return (
            (very_late and packet.marker)
            or self._very_late_packets >= _VERY_LATE_CONFIRMATIONS
            or self._late_packets >= _LATE_CONFIRMATIONS
        )
