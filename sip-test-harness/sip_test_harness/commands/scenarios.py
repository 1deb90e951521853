"""Many calls with demands: ``run``, ``load``, ``self-check``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from sip_test_harness.commands.app import FAILED, PASSED, app
from sip_test_harness.errors import UsageError

if TYPE_CHECKING:
    from sip_test_harness.script import Script


@app.command(
    epilog="""**Examples**

    sip-test-harness run scenarios/*.yaml --target sip:bank@127.0.0.1:5060 --junit var/junit.xml

    sip-test-harness run balance.yaml --repeat 5 --parallel 4 --record-dir var/calls --out var/qa

    sip-test-harness run balance.yaml --profile wifi-bursty --seed 7 --json var/qa.json
"""
)
def run(
    scenarios: Annotated[list[Path], typer.Argument(help="Scenario files (scripts with 'expect')")],
    *,
    target: Annotated[str, typer.Option(help="Overrides the scenarios' targets")] = "",
    profile: Annotated[str, typer.Option(help="Overrides the scenarios' profiles")] = "",
    seed: Annotated[int | None, typer.Option(help="Overrides the scenarios' seeds")] = None,
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, help="Each scenario this often; the seed counts up")
    ] = 1,
    parallel: Annotated[int, typer.Option(min=1, max=100, help="Calls at once")] = 1,
    record_dir: Annotated[Path | None, typer.Option(help="The bot's record folder")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the reports, one per call")] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file to write")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON file to write")] = None,
    allow_network: Annotated[bool, typer.Option(help="Permit calls outside 127.0.0.0/8")] = False,
) -> None:
    """Run scenarios: scripted calls with assertions; exit 1 when any fails."""
    from dataclasses import replace

    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.pacer import realtime_section
    from sip_test_harness.profile import load_profile
    from sip_test_harness.scenario_runner import (
        ScenarioResult,
        run_scenarios,
        write_json,
        write_junit,
    )
    from sip_test_harness.script_reader import read_script

    if profile:
        load_profile(profile)
    plans: list[Script] = []
    for path in scenarios:
        scenario = read_script(path)
        plans += [
            replace(
                scenario,
                name=scenario.name + (f"#{index + 1}" if repeat > 1 else ""),
                profile=profile or scenario.profile,
                seed=(scenario.seed if seed is None else seed) + index,
            )
            for index in range(repeat)
        ]
    console = Console(soft_wrap=True)
    done = 0

    def show(result: ScenarioResult) -> None:
        nonlocal done
        done += 1
        mark = Text("passed", style="green") if result.passed else Text("FAILED", style="bold red")
        console.print(
            Text(f"[{done}/{len(plans)}] "), mark, Text(f"{result.name} ({result.duration_s:.1f} s)")
        )
        for failure in result.failures:
            console.print(Text(f"        {failure}"))

    with realtime_section():
        results = asyncio.run(
            run_scenarios(
                plans,
                parallel=parallel,
                target=target,
                options=CallerOptions(allow_network=allow_network),
                record_dir=record_dir,
                out=out,
                on_result=show,
            )
        )
    if junit is not None:
        write_junit(junit, results)
    if json_file is not None:
        write_json(json_file, results)
    failed = sum(not result.passed for result in results)
    console.print(Text(f"{len(results) - failed} passed, {failed} failed"))
    raise SystemExit(FAILED if failed else PASSED)


@app.command(
    epilog="""**Examples**

    sip-test-harness load balance.yaml --target sip:bank@127.0.0.1:5060 --calls 100 --rate 2 --at-once 8

    sip-test-harness load balance.yaml --calls 20 --at-once 4 --onset-p95-ms 450 --json var/load.json
"""
)
def load(
    script: Annotated[Path, typer.Argument(help="Script that every caller plays")],
    *,
    target: Annotated[str, typer.Option(help="Overrides the script's target")] = "",
    calls: Annotated[int, typer.Option(min=1, help="How many in all")] = 10,
    rate: Annotated[float, typer.Option(min=0.01, help="New calls per second")] = 1.0,
    at_once: Annotated[int, typer.Option(min=1, help="Calls at the same time")] = 4,
    profile: Annotated[str, typer.Option(help="Overrides the script's profile")] = "",
    seed: Annotated[int, typer.Option(help="Of the first call; call n adds n")] = 1,
    onset_p95_ms: Annotated[
        float | None, typer.Option(help="Fail when the onset's p95 is above this")
    ] = None,
    max_failed: Annotated[int, typer.Option(min=0, help="So many calls may fail")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="JSON file to write")] = None,
    allow_network: Annotated[bool, typer.Option(help="Permit calls outside 127.0.0.0/8")] = False,
) -> None:
    """Place many calls at a steady rate and report their spread."""
    from dataclasses import asdict, replace

    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.load import run_load
    from sip_test_harness.pacer import realtime_section
    from sip_test_harness.report import load_table
    from sip_test_harness.script_reader import read_script

    plan = read_script(script)
    plan = replace(plan, profile=profile or plan.profile)
    if not (target or plan.target):
        raise UsageError("no target: give --target, or 'target' in the script")
    progress = Console(stderr=True)

    def show(done: int, failed: int) -> None:
        if done == calls or done % max(1, calls // 20) == 0:
            progress.print(Text(f"{done}/{calls} calls, {failed} failed", style="dim"))

    with realtime_section():
        result = asyncio.run(
            run_load(
                plan,
                CallerOptions(seed=seed, allow_network=allow_network),
                target=target,
                calls=calls,
                calls_per_s=rate,
                at_once=at_once,
                on_call=show,
            )
        )
    console = Console(soft_wrap=True)
    console.print(load_table(result))
    failed = sum(result.failures.values()) > max_failed
    if onset_p95_ms is not None and result.response_onset.p95_ms > onset_p95_ms:
        failed = True
        console.print(Text(f"onset p95 {result.response_onset.p95_ms} ms, {onset_p95_ms:g} ms allowed"))
    if result.void:
        failed = failed or onset_p95_ms is not None
        console.print(Text("void for timing: the harness sent late", style="yellow"))
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(result), indent=1) + "\n")
    raise SystemExit(FAILED if failed else PASSED)


@app.command(
    name="self-check",
    epilog="""**Examples**

    sip-test-harness self-check

    sip-test-harness self-check --at-once 16 --seconds 20 --limit-ms 5
""",
)
def self_check(
    *,
    at_once: Annotated[int, typer.Option(min=1, max=100, help="Calls at the same time")] = 8,
    seconds: Annotated[float, typer.Option(min=1, max=300, help="How long")] = 10,
    limit_ms: Annotated[float, typer.Option(min=0.1, help="Lateness p99 allowed")] = 3.0,
) -> None:
    """Say whether this machine can measure: call the harness' own agent and look at lateness."""
    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.load import LoadResult, run_load
    from sip_test_harness.pacer import realtime_section
    from sip_test_harness.report import load_table
    from sip_test_harness.script import Script, Turn
    from sip_test_harness.scripted_agent import AgentOptions, ScriptedAgent

    script = Script(
        (Turn(wait_ms=seconds * 1000), Turn(hang_up=True, wait_for_bot=False)),
        limit_s=seconds + 20,
    )

    async def check() -> LoadResult:
        async with ScriptedAgent(AgentOptions(ring_ms=0, max_calls=at_once)) as own:
            return await run_load(
                script,
                CallerOptions(),
                target=own.uri,
                calls=at_once,
                calls_per_s=50,
                at_once=at_once,
            )

    with realtime_section():
        result = asyncio.run(check())
    console = Console(soft_wrap=True)
    console.print(load_table(result))
    late = result.sender_lateness.p99_ms
    good = late <= limit_ms and result.passed == at_once
    console.print(
        Text(
            f"p99 of the lateness is {late:.2f} ms with {at_once} calls, {limit_ms:g} ms allowed: "
            f"{'good enough to measure' if good else 'not good enough to measure'}"
        )
    )
    raise SystemExit(PASSED if good else FAILED)
