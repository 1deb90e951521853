"""Impairments that lose packets.

Loss is *stratified*: each block of 3,000 packets (one minute of 20 ms packets) holds exactly the
stated share of losses and the stated mean burst, in random order. A minute is then comparable with
another minute, which 3,000 independent draws at 1 % loss (± 18 %) are not.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from sip_test_harness.impairment import BLOCK_PACKETS, LOST, ON_TIME, Fate, ImpairedPacket


@dataclass
class RandomLoss:
    """Independent loss: exactly ``loss`` (0 to 1) of each block, at random places."""

    loss: float
    chance: random.Random
    _block: deque[bool] = field(default_factory=deque)
    _debt: float = 0.0

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Lose the packet when its place in the block says so."""
        if not self._block:
            wanted = self.loss * BLOCK_PACKETS + self._debt
            count = min(BLOCK_PACKETS, round(wanted))
            self._debt = wanted - count
            block = [True] * count + [False] * (BLOCK_PACKETS - count)
            self.chance.shuffle(block)
            self._block.extend(block)
        return LOST if self._block.popleft() else ON_TIME


@dataclass
class GilbertElliott:
    """Two states, good and bad (Gilbert 1960, Elliott 1963), as runs of packets.

    The bad state loses ``loss_in_bad`` of its packets, the good one ``loss_in_good``. The lengths
    of both states are geometric: mean ``bad_packets`` and ``good_packets``.
    """

    bad_packets: float
    good_packets: float
    chance: random.Random
    loss_in_bad: float = 1.0
    loss_in_good: float = 0.0
    _block: deque[bool] = field(default_factory=deque)

    @classmethod
    def of(cls, loss: float, mean_burst: float, chance: random.Random) -> GilbertElliott:
        """Build the model that loses a share in bursts of a mean length in packets."""
        return cls(mean_burst, mean_burst * (1 - loss) / loss, chance)

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Lose the packet by the state it falls into."""
        if not self._block:
            self._fill()
        bad = self._block.popleft()
        loss = self.loss_in_bad if bad else self.loss_in_good
        if loss in {0.0, 1.0}:
            return LOST if loss else ON_TIME
        return LOST if self.chance.random() < loss else ON_TIME

    def _fill(self) -> None:
        share = self.bad_packets / (self.bad_packets + self.good_packets)
        runs = max(1, round(BLOCK_PACKETS * share / self.bad_packets))
        bad = _stratified_geometric(runs, round(runs * self.bad_packets), self.chance)
        good = _stratified_geometric(runs, round(runs * self.good_packets), self.chance)
        # Half of the first good run closes the block, so that bursts of two blocks do not join.
        held_back = good[0] // 2
        good[0] -= held_back
        for good_run, bad_run in zip(good, bad, strict=True):
            self._block.extend([False] * good_run)
            self._block.extend([True] * bad_run)
        self._block.extend([False] * held_back)


def _stratified_geometric(count: int, total: int, chance: random.Random) -> list[int]:
    """Return ``count`` geometric lengths of at least 1 whose sum is ``total``, shuffled."""
    mean = max(1.0, total / count)
    quit_chance = 1 / mean
    lengths = [
        1
        if quit_chance >= 1
        else max(1, math.ceil(math.log(1 - (index + 0.5) / count) / math.log(1 - quit_chance)))
        for index in range(count)
    ]
    missing = max(total, count) - sum(lengths)
    step = 1 if missing > 0 else -1
    while missing:
        at = chance.randrange(count)
        if lengths[at] + step >= 1:
            lengths[at] += step
            missing -= step
    chance.shuffle(lengths)
    return lengths


@dataclass
class Trace:
    """Delays and losses of a recorded path, repeated; None is a lost packet."""

    delays_ms: Sequence[float | None]
    _next: int = 0

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Return the next entry of the trace."""
        delay = self.delays_ms[self._next % len(self.delays_ms)]
        self._next += 1
        return LOST if delay is None else (delay,)


@dataclass
class Blackout:
    """One-way audio: nothing passes from ``start_s`` on, for ``duration_s`` or for good."""

    start_s: float = 0.0
    duration_s: float | None = None
    _origin_ms: float | None = None

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Lose what is sent during the blackout."""
        if self._origin_ms is None:
            self._origin_ms = at_ms
        into_s = (at_ms - self._origin_ms) / 1000 - self.start_s
        dark = into_s >= 0 and (self.duration_s is None or into_s < self.duration_s)
        return LOST if dark else ON_TIME


@dataclass
class Dtx:
    """A sender that stops in silence: silent packets after a hangover are not sent."""

    hangover_packets: int = 10
    _silent: int = 0

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Drop a packet of silence beyond the hangover."""
        self._silent = self._silent + 1 if packet.silent else 0
        return LOST if self._silent > self.hangover_packets else ON_TIME


@dataclass
class EventEndLoss:
    """Loses RFC 4733 end packets but for the first ``keep`` of each key press."""

    keep: int = 0
    _timestamp: int | None = None
    _ends: int = 0

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Drop an end packet beyond those kept."""
        if not packet.is_event_end:
            return ON_TIME
        if packet.timestamp != self._timestamp:
            self._timestamp, self._ends = packet.timestamp, 0
        self._ends += 1
        return ON_TIME if self._ends <= self.keep else LOST
