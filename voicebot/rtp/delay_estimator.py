"""How long a frame should wait: the target delay of the jitter buffer.

Works on the *transit* of each packet, arrival time minus media time. Their zero is arbitrary; only
differences mean anything. The target is the transit value that minimises

    waiting time + cost x (share of packets that come later than that)

over the packets of the last seconds. So one spike does not delay the whole call, and a tail is
waited for exactly as long as it pays. A sudden lasting increase is followed within three packets.
"""

from bisect import bisect_left, insort
from collections import deque
from typing import Final

_WINDOW_US: Final = 10_000_000
_MIN_PACKETS: Final = 50
_MAX_PACKETS: Final = 1000
_LATE_COST_US: Final = 6_000_000
"""What losing everything would cost: 1 % late loss weighs as much as 60 ms of waiting.

The E-model (ITU-T G.107, G.711 with concealment) weighs it more; callers interrupt each other
earlier than it says.
"""
_CONFIDENT_PACKETS: Final = 250
"""Before so many packets are known a single late one says little about their share."""
_MAX_LATE_SHARE: Final = 0.1
_RECENT: Final = 10
_STEP_EVENTS: Final = 3
_DRAIN_US: Final = 10_000
"""A transit that falls faster than this is a queue draining after a stall: one event, not several."""
_MARGIN_US: Final = 250
"""Covers the drift of the sender's clock from one packet to the next, and timer granularity."""
_STEP_SPACING_US: Final = 10_000
"""Late packets that arrive closer together than this are one event too."""
_STEP_HOLD_US: Final = 2_000_000
"""How long a followed increase stands until the window has enough packets of its own."""


class DelayEstimator:
    """Sliding-window quantile of the transit, with a cost instead of a fixed percentage.

    Args:
        initial_delay_us: Wait this long above the fastest packet until 50 packets are known.
        max_delay_us: Never wait longer than this above the fastest packet of the window.
    """

    __slots__ = (
        "_arrivals",
        "_initial_delay_us",
        "_last_event_us",
        "_last_transit_us",
        "_max_delay_us",
        "_recent",
        "_sorted",
        "_step_target_us",
        "_step_until_us",
        "target_us",
    )

    def __init__(self, *, initial_delay_us: int, max_delay_us: int) -> None:
        self._initial_delay_us = initial_delay_us
        self._max_delay_us = max_delay_us
        self.restart()

    def restart(self) -> None:
        """Forget all packets."""
        self._arrivals: deque[tuple[int, int]] = deque()
        self._sorted: list[int] = []
        self._recent: deque[tuple[int, bool]] = deque(maxlen=_RECENT)
        self._last_transit_us = 0
        self._last_event_us = -_WINDOW_US
        self._step_target_us = 0
        self._step_until_us = 0
        self.target_us: int | None = None
        """Transit up to which packets are waited for; None before the first packet."""

    @property
    def fastest_us(self) -> int:
        """Smallest transit of the window; 0 before the first packet."""
        return self._sorted[0] if self._sorted else 0

    @property
    def median_us(self) -> int:
        """Median transit of the window; 0 before the first packet."""
        return self._sorted[len(self._sorted) // 2] if self._sorted else 0

    def add(self, transit_us: int, arrival_us: int) -> int:
        """Learn from one packet, also from a late one; returns the new target."""
        window = self._sorted
        arrivals = self._arrivals
        draining = self._last_transit_us - transit_us > _DRAIN_US
        self._last_transit_us = transit_us
        if draining and window and transit_us > window[0] + self._max_delay_us:
            # Lost whatever the target: a backlog must not pass for the habit of the path.
            return self.target_us or transit_us
        arrivals.append((arrival_us, transit_us))
        insort(window, transit_us)
        oldest_us = arrival_us - _WINDOW_US
        while len(arrivals) > _MIN_PACKETS and (
            arrivals[0][0] < oldest_us or len(arrivals) > _MAX_PACKETS
        ):
            old = arrivals.popleft()[1]
            del window[bisect_left(window, old)]
        self._follow_step(transit_us, arrival_us, draining=draining)
        target = self._cheapest()
        if arrival_us < self._step_until_us:
            target = max(target, self._step_target_us)
        if len(window) < _MIN_PACKETS:
            target = max(target, window[0] + self._initial_delay_us)
        self.target_us = min(target + _MARGIN_US, window[0] + self._max_delay_us)
        return self.target_us

    def _cheapest(self) -> int:
        window = self._sorted
        last = len(window) - 1
        step_cost = _LATE_COST_US // max(last + 1, _CONFIDENT_PACKETS)
        best = window[last]
        best_cost = best
        for late in range(1, int(last * _MAX_LATE_SHARE) + 1):
            if window[0] + late * step_cost >= best_cost:
                break  # no target is below the fastest packet: from here on all cost more
            target = window[last - late]
            cost = target + late * step_cost
            if cost < best_cost:
                best = target
                best_cost = cost
        return best

    def _follow_step(self, transit_us: int, arrival_us: int, *, draining: bool) -> None:
        target = self.target_us
        late = target is not None and transit_us > target and not draining
        if late and arrival_us - self._last_event_us < _STEP_SPACING_US:
            late = False
        elif late:
            self._last_event_us = arrival_us
        recent = self._recent
        recent.append((transit_us, late))
        if late and sum(is_late for _, is_late in recent) >= _STEP_EVENTS:
            self._step_target_us = max(value for value, _ in recent)
            self._step_until_us = arrival_us + _STEP_HOLD_US
            recent.clear()
