"""What of the caller the bot really heard: its own recording against the packets that we sent it.

    packet sent ─ lost ─────────────► concealed (a guess) or silence (a hole)
                └ arrived in time ──► in the recording, or dropped

G.711 decodes to the same samples everywhere, so a packet that the bot played is found in its
recording sample for sample. Only speech counts: one block of silence is like another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sip_test_harness import g711
from sip_test_harness.rtp_statistics import extend

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sip_test_harness.rtp_packet import RtpPacket

BLOCK: Final = 160
SILENT_PEAK: Final = 16
"""A hole is digital silence; noise of a line and of a concealer is louder."""
MIN_BLOCKS: Final = 10


@dataclass(frozen=True)
class BotHearing:
    """Shares of the caller's speech packets, 0 to 1.

    ``dropped``: arrived, but are not in what the bot heard (no jitter buffer, or too short a one).
    ``holes``: lost packets that became silence in the bot's ears (no concealment). The packets
    themselves are named by when they were due (ns): ``dropped_ns``, ``holes_ns``, and ``concealed_ns``,
    which were lost and filled.
    """

    dropped: float
    holes: float
    speech_packets: int
    lost_packets: int
    dropped_ns: tuple[int, ...] = ()
    holes_ns: tuple[int, ...] = ()
    concealed_ns: tuple[int, ...] = ()


def bot_hearing(
    sent: Sequence[tuple[RtpPacket, bool, int]], heard: NDArray[np.int16]
) -> BotHearing | None:
    """Compare.

    Args:
        sent: the caller's packets in the order in which they left, whether the network delivered
            each, and when it was due. Audio in packets of 20 ms counts, all else is passed over.
        heard: what the bot heard, 8 kHz; its recording's left channel.

    Returns:
        The shares; None when too little of the caller is found in it to align the two.
    """
    speech = _speech(sent)
    unique = Counter(item.block.tobytes() for item in speech)
    wanted = {data: item.place for item in speech if unique[data := item.block.tobytes()] == 1}
    start = _start(wanted, heard) if len(wanted) >= MIN_BLOCKS else None
    if start is None:
        return None
    delivered = 0
    dropped: list[int] = []
    holes: list[int] = []
    concealed: list[int] = []
    for item in speech:
        at = start + item.place
        there = heard[at : at + BLOCK] if at >= 0 else heard[:0]
        if len(there) < BLOCK:
            continue
        if item.delivered:
            delivered += 1
            # Edges of a concealed gap are cross-faded: a good part of the block has to be there.
            if np.count_nonzero(there == item.block) < BLOCK // 4:
                dropped.append(item.due_ns)
        elif np.abs(there.astype(np.int32)).max() <= SILENT_PEAK:
            holes.append(item.due_ns)
        else:
            concealed.append(item.due_ns)
    if not delivered:
        return None
    lost = len(holes) + len(concealed)
    return BotHearing(
        dropped=round(len(dropped) / delivered, 4),
        holes=round(len(holes) / lost, 4) if lost else 0.0,
        speech_packets=delivered + lost,
        lost_packets=lost,
        dropped_ns=tuple(dropped),
        holes_ns=tuple(holes),
        concealed_ns=tuple(concealed),
    )


@dataclass(frozen=True)
class _Spoken:
    place: int
    block: NDArray[np.int16]
    delivered: bool
    due_ns: int


def _speech(sent: Sequence[tuple[RtpPacket, bool, int]]) -> list[_Spoken]:
    stamps = extend([packet.timestamp for packet, _, _ in sent], 32)
    return [
        _Spoken(stamp - stamps[0], g711.decode(packet.payload, packet.payload_type), delivered, due_ns)
        for stamp, (packet, delivered, due_ns) in zip(stamps, sent, strict=True)
        if packet.payload_type in g711.SILENCE_BYTE
        and len(packet.payload) == BLOCK
        and g711.level_dbfs(packet.payload, packet.payload_type) > g711.AUDIBLE_DBFS
    ]


def _start(wanted: dict[bytes, int], heard: NDArray[np.int16]) -> int | None:
    """Return where the first packet lies in ``heard``: what most packets that are found agree on."""
    votes: Counter[int] = Counter()
    for phase in range(BLOCK):
        rest = heard[phase:]
        for at in range(0, len(rest) - BLOCK + 1, BLOCK):
            place = wanted.get(rest[at : at + BLOCK].tobytes())
            if place is not None:
                votes[phase + at - place] += 1
        # All packets lie on one grid unless the bot's clock jumped.
        if votes and votes.most_common(1)[0][1] >= MIN_BLOCKS // 2:
            break
    return votes.most_common(1)[0][0] if votes else None
