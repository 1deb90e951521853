"""Impairments that delay, reorder or double packets. Jitter is stratified as loss is."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from statistics import NormalDist

from sip_test_harness.errors import UsageError
from sip_test_harness.impairment import BLOCK_PACKETS, LOST, ON_TIME, Fate, ImpairedPacket
from sip_test_harness.impairment_loss import RandomLoss


@dataclass
class Delay:
    """A constant delay."""

    delay_ms: float

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Deliver later by the delay."""
        return (self.delay_ms,)


@dataclass
class Jitter:
    """A further delay for each packet, uniform or normal, stratified over a block.

    Args:
        kind: ``uniform`` from 0 to ``spread_ms``, or ``normal`` with that standard deviation,
            shifted and cut at three deviations so that no delay is negative.
        spread_ms: see ``kind``.
        chance: source of the order.
        keep_order: a packet never overtakes the one before it.
    """

    kind: str
    spread_ms: float
    chance: random.Random
    keep_order: bool = True
    _block: deque[float] = field(default_factory=deque)
    _last_arrival_ms: float = -math.inf

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Deliver after the block's next delay."""
        if not self._block:
            self._fill()
        delay = self._block.popleft()
        if self.keep_order:
            delay = max(delay, self._last_arrival_ms - at_ms)
            self._last_arrival_ms = at_ms + delay
        return (delay,)

    def _fill(self) -> None:
        quantiles = [(index + self.chance.random()) / BLOCK_PACKETS for index in range(BLOCK_PACKETS)]
        if self.kind == "uniform":
            delays = [quantile * self.spread_ms for quantile in quantiles]
        elif self.kind == "normal":
            curve = NormalDist(3 * self.spread_ms, self.spread_ms or 1e-9)
            delays = [
                min(6 * self.spread_ms, max(0.0, curve.inv_cdf(min(max(q, 1e-9), 1 - 1e-9))))
                for q in quantiles
            ]
        else:
            raise UsageError(f"unknown kind of jitter: {self.kind!r} (uniform, normal)")
        self.chance.shuffle(delays)
        self._block.extend(delays)


@dataclass
class Spikes:
    """Delay spikes: now and then the path stands still for ``height_ms`` and then drains.

    A packet that meets a spike is late by its height; those behind it queue up and arrive
    together with it, until the queue is drained (no reordering).
    """

    mean_interval_s: float
    height_ms: float
    chance: random.Random
    _release_ms: float = -math.inf
    _next_ms: float | None = None

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Hold the packet until the running spike is over."""
        if self._next_ms is None:
            self._next_ms = at_ms + self._interval_ms()
        while at_ms >= self._next_ms:
            self._release_ms = self._next_ms + self.height_ms
            self._next_ms += max(self.height_ms, self._interval_ms())
        return (max(0.0, self._release_ms - at_ms),)

    def _interval_ms(self) -> float:
        return self.mean_interval_s * 1000 * (0.5 + self.chance.random())


@dataclass
class Stall:
    """A sender that stands still: every ``every_s`` nothing passes for ``duration_ms``."""

    every_s: float
    duration_ms: float
    _origin_ms: float | None = None

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Hold the packet to the end of the stall."""
        if self._origin_ms is None:
            self._origin_ms = at_ms
        elapsed_ms = at_ms - self._origin_ms
        into_ms = elapsed_ms % (self.every_s * 1000)
        if elapsed_ms < self.every_s * 1000 or into_ms >= self.duration_ms:
            return ON_TIME
        return (self.duration_ms - into_ms,)


@dataclass
class ClockSkew:
    """A sender whose clock is off by ``ppm`` (positive: slow, its packets fall behind).

    A fast clock (negative ppm) starts with ``headroom_ms`` of delay, which it uses up.
    """

    ppm: float
    headroom_ms: float = 200.0
    _origin_ms: float | None = None

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:  # noqa: ARG002 - the protocol's signature
        """Deliver with the delay that the skew has grown to."""
        if self._origin_ms is None:
            self._origin_ms = at_ms
        drift_ms = (at_ms - self._origin_ms) * self.ppm * 1e-6
        start_ms = 0.0 if self.ppm >= 0 else self.headroom_ms
        return (max(0.0, start_ms + drift_ms),)


@dataclass
class Reordering:
    """Holds a share of the packets back, so that ``depth`` later ones overtake them."""

    share: float
    depth: int
    chance: random.Random
    ptime_ms: float = 20.0
    _loss: RandomLoss | None = None

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:
        """Delay the chosen packets by the depth and half a packet time."""
        if self._loss is None:
            self._loss = RandomLoss(self.share, self.chance)
        chosen = self._loss.fate(packet, at_ms) == LOST
        return ((self.depth + 0.5) * self.ptime_ms,) if chosen else ON_TIME


@dataclass
class Duplication:
    """Delivers a share of the packets twice, the copy ``after_ms`` later."""

    share: float
    chance: random.Random
    after_ms: float = 1.0
    _loss: RandomLoss | None = None

    def fate(self, packet: ImpairedPacket, at_ms: float) -> Fate:
        """Double the chosen packets."""
        if self._loss is None:
            self._loss = RandomLoss(self.share, self.chance)
        chosen = self._loss.fate(packet, at_ms) == LOST
        return (0.0, self.after_ms) if chosen else ON_TIME
