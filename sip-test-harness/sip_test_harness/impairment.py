"""What a network does to a packet: pure, seeded schedules of fates that compose.

A fate is a tuple of delays in ms: one delay for a packet that arrives, none for a lost one,
several for a duplicated one. A schedule is asked once per packet, in sending order, and reads no
clock; the same seed gives the same fates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sip_test_harness import g711
from sip_test_harness.rtp_packet import RtpPacket

Fate = tuple[float, ...]
ON_TIME: Final[Fate] = (0.0,)
LOST: Final[Fate] = ()
BLOCK_PACKETS: Final = 3000


@dataclass(frozen=True)
class ImpairedPacket:
    """What a schedule may know of a packet; ``packet`` itself where there is one."""

    sequence_number: int
    is_event: bool = False
    is_event_end: bool = False
    timestamp: int = 0
    packet: RtpPacket | None = None

    @classmethod
    def of(cls, packet: RtpPacket, event_type: int | None) -> ImpairedPacket:
        """Describe an RTP packet, given the payload type of its telephone events."""
        is_event = packet.payload_type == event_type
        is_end = is_event and len(packet.payload) > 1 and bool(packet.payload[1] & 0x80)
        return cls(packet.sequence_number, is_event, is_end, packet.timestamp, packet)

    @property
    def silent(self) -> bool:
        """Whether this is G.711 audio without an audible block."""
        packet = self.packet
        return (
            packet is not None
            and packet.payload_type in g711.SILENCE_BYTE
            and g711.level_dbfs(packet.payload, packet.payload_type) <= g711.AUDIBLE_DBFS
        )


class Impairment(Protocol):
    """Decides the fate of each packet, asked in sending order."""

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:
        """Return the delays in ms with which this packet, sent at ``at_ms``, arrives."""
        ...


class Perfect:
    """A network that does nothing."""

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Deliver at once."""
        return ON_TIME


@dataclass
class Chain:
    """Several impairments one behind the other, like the links of a path."""

    stages: Sequence[Impairment]

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:
        """Pass every copy of the packet through every stage."""
        delays: list[float] = [0.0]
        for stage in self.stages:
            delays = [delay + more for delay in delays for more in stage.fate(packet, at_ms + delay)]
        return tuple(delays)
