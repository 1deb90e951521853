"""Statistics of one received RTP stream, from the packets and their arrival times.

Loss and order follow RFC 3550 A.3, jitter A.8. Everything is computed after the fact from the
whole stream, so nothing depends on when a packet was processed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sip_test_harness import g711

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_test_harness.rtp_packet import RtpPacket

SAMPLE_RATE_HZ: Final = 8000
_NS_PER_SAMPLE: Final = 1_000_000_000 // SAMPLE_RATE_HZ


@dataclass(frozen=True)
class ReceivedPacket:
    """An RTP packet, when it arrived (monotonic ns), and how loud it is (None: not audio)."""

    arrival_ns: int
    packet: RtpPacket
    level_dbfs: float | None = None


@dataclass(frozen=True)
class Spread:
    """Percentiles of a set of milliseconds; zeros when there were none."""

    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> Spread:
        """Return the percentiles of some values in ms (linear interpolation)."""
        if not values_ms:
            return cls()
        p50, p95, p99, p999, top = (
            round(float(value), 3)
            for value in np.percentile(np.asarray(values_ms), [50, 95, 99, 99.9, 100])
        )
        return cls(len(values_ms), p50, p95, p99, p999, top)


@dataclass(frozen=True)
class StreamStatistics:
    """What one stream looked like at the wire.

    ``jitter_ms`` is the final RFC 3550 estimate, ``jitter_max_ms`` and ``jitter_mean_ms`` are over
    the stream. ``gap`` is the spread of the times between consecutive arrivals.
    ``timestamp_breaks`` counts audio packets that follow their predecessor in sequence while the
    timestamp did not advance by exactly that predecessor's samples.
    ``loss_bursts`` lists the lengths of runs of consecutive lost packets.
    """

    ssrc: int
    payload_types: tuple[int, ...]
    packets: int
    expected: int
    lost: int
    loss_percent: float
    duplicates: int
    reordered: int
    jitter_ms: float
    jitter_max_ms: float
    jitter_mean_ms: float
    gap: Spread
    timestamp_breaks: int
    loss_bursts: tuple[int, ...]
    duration_ms: float

    @property
    def contiguous(self) -> bool:
        """Whether no sequence number is missing and no timestamp jumps."""
        return self.lost == 0 and self.timestamp_breaks == 0


def extend(values: Sequence[int], bits: int) -> list[int]:
    """Return wrapping counters as increasing integers, each nearest to its predecessor."""
    modulus, half = 1 << bits, 1 << (bits - 1)
    out: list[int] = []
    last = values[0] if values else 0
    for value in values:
        last += ((value - last + half) % modulus) - half
        out.append(last)
    return out


def split_by_ssrc(received: Sequence[ReceivedPacket]) -> dict[int, list[ReceivedPacket]]:
    """Return the packets of each SSRC, in the order of arrival."""
    streams: dict[int, list[ReceivedPacket]] = {}
    for item in received:
        streams.setdefault(item.packet.ssrc, []).append(item)
    return streams


def measure_stream(received: Sequence[ReceivedPacket]) -> StreamStatistics:
    """Measure the packets of one SSRC, given in the order of arrival (at least one)."""
    sequence = extend([item.packet.sequence_number for item in received], 16)
    timestamps = extend([item.packet.timestamp for item in received], 32)
    seen: set[int] = set()
    highest = sequence[0] - 1
    reordered = steps = 0
    jitter = jitter_max = jitter_sum = 0.0
    previous: tuple[int, int] | None = None
    for number, timestamp, item in zip(sequence, timestamps, received, strict=True):
        reordered += number < highest and number not in seen
        highest = max(highest, number)
        seen.add(number)
        if item.packet.payload_type not in g711.SILENCE_BYTE:
            continue  # all packets of an event bear its beginning's time: they say nothing of jitter
        steps += 1
        if previous is not None:
            delta_ns = (item.arrival_ns - previous[0]) - (timestamp - previous[1]) * _NS_PER_SAMPLE
            jitter += (abs(delta_ns) / 1e6 - jitter) / 16
        jitter_max = max(jitter_max, jitter)
        jitter_sum += jitter
        previous = (item.arrival_ns, timestamp)
    expected = max(sequence) - min(sequence) + 1
    lost = expected - len(seen)
    arrivals = [item.arrival_ns for item in received]
    return StreamStatistics(
        ssrc=received[0].packet.ssrc,
        payload_types=tuple(sorted({item.packet.payload_type for item in received})),
        packets=len(received),
        expected=expected,
        lost=lost,
        loss_percent=round(100 * lost / expected, 3),
        duplicates=len(received) - len(seen),
        reordered=reordered,
        jitter_ms=round(jitter, 3),
        jitter_max_ms=round(jitter_max, 3),
        jitter_mean_ms=round(jitter_sum / max(1, steps), 3),
        gap=Spread.of([(b - a) / 1e6 for a, b in itertools.pairwise(arrivals)]),
        timestamp_breaks=_timestamp_breaks(received, sequence, timestamps),
        loss_bursts=tuple(missing_runs(seen)),
        duration_ms=round((arrivals[-1] - arrivals[0]) / 1e6, 3),
    )


def missing_runs(present: set[int]) -> list[int]:
    """Return the lengths of the runs of integers that are missing between the extremes."""
    ordered = sorted(present)
    return [b - a - 1 for a, b in itertools.pairwise(ordered) if b - a > 1]


def _timestamp_breaks(
    received: Sequence[ReceivedPacket], sequence: Sequence[int], timestamps: Sequence[int]
) -> int:
    audio = {
        number: (timestamp, len(item.packet.payload))
        for number, timestamp, item in zip(sequence, timestamps, received, strict=True)
        if item.level_dbfs is not None
    }
    return sum(
        audio[number + 1][0] - timestamp != samples
        for number, (timestamp, samples) in audio.items()
        if number + 1 in audio
    )
