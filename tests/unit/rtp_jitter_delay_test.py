"""The small version of tests/bench/jitter_buffer.py, as a gate."""

import pytest

from tests.bench.jitter_traces import MODELS, make_trace, replay
from tests.unit.rtp_kit import FRAME_US
from voicebot.rtp.delay_estimator import DelayEstimator
from voicebot.rtp.jitter_buffer import ReadMode


@pytest.mark.parametrize("name", MODELS)
def test_delay_against_the_oracle(name):
    """Target 9 on one minute of each path: at most 1.25 times the best fixed delay in hindsight."""
    trace = make_trace(MODELS[name], seed=11, packets=3000, loss=0.03, keep_order=False)
    paced = replay(trace, ReadMode.PACED)
    assert paced.ratio <= 1.25
    assert paced.late_share <= 0.015
    assert paced.accelerated_frames <= 30


@pytest.mark.parametrize("name", ["uniform 0-20", "exponential m=10", "spikes 150", "wifi bursts"])
def test_eager_waits_less_than_paced(name):
    """The recogniser's reader has less than half the delay and loses no more."""
    trace = make_trace(MODELS[name], seed=11, packets=3000, loss=0.0, keep_order=True)
    paced, eager = replay(trace, ReadMode.PACED), replay(trace, ReadMode.EAGER)
    assert eager.mean_delay_ms < paced.mean_delay_ms / 2 + 1
    assert eager.late_share <= paced.late_share


def estimator() -> DelayEstimator:
    return DelayEstimator(initial_delay_us=40_000, max_delay_us=400_000)


def test_a_step_is_followed_within_three_packets():
    """A path that becomes 100 ms longer costs three late packets, not seconds of them."""
    delay = estimator()
    for index in range(500):
        delay.add(1000, index * FRAME_US)
    targets = [delay.add(101_000, index * FRAME_US + 100_000) for index in range(500, 510)]
    assert sum(target < 101_000 for target in targets) == 2


def test_a_single_spike_is_not_followed():
    """One packet 200 ms late, and the queue behind it, do not delay the call."""
    delay = estimator()
    for index in range(500):
        delay.add(1000, index * FRAME_US)
    for index in range(10):
        delay.add(201_000 - index * 20_000, 500 * FRAME_US + 200_000)
    assert delay.add(1000, 510 * FRAME_US) < 10_000


def test_the_target_falls_again():
    """Ten seconds after the path is short again the delay is too."""
    delay = estimator()
    for index in range(300):
        delay.add(101_000 if index % 3 else 1000, index * FRAME_US)
    assert delay.target_us >= 101_000
    for index in range(300, 850):
        delay.add(1000, index * FRAME_US)
    assert delay.target_us < 2000


def test_the_target_is_bounded():
    """No path makes the buffer wait longer than the maximum above the fastest packet."""
    delay = estimator()
    for index in range(300):
        delay.add(1000 if index % 2 else 900_000, index * FRAME_US)
    assert delay.target_us <= 401_000
