"""Runs scenarios: one call each, several at once, with a result file for a CI."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from sip_test_harness.call_record import CallRecord, find_record
from sip_test_harness.caller import CallerOptions
from sip_test_harness.check import unmet
from sip_test_harness.errors import HarnessError
from sip_test_harness.media import MediaOptions
from sip_test_harness.profile import load_profile
from sip_test_harness.report import report_of, write_report
from sip_test_harness.script_runner import CallRun, run_script

if TYPE_CHECKING:
    from sip_test_harness.script import Script


@dataclass
class ScenarioResult:
    """What came of one scenario."""

    name: str
    failures: list[str]
    duration_s: float
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every expectation was met."""
        return not self.failures


OnResult = Callable[[ScenarioResult], None]


async def run_scenario(
    scenario: Script,
    *,
    target: str = "",
    options: CallerOptions | None = None,
    record_dir: Path | None = None,
    out: Path | None = None,
) -> tuple[ScenarioResult, CallRun | None]:
    """Run one scenario with its profile and seed; an error of the harness is a failure.

    Args:
        scenario: what to do and expect.
        target: overrides the scenario's target.
        options: the caller; media impairments are set by the scenario's profile.
        record_dir: where the bot keeps its call records.
        out: folder of the report files; nothing is written when None.
    """
    start_s = time.monotonic()
    way_out, way_in = load_profile(scenario.profile).build(scenario.seed)
    base = options or CallerOptions()
    media = replace(
        base.media if options else MediaOptions(), impairment_out=way_out, impairment_in=way_in
    )
    caller = replace(base, media=media, seed=scenario.seed, profile=scenario.profile)
    try:
        run = await run_script(
            scenario, caller, target=target, tolerate_refusal=scenario.expect.status is not None
        )
    except HarnessError as error:
        return ScenarioResult(scenario.name, [str(error)], time.monotonic() - start_s), None
    record: CallRecord | None = None
    if record_dir is not None:
        record = await asyncio.to_thread(find_record, record_dir, run.measures.call_id)
    run.failures += unmet(scenario.expect, run.measures, run.call.final_response, record)
    if out is not None:
        await asyncio.to_thread(write_report, out, run, record)
    duration_s = time.monotonic() - start_s
    return ScenarioResult(scenario.name, run.failures, duration_s, report_of(run, record)), run


async def run_scenarios(
    scenarios: Sequence[Script],
    *,
    parallel: int = 1,
    target: str = "",
    options: CallerOptions | None = None,
    record_dir: Path | None = None,
    out: Path | None = None,
    on_result: OnResult | None = None,
) -> list[ScenarioResult]:
    """Run scenarios, at most ``parallel`` calls at once; results in the order given."""
    gate = asyncio.Semaphore(parallel)

    async def one(index: int, scenario: Script) -> ScenarioResult:
        async with gate:
            folder = out / f"{index:03d}-{scenario.name}" if out is not None else None
            result, _ = await run_scenario(
                scenario, target=target, options=options, record_dir=record_dir, out=folder
            )
            if on_result is not None:
                on_result(result)
            return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(index, item)) for index, item in enumerate(scenarios)]
    return [task.result() for task in tasks]


def write_json(path: Path, results: Sequence[ScenarioResult]) -> None:
    """Write every report with its verdict."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "passed": all(result.passed for result in results),
        "results": [
            {
                "name": result.name,
                "passed": result.passed,
                "failures": result.failures,
                "duration_s": round(result.duration_s, 3),
                "report": result.report,
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")


def write_junit(path: Path, results: Sequence[ScenarioResult]) -> None:
    """Write a JUnit XML file, one test case for each scenario."""
    suite = ET.Element(
        "testsuite",
        name="sip-test-harness",
        tests=str(len(results)),
        failures=str(sum(not result.passed for result in results)),
        errors="0",
        time=f"{sum(result.duration_s for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname="sip_test_harness",
            name=_clean(result.name),
            time=f"{result.duration_s:.3f}",
        )
        if result.failures:
            failure = ET.SubElement(case, "failure", message=_clean(result.failures[0]))
            failure.text = _clean("\n".join(result.failures))
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Replace what XML 1.0 cannot hold; peers' text may hold control characters."""
    return "".join(
        char if char in "\t\n" or (char >= " " and not "\ud800" <= char <= "\udfff") else "?"
        for char in text
    )
