"""One scripted call: ``call``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from sip_test_harness.commands.app import FAILED, PASSED, app, show_progress
from sip_test_harness.errors import UsageError

if TYPE_CHECKING:
    from sip_test_harness.call_record import CallRecord
    from sip_test_harness.script import Script
    from sip_test_harness.script_runner import CallRun
    from sip_test_harness.sip_digest import Credentials


@app.command(
    epilog="""**Examples**

    sip-test-harness call --script balance.yaml

    sip-test-harness call sip:bank@127.0.0.1:5060 -t say=balance.wav -t dtmf=1234# -t expect_hang_up_s=10

    sip-test-harness call sip:bank@127.0.0.1:5060 -t say=stop.wav,barge_in_ms=800 --out var/call

    sip-test-harness call --script balance.yaml --record-dir var/calls --codec pcma

    sip-test-harness call --script balance.yaml --profile wifi-bursty --seed 7
"""
)
def call(
    target: Annotated[str, typer.Argument(help="sip:user@host:port; may stand in the script")] = "",
    *,
    script: Annotated[Path | None, typer.Option(help="YAML script of the call")] = None,
    turn: Annotated[
        list[str] | None,
        typer.Option(
            "--turn",
            "-t",
            help="A turn instead of a script: say=file.wav, dtmf=1234#, wait_ms=500, hang_up, "
            "expect_hang_up_s=10; further keys after commas. Repeat for more turns.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.json, call.wav and call.pcap")
    ] = None,
    record_dir: Annotated[
        Path | None, typer.Option(help="The bot's record folder: prints transcript and recording")
    ] = None,
    codec: Annotated[str, typer.Option(help="pcmu or pcma")] = "pcmu",
    user: Annotated[str, typer.Option(help="User part of From")] = "caller",
    header: Annotated[
        list[str] | None, typer.Option(help="Further INVITE header, 'Name: value'; repeatable")
    ] = None,
    credentials: Annotated[str, typer.Option(help="user:password for digest challenges")] = "",
    late_offer: Annotated[
        bool | None, typer.Option(help="INVITE without SDP, answer in the ACK")
    ] = None,
    silence_ms: Annotated[
        float | None, typer.Option(help="The bot has finished after this silence (700)")
    ] = None,
    limit_s: Annotated[float | None, typer.Option(help="Hang up after this time (120)")] = None,
    profile: Annotated[
        str, typer.Option(help="Impairment of both directions: a name or a .yaml file; see 'profiles'")
    ] = "none",
    seed: Annotated[int, typer.Option(help="Start of every random choice")] = 1,
    strict: Annotated[
        bool, typer.Option(help="A void run (own sender late) fails even without timing checks")
    ] = False,
    realtime: Annotated[bool, typer.Option(help="Ask for real-time priority of the sender")] = True,
    allow_network: Annotated[bool, typer.Option(help="Permit calls outside 127.0.0.0/8")] = False,
) -> None:
    """Place one scripted call by real SIP and RTP, measure it and report."""
    from dataclasses import replace

    from sip_test_harness.caller import CallerOptions
    from sip_test_harness.media import MediaOptions
    from sip_test_harness.pacer import realtime_section
    from sip_test_harness.profile import load_profile
    from sip_test_harness.script import Script
    from sip_test_harness.script_reader import read_script, turns_of_options
    from sip_test_harness.script_runner import run_script

    if script is not None and turn:
        raise UsageError("give either --script or --turn, not both")
    plan: Script = read_script(script) if script else Script(turns_of_options(turn or []))
    changes: dict[str, object] = {
        name: value
        for name, value in (
            ("silence_ms", silence_ms),
            ("limit_s", limit_s),
            ("late_offer", late_offer),
        )
        if value is not None
    }
    plan = replace(plan, **changes)  # type: ignore[arg-type]  # the names are checked by replace itself
    way_out, way_in = load_profile(profile).build(seed)
    options = CallerOptions(
        media=MediaOptions(
            codec=_codec(codec), realtime=realtime, impairment_out=way_out, impairment_in=way_in
        ),
        profile=profile,
        user=user,
        headers=[_header(text) for text in header or []],
        credentials=_credentials(credentials),
        allow_network=allow_network,
        seed=seed,
    )
    console = Console(soft_wrap=True)
    show = show_progress(Console(stderr=True))
    with realtime_section(enabled=realtime):
        run = asyncio.run(run_script(plan, options, target=target, on_progress=show))
    if strict and run.measures.void:
        run.failures.append(f"void: {run.measures.void_reason}")
    raise SystemExit(_finish(console, run, out, record_dir))


def _finish(console: Console, run: CallRun, out: Path | None, record_dir: Path | None) -> int:
    from sip_test_harness.call_record import find_record
    from sip_test_harness.report import call_table, turn_table, write_report

    record = find_record(record_dir, run.measures.call_id) if record_dir else None
    console.print(call_table(run.measures))
    if run.measures.turns:
        console.print(turn_table(run.measures))
    if record_dir is not None:
        _print_record(console, record, record_dir)
    if out is not None:
        folder = write_report(out, run, record)
        console.print(
            Text(f"Written: {folder / 'report.json'}, {folder / 'call.wav'} (caller left, bot ")
            + Text(f"right), {folder / 'call.pcap'}")
        )
    if run.measures.void:
        console.print(Text(f"Void for timing: {run.measures.void_reason}", style="yellow"))
    for failure in run.failures:
        console.print(Text(f"Failed: {failure}", style="bold red"))
    if not run.failures:
        console.print(Text("Passed.", style="bold green"))
    return FAILED if run.failures else PASSED


def _print_record(console: Console, record: CallRecord | None, folder: Path) -> None:
    if record is None:
        console.print(Text(f"No record of this call in {folder / 'calls.jsonl'}", style="yellow"))
        return
    console.print(Text("Transcript (the bot's record)", style="italic"))
    for who, text in record.transcript:
        console.print(Text(f"  {who:>7}: {text}"))
    if record.recording:
        path = Path(record.recording)
        found = next((p for p in (path, folder / path) if p.exists()), None)
        console.print(Text(f"Recording: {found or path}{'' if found else ' (not found)'}"))


def _codec(name: str) -> int:
    codecs = {"pcmu": 0, "pcma": 8}
    if name.lower() not in codecs:
        raise UsageError(f"--codec {name!r}: pcmu or pcma")
    return codecs[name.lower()]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or "\n" in text or "\r" in text:
        raise UsageError(f"--header {text!r}: 'Name: value' expected")
    return name.strip(), value.strip()


def _credentials(text: str) -> Credentials | None:
    from sip_test_harness.sip_digest import Credentials

    if not text:
        return None
    user, colon, password = text.partition(":")
    if not colon:
        raise UsageError("--credentials: user:password expected")
    return Credentials(user, password)
