"""Recorded callers: ``replay`` and ``compare``."""

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
    from sip_test_harness.compare import Threshold
    from sip_test_harness.qa_row import QaRow


OFFLINE_TARGET = "sip:bot@127.0.0.1"


@app.command(
    epilog="""**Examples**

    sip-test-harness replay var/recordings/*.wav --offline --loss 0,1,3,5,10 --burst 1,3 --html r.html

    sip-test-harness replay var/recordings/*.wav --target sip:bank@127.0.0.1:5060 --record-dir var

    sip-test-harness replay call.pcapng --target sip:bank@127.0.0.1:5060 --timing verbatim

    sip-test-harness replay a.wav --target sip:bank@127.0.0.1:5060 --loss 0,1,3 --burst 1,3 --html r.html

    sip-test-harness replay a.wav --target sip:b@127.0.0.1 --baseline old.json --fail-on "mos<-0.1"
"""
)
def replay(
    recordings: Annotated[
        list[Path], typer.Argument(help=".wav (mono, or stereo: caller left), .pcap, .pcapng")
    ],
    *,
    target: Annotated[str, typer.Option(help="The bot: sip:user@host:port")] = OFFLINE_TARGET,
    offline: Annotated[
        bool, typer.Option(help="On virtual time: no SIP, the command of --bot instead of --target")
    ] = False,
    bot: Annotated[
        str, typer.Option(help="Offline: command that speaks the offline protocol")
    ] = "voicebot offline",
    at: Annotated[str, typer.Option(help="Offline: time of day of the calls, ISO 8601")] = "",
    timing: Annotated[
        str, typer.Option(help="turns: wait for the bot before each turn; verbatim: as recorded")
    ] = "turns",
    profile: Annotated[str, typer.Option(help="A named profile instead of the matrix")] = "none",
    loss: Annotated[str, typer.Option(help="Losses in %, comma-separated")] = "0",
    burst: Annotated[str, typer.Option(help="Mean burst lengths in packets")] = "1",
    jitter: Annotated[str, typer.Option(help="Spans of the uniform delay in ms")] = "0",
    seed: Annotated[int, typer.Option(help="First seed")] = 1,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds per cell")] = 1,
    at_once: Annotated[
        int, typer.Option(min=1, max=100, help="Calls at the same time (offline: processes)")
    ] = 1,
    silence_ms: Annotated[float, typer.Option(help="The bot has finished after this")] = 700,
    record_dir: Annotated[Path | None, typer.Option(help="The bot's record folder")] = None,
    secret_keys: Annotated[
        str, typer.Option(help="Keys of a test account, for those that recordings redact")
    ] = "",
    baseline: Annotated[Path | None, typer.Option(help="Results file to compare with")] = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(help="figure>number; +n, -n or n% against the baseline")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Results file to write")] = None,
    html: Annotated[Path | None, typer.Option(help="HTML report to write")] = None,
    sound: Annotated[bool, typer.Option(help="Put the sound into results and report")] = True,
    allow_network: Annotated[bool, typer.Option(help="Permit calls outside 127.0.0.0/8")] = False,
) -> None:
    """Call a bot with recorded callers, over a matrix of network faults; compare and report."""
    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.compare import Threshold
    from sip_test_harness.judgement import judge
    from sip_test_harness.offline_sweep import OfflinePlan, run_offline_sweep
    from sip_test_harness.pacer import realtime_section
    from sip_test_harness.recorded_caller import read_recordings, with_secret_keys
    from sip_test_harness.sweep import jobs_of, matrix, read_results, run_sweep, write_results

    if not offline and target == OFFLINE_TARGET:
        raise UsageError("give --target sip:user@host:port, or --offline")
    thresholds = [Threshold.parse(text) for text in fail_on or []]
    before = read_results(baseline) if baseline else []
    recorded = [
        with_secret_keys(caller, secret_keys) for path in recordings for caller in read_recordings(path)
    ]
    cells = matrix(_numbers("loss", loss), _numbers("burst", burst), _numbers("jitter", jitter))
    jobs = jobs_of(recorded, cells, range(seed, seed + seeds), profile=profile)
    progress = Console(stderr=True, soft_wrap=True)

    def show(done: int, total: int, row: QaRow) -> None:
        said = f"failed: {row.failures[0]}" if row.failures else f"{len(row.onset_ms)} answers"
        progress.print(
            Text(f"[{done}/{total}] {row.name}, {row.profile}, seed {row.seed}: {said}"),
            style="red" if row.failures else "dim",
        )

    if offline:
        plan = OfflinePlan(bot, target, at, timing, silence_ms, sound)
        rows = run_offline_sweep(jobs, plan, processes=at_once, on_row=show)
    else:
        with realtime_section():
            rows = asyncio.run(
                run_sweep(
                    jobs,
                    CallerOptions(allow_network=allow_network),
                    target,
                    at_once=at_once,
                    timing=timing,
                    silence_ms=silence_ms,
                    record_dir=record_dir,
                    sound=sound,
                    on_row=show,
                )
            )
    judge(rows, before)
    where = f"offline, {bot}" if offline else target
    about = {"target": where, "timing": timing, "seed": seed, "seeds": seeds}
    if json_file is not None:
        write_results(json_file, rows, about=about)
    raise SystemExit(_verdict(rows, before, thresholds, html, f"Target {where}, {timing} timing"))


@app.command(
    epilog="""**Examples**

    sip-test-harness compare old.json new.json

    sip-test-harness compare old.json new.json --html report.html --fail-on "word_error>+0.02"
"""
)
def compare(
    old: Annotated[Path, typer.Argument(help="Results file of the baseline")],
    new: Annotated[Path, typer.Argument(help="Results file of the new run")],
    *,
    fail_on: Annotated[
        list[str] | None, typer.Option(help="figure>number; +n, -n or n% against the baseline")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="HTML report to write")] = None,
) -> None:
    """Compare two results files call by call; exit 1 when a threshold is crossed."""
    from sip_test_harness.compare import Threshold
    from sip_test_harness.judgement import judge
    from sip_test_harness.sweep import read_results

    thresholds = [Threshold.parse(text) for text in fail_on or []]
    before, rows = read_results(old), read_results(new)
    judge(rows, before)
    raise SystemExit(_verdict(rows, before, thresholds, html, f"{new} against {old}", calls=False))


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--{option} {text!r}: numbers with commas between expected") from error


def _verdict(
    rows: list[QaRow],
    baseline: list[QaRow],
    thresholds: list[Threshold],
    html: Path | None,
    about: str,
    *,
    calls: bool = True,
) -> int:
    """Print the figures and what is wrong, write the page, return the exit code."""
    from sip_test_harness.compare import compare as compare_rows
    from sip_test_harness.html_report import build_report, write_html
    from sip_test_harness.judgement import summary_of
    from sip_test_harness.report import comparison_table

    summary = summary_of(rows)
    before = summary_of(baseline) if baseline else None
    crossed = [failure for item in thresholds if (failure := item.failure(summary, before)) is not None]
    console = Console(soft_wrap=True)
    comparison = compare_rows(baseline, rows) if baseline else None
    console.print(comparison_table(summary, comparison))
    for change in comparison.changes if comparison else ():
        console.print(Text(f"{change.name}, {change.label}", style="bold"))
        for line in (*change.differences, *change.transcript_diff):
            console.print(Text(f"    {line}"))
    if html is not None:
        write_html(html, build_report(rows, about=about, baseline=baseline, verdict=crossed))
        console.print(Text(f"Written: {html}"))
    for failure in crossed:
        console.print(Text(f"Failed: {failure}", style="bold red"))
    failed = [row for row in rows if row.failures] if calls and not thresholds else []
    if failed:
        console.print(Text(f"Failed: {len(failed)} of {len(rows)} calls", style="bold red"))
    return FAILED if crossed or failed else PASSED
