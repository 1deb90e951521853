"""Many calls at once: counted, bounded, summarised."""

import json
from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from sip_test_harness import AgentOptions, CallerOptions, ScriptedAgent, UsageError
from sip_test_harness.load import run_load
from sip_test_harness.script import Script, Turn

SCRIPT = Script((Turn(wait_ms=500), Turn(hang_up=True, wait_for_bot=False)), limit_s=10)


@pytest.mark.loopback
async def test_twelve_calls_eight_at_once_are_all_measured():
    """The limit of calls at once is kept, every call passes, and lateness is over all packets."""
    async with ScriptedAgent(AgentOptions(ring_ms=0, max_calls=50)) as agent:
        result = await run_load(
            SCRIPT, CallerOptions(), target=agent.uri, calls=12, calls_per_s=50, at_once=8
        )
    assert (result.calls, result.passed, result.most_at_once) == (12, 12, 8)
    assert result.held_back >= 1
    assert result.invite_to_200.count == 12
    assert (result.profile, result.seed) == ("none", CallerOptions().seed)
    assert result.sender_lateness.count > 12 * 20


@pytest.mark.loopback
async def test_refused_calls_are_counted_by_their_reason():
    """An agent that takes two calls refuses the rest with 486."""
    async with ScriptedAgent(AgentOptions(ring_ms=0, max_calls=2)) as agent:
        result = await run_load(
            SCRIPT, CallerOptions(), target=agent.uri, calls=5, calls_per_s=100, at_once=5
        )
    assert result.passed == 2
    assert sum(result.failures.values()) == 3 and "486" in next(iter(result.failures))
    assert json.loads(json.dumps(asdict(result)))["failures"] == result.failures


@pytest.mark.parametrize(
    "changes", [{"calls": 0}, {"calls": 10**6}, {"calls_per_s": 1000}, {"at_once": 1000}]
)
async def test_bounds_are_kept(changes):
    """Too many calls, too fast, or too many at once is a usage error."""
    with pytest.raises(UsageError):
        await run_load(
            SCRIPT,
            CallerOptions(),
            target="sip:a@127.0.0.1",
            **{"calls": 1, "calls_per_s": 1, "at_once": 1, **changes},
        )


def test_without_a_target_no_call_is_tried(tmp_path):
    """Before, each call failed, and a table of noughts came first."""
    from sip_test_harness.cli import app

    (tmp_path / "s.yaml").write_text("turns: [{ wait_ms: 100 }]\n")
    with pytest.raises(UsageError, match="no target"):
        CliRunner().invoke(app, ["load", str(tmp_path / "s.yaml")], catch_exceptions=False)
