"""Calls on virtual time: the clock jumps, the caller measures as on a wire, broken bots are reported."""

import asyncio
import json
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sip_test_harness import CallerOptions, UsageError, write_wav
from sip_test_harness.cli import app
from sip_test_harness.clock import now_ns
from sip_test_harness.offline_bot import OfflineBot, OfflineBotError
from sip_test_harness.offline_caller import OfflineCaller
from sip_test_harness.offline_sweep import OfflinePlan, run_offline_sweep
from sip_test_harness.recorded_caller import RecordedCaller
from sip_test_harness.script import Script, Turn
from sip_test_harness.script_runner import run_script
from sip_test_harness.sweep import Cell, jobs_of, write_results
from sip_test_harness.virtual_loop import START_S, run_virtually

TOY = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name('toy_offline_bot.py')))}"
TARGET = "sip:toy@127.0.0.1"


def speech(duration_ms=300):
    return (6000 * np.sin(np.arange(duration_ms * 8) * 0.3)).astype(np.int16)


def recorded(turns=2):
    quiet = np.zeros(8000, np.int16)
    return RecordedCaller(
        "toy", np.concatenate([quiet, *[speech(), quiet] * turns]), np.zeros(0, np.int16)
    )


def test_virtual_time_jumps_and_costs_nothing():
    """An hour of sleep passes at once, in the loop's clock and in the harness' own."""

    async def sleep():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return now_ns()

    before = time.monotonic_ns()
    assert run_virtually(sleep) == pytest.approx((START_S + 3600) * 1e9)
    assert now_ns() >= before  # the real clock is back


def test_a_wait_for_nothing_is_an_error_and_no_hang():
    async def wait():
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="stands still"):
        run_virtually(wait)


def test_a_script_runs_offline_and_is_measured_as_on_a_wire(tmp_path):
    """The toy answers 15 silent frames after the last word; the onset is that, to the frame."""
    write_wav(tmp_path / "said.wav", speech())
    turns = [Turn(key=name, say=str(tmp_path / "said.wav")) for name in "ab"]
    script = Script(tuple(turns), silence_ms=400)

    async def call(bot):
        return await run_script(
            script,
            CallerOptions(),
            target=TARGET,
            open_caller=lambda target, options: OfflineCaller(bot, target, options, call_id="x"),
        )

    with OfflineBot(TOY) as bot:
        run = run_virtually(lambda: call(bot))
    assert run.failures == []
    spoken, _ = run.measures.turns
    assert 280 <= spoken.response_onset_ms <= 340
    assert run.measures.greeting_ms == pytest.approx(20)
    assert run.measures.bot_streams[0].contiguous and not run.measures.void


def test_sweeps_are_equal_byte_for_byte_with_one_process_and_with_two(tmp_path):
    jobs = jobs_of([recorded()], [Cell(), Cell(10.0, 2.0, 30.0)], [1, 2])
    for name, processes in (("a", 1), ("b", 2), ("c", 1)):
        rows = run_offline_sweep(jobs, OfflinePlan(TOY, TARGET), processes=processes)
        write_results(tmp_path / name, rows, about={})
    assert (
        (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()
    )
    clean, _, lossy, _ = rows
    assert clean.transcript == [{"who": "caller", "text": f"turn {n}", "intent": "x"} for n in range(2)]
    assert clean.lost_out_ms == [] != lossy.lost_out_ms


def test_a_bot_that_hangs_up_ends_the_call():
    jobs = jobs_of([recorded(3)], [Cell()], [1])
    (row,) = run_offline_sweep(jobs, OfflinePlan(f"{TOY} --hangs-up-after 1", TARGET))
    assert (row.ended_by, row.failures) == ("bot", [])
    assert len(row.turns) == 1


@pytest.mark.parametrize(
    ("option", "failure"), [("--dies-after 40", "process ended"), ("--refuse", "486")]
)
def test_a_bot_that_breaks_off_or_refuses_is_a_failed_call(option, failure):
    jobs = jobs_of([recorded()], [Cell()], [1])
    (row,) = run_offline_sweep(jobs, OfflinePlan(f"{TOY} {option}", TARGET))
    assert failure in " ".join(row.failures)


def test_a_program_that_is_no_such_bot_is_named():
    with pytest.raises(UsageError, match="cannot start"):
        OfflineBot("/no/such/bot")
    with pytest.raises(OfflineBotError, match="protocol"):
        OfflineBot(f"{TOY} --protocol 9")
    with pytest.raises(OfflineBotError, match="process ended"):
        OfflineBot(f"{shlex.quote(sys.executable)} -c pass")


def test_the_command_replays_offline_and_says_what_is_missing(tmp_path):
    """`replay --offline` writes results; without --offline and --target it is wrong usage."""
    write_wav(tmp_path / "call.wav", recorded().samples)
    arguments = ["replay", str(tmp_path / "call.wav"), "--json", str(tmp_path / "r.json")]
    done = CliRunner().invoke(app, [*arguments, "--offline", "--bot", TOY, "--target", TARGET])
    assert done.exit_code == 0, done.output
    (row,) = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert len(row["onset_ms"]) == 2
    with pytest.raises(UsageError, match="--offline"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
