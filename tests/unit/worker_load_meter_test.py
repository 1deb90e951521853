"""The figure by which edges choose among workers."""

import pytest

from voicebot.worker.load_meter import LoadMeter


class Clocks:
    now_s = 100.0
    cpu_s = 5.0


def test_load_is_the_share_of_a_core_and_what_has_just_begun():
    """Measured over the window; a call counts at once and no longer than its cost is unknown."""
    clocks = Clocks()
    meter = LoadMeter(lambda: clocks.now_s, lambda: clocks.cpu_s)
    assert meter.load == 0
    meter.call_began()
    meter.call_began()
    assert meter.load == pytest.approx(0.1)
    clocks.now_s, clocks.cpu_s = 101.0, 5.4
    meter.measure()
    assert meter.load == pytest.approx(0.5)
    clocks.now_s = 103.1
    meter.measure()
    assert meter.load == 0
