"""The offline gate of the echo benchmark in a small, seeded form: see tests/bench/echo.py for the figures."""

import pytest

from tests.bench.echo import play, scenario, summarise


@pytest.mark.parametrize("kind", ["hybrid", "speakerphone"])
def test_own_prompts_do_not_interrupt_themselves(kind):
    """Of six prompts over lines with echo at most one is paused by our own voice."""
    assert (
        summarise(play(scenario(kind, 9000 + seed, caller=False)) for seed in range(3)).false_pauses <= 1
    )


@pytest.mark.parametrize("kind", ["hybrid", "none"])
def test_callers_are_heard(kind):
    """Of three callers at least as loud as the echo at most one is not heard within 1.2 s."""
    calls = (scenario(kind, 9100 + seed, caller=True) for seed in range(40))
    loud = [call for call in calls if call.caller_over_echo_db >= 0][:3]
    summary = summarise(play(call) for call in loud)
    assert summary.spoken == 3
    assert summary.missed <= 1
    assert summary.false_pauses <= 1
