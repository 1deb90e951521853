"""Simulated network paths for the jitter buffer: deterministic, one seed per trace."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from voicebot.rtp.jitter_buffer import FrameKind, JitterBuffer, ReadMode
from voicebot.rtp.packet import PCMU, RtpPacket

FRAME_US = 20_000
BASE_TRANSIT_US = 30_000
LOUD = bytes([0x90]) * 160
QUIET = bytes([0xFE]) * 160

DelayModel = Callable[[random.Random], Iterator[float]]
"""Endless queueing delays in ms, one per packet."""


@dataclass(frozen=True)
class TracePacket:
    """One packet: index in the stream, when it was sent, when it arrives (None: lost)."""

    index: int
    send_us: int
    arrival_us: int | None


@dataclass(frozen=True)
class Outcome:
    """What one buffer made of one trace.

    ``delay`` of a frame is its playout time minus its send time minus the smallest transit of the
    whole trace, averaged over the frames that were played. ``late_share`` is the share of the
    packets that arrived and were not played (quiet frames left out on purpose are not counted).
    ``oracle_ms`` is the smallest fixed delay at which no larger share would have been late, found
    in hindsight on the same trace; read in ticks, the smallest one that falls on a tick.
    """

    late_share: float
    mean_delay_ms: float
    oracle_ms: float
    accelerated_frames: int

    @property
    def ratio(self) -> float:
        return self.mean_delay_ms / self.oracle_ms if self.oracle_ms else 1.0


def uniform(high_ms: float) -> DelayModel:
    def delays(rng: random.Random) -> Iterator[float]:
        while True:
            yield rng.uniform(0, high_ms)

    return delays


def normal(sigma_ms: float) -> DelayModel:
    def delays(rng: random.Random) -> Iterator[float]:
        while True:
            yield max(0.0, rng.gauss(4 * sigma_ms, sigma_ms))

    return delays


def gamma(shape: float, scale_ms: float) -> DelayModel:
    def delays(rng: random.Random) -> Iterator[float]:
        while True:
            yield rng.gammavariate(shape, scale_ms)

    return delays


def spikes(base_ms: float, spike_ms: float, every: int) -> DelayModel:
    """Little jitter; now and then one packet is held and the following queue up behind it."""

    def delays(rng: random.Random) -> Iterator[float]:
        held_ms = 0.0
        while True:
            held_ms = max(0.0, held_ms - 20)
            if rng.random() < 1 / every:
                held_ms = spike_ms
            yield held_ms + rng.uniform(0, base_ms)

    return delays


def steps(jitter_ms: float, low_ms: float, high_ms: float, period: int) -> DelayModel:
    """The path changes between two lengths."""

    def delays(rng: random.Random) -> Iterator[float]:
        index = 0
        while True:
            level = high_ms if index // period % 2 else low_ms
            index += 1
            yield level + rng.uniform(0, jitter_ms)

    return delays


def wifi(base_ms: float) -> DelayModel:
    """Gilbert-like: a good state, and bursts of retransmissions with long, varying holds."""

    def delays(rng: random.Random) -> Iterator[float]:
        bad = False
        held_ms = 0.0
        while True:
            bad = rng.random() < (0.9 if bad else 0.03)
            held_ms = max(0.0, held_ms - 20)
            if bad:
                held_ms = max(held_ms, rng.expovariate(1 / 40))
            yield held_ms + rng.expovariate(1 / base_ms)

    return delays


MODELS: dict[str, DelayModel] = {
    "uniform 0-5": uniform(5),
    "uniform 0-20": uniform(20),
    "uniform 0-60": uniform(60),
    "uniform 0-120": uniform(120),
    "normal s=5": normal(5),
    "normal s=20": normal(20),
    "exponential m=10": gamma(1, 10),
    "exponential m=25": gamma(1, 25),
    "gamma k=2 m=30": gamma(2, 15),
    "spikes 150": spikes(10, 150, 200),
    "spikes 80 often": spikes(10, 80, 50),
    "steps 0/60": steps(15, 0, 60, 500),
    "steps 0/150": steps(20, 0, 150, 800),
    "wifi bursts": wifi(5),
    "wifi, slow link": wifi(20),
}

RARE: dict[str, DelayModel] = {
    "spike 60 /20 s": spikes(10, 60, 1000),
    "spike 150 /10 s": spikes(10, 150, 500),
    "spike 150 /20 s": spikes(10, 150, 1000),
    "spike 300 /20 s": spikes(10, 300, 1000),
}
"""One event per 10 s or more: the oracle's delay then hangs on whether the late share just covers
the spikes, and says little about a buffer that cannot know if another one comes."""


def make_trace(
    model: DelayModel, *, seed: int, packets: int, loss: float, keep_order: bool
) -> list[TracePacket]:
    """Packets in sending order; with ``keep_order`` none overtakes another (one queue)."""
    rng = random.Random(seed)
    delays = model(rng)
    trace = []
    newest_us = 0
    for index in range(packets):
        send_us = index * FRAME_US
        arrival_us = send_us + BASE_TRANSIT_US + int(next(delays) * 1000)
        if keep_order:
            arrival_us = max(arrival_us, newest_us)
            newest_us = arrival_us
        lost = index > 0 and rng.random() < loss
        trace.append(TracePacket(index, send_us, None if lost else arrival_us))
    return trace


def packet_of(index: int) -> RtpPacket:
    """Speech of 1.2 s and pauses of 0.6 s in turn, sent without voice activity detection."""
    payload = LOUD if index % 90 < 60 else QUIET
    return RtpPacket(
        PCMU, (65_000 + index) & 0xFFFF, (4_294_900_000 + 160 * index) & 0xFFFFFFFF, 7, False, payload
    )


def replay(trace: list[TracePacket], mode: ReadMode, *, tick_us: int = 0) -> Outcome:
    """Run one buffer over a trace.

    Args:
        trace: From :func:`make_trace`.
        mode: How the buffer is read.
        tick_us: Read only every so often (phase 0); 0 reads at each due time exactly.
    """
    buffer = JitterBuffer(mode)
    arrived = sorted((p.arrival_us, p.index) for p in trace if p.arrival_us is not None)
    first_position = 160 * arrived[0][1]
    delays_us: list[int] = []
    transits = {index: arrival_us - trace[index].send_us for arrival_us, index in arrived}
    fastest_us = min(transits.values())

    def read(now_us: int, at_us: int | None = None) -> None:
        for frame in buffer.read(now_us):
            if frame.kind is FrameKind.SPEECH:
                send_us = (frame.position_samples + first_position) * 125
                delays_us.append((now_us if at_us is None else at_us) - send_us - fastest_us)

    tick = 0
    for arrival_us, index in [*arrived, (arrived[-1][0] + 1_000_000, -1)]:
        if tick_us:
            while tick <= arrival_us:
                read(tick)
                tick += tick_us
        else:
            while (due_us := buffer.next_due_us) is not None and due_us <= arrival_us:
                read(due_us)
        if index >= 0:
            buffer.insert(packet_of(index), arrival_us)
            if mode is ReadMode.EAGER:
                read(arrival_us)
    late = len(arrived) - len(delays_us) - buffer.stats().accelerated_frames
    late_share = max(0, late) / len(arrived)
    relative = sorted(value - fastest_us for value in transits.values())
    allowed = int(late_share * len(relative) + 1e-9)
    oracle_us = relative[len(relative) - 1 - allowed]
    if tick_us:
        oracle_us += -(oracle_us + fastest_us) % tick_us
    return Outcome(
        late_share,
        sum(delays_us) / len(delays_us) / 1000,
        oracle_us / 1000,
        buffer.stats().accelerated_frames,
    )
