"""QA suites: ``suite``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from sip_test_harness.commands.app import FAILED, PASSED, app
from sip_test_harness.errors import UsageError

if TYPE_CHECKING:
    from sip_test_harness.qa_row import QaRow


@app.command(
    epilog="""**Examples**

    sip-test-harness suite dialplans/qa/bank.yaml --offline --save-baseline var/baseline.json

    sip-test-harness suite dialplans/qa/bank.yaml --offline --baseline var/baseline.json --junit qa.xml

    sip-test-harness suite bank.yaml --target sip:bank@127.0.0.1:5060 --record-dir var --html qa.html
"""
)
def suite(
    file: Annotated[Path, typer.Argument(help="The suite")],
    *,
    offline: Annotated[bool, typer.Option(help="On virtual time, by the command of --bot")] = False,
    bot: Annotated[
        str, typer.Option(help="Offline: command that speaks the offline protocol")
    ] = "voicebot offline",
    target: Annotated[str, typer.Option(help="Replaces the suite's target")] = "",
    record_dir: Annotated[Path | None, typer.Option(help="The bot's record folder")] = None,
    at_once: Annotated[
        int, typer.Option(min=1, max=100, help="Calls at the same time (offline: processes)")
    ] = 1,
    baseline: Annotated[Path | None, typer.Option(help="Results of the last good build")] = None,
    save_baseline: Annotated[
        Path | None, typer.Option(help="Write the results, to compare the next build with")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="HTML report to write")] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML file to write")] = None,
) -> None:
    """Replay a suite of recorded callers and judge the build; exit 1 when a condition is crossed."""
    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.html_report import build_report, write_html
    from sip_test_harness.judgement import judge, summary_of
    from sip_test_harness.offline_sweep import OfflinePlan, run_offline_sweep
    from sip_test_harness.pacer import realtime_section
    from sip_test_harness.report import comparison_table
    from sip_test_harness.suite import crossed, read_suite, write_suite_junit
    from sip_test_harness.sweep import read_results, run_sweep, write_results

    chosen = read_suite(file)
    target = target or chosen.target
    if not target:
        raise UsageError("no target: give --target, or 'target' in the suite")
    before = read_results(baseline) if baseline else []
    progress = Console(stderr=True, soft_wrap=True)

    def show(done: int, total: int, row: QaRow) -> None:
        said = f": failed: {row.failures[0]}" if row.failures else ""
        progress.print(
            Text(f"[{done}/{total}] {row.name}, {row.profile}{said}"), style="red" if said else "dim"
        )

    if offline:
        plan = OfflinePlan(bot, target, chosen.at, silence_ms=chosen.silence_ms)
        rows = run_offline_sweep(chosen.jobs(), plan, processes=at_once, on_row=show)
    else:
        with realtime_section():
            rows = asyncio.run(
                run_sweep(
                    chosen.jobs(),
                    CallerOptions(),
                    target,
                    at_once=at_once,
                    silence_ms=chosen.silence_ms,
                    record_dir=record_dir,
                    on_row=show,
                )
            )
    judge(rows, before)
    if save_baseline is not None:
        write_results(save_baseline, rows, about={"suite": chosen.name, "target": target})
    failures = crossed(chosen.conditions, rows, before)
    console = Console(soft_wrap=True)
    from sip_test_harness.compare import compare

    comparison = compare(before, rows) if before else None
    console.print(comparison_table(summary_of(rows), comparison))
    if not before:
        console.print(Text("No --baseline: conditions that compare with one were left out."))
    about = f"Suite {chosen.name}: {chosen.describes}"
    if html is not None:
        page = build_report(rows, about=about, baseline=before, verdict=list(failures.values()))
        write_html(html, page)
        console.print(Text(f"Written: {html}"))
    if junit is not None:
        write_suite_junit(junit, chosen, failures)
    for failure in failures.values():
        console.print(Text(f"Failed: {failure}", style="bold red"))
    if not failures:
        console.print(Text("Passed.", style="bold green"))
    raise SystemExit(FAILED if failures else PASSED)
