"""``voicebot calls``: finished calls in the terminal, in files, and gone."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from voicebot.config.load import load_settings
from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError, VoicebotError
from voicebot.session.call_detail_record import CallDetailLog, CallDetailRecord

if TYPE_CHECKING:
    from rich.console import RenderableType

    from voicebot.session.retention import AlsoErase

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="rich",
    help="""Finished calls: look at them, take them elsewhere, delete them.

    Examples:

      voicebot calls list -n 20

      voicebot calls show c1a2b3c4d5e6

      voicebot calls trace c1a2b3c4d5e6           where the time went, and the SIP ladder

      voicebot calls export --format csv > calls.csv

      voicebot calls purge --older-than 30d

      voicebot calls erase --caller +4930123456
    """,
)
Config = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="VOICEBOT_CONFIG", help="YAML settings file.")
]
CallName = Annotated[
    str, typer.Argument(metavar="CALL", help="Call id, session id or SIP Call-ID; a beginning will do.")
]
also_erase: "dict[str, AlsoErase]" = {}
"""Filled by ``voicebot.cli``: handoffs and the console are above this package."""
Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def _settings(config: Path | None) -> Settings:
    try:
        return load_settings(config)
    except ConfigError as error:
        _fail(str(error), EXIT_USAGE)


def _fail(text: str, code: int = EXIT_FAILED) -> NoReturn:
    print(f"voicebot calls: {text}", file=sys.stderr)
    raise typer.Exit(code)


def _print(*parts: "RenderableType") -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200)
    for part in parts:
        console.print(part, highlight=False)


def find_call(records: list[CallDetailRecord], name: str) -> list[CallDetailRecord]:
    """The calls of that name; those that only begin so when none has it in full."""
    exact = [r for r in records if name in (r.call_id, r.session_id, r.sip_call_id)]
    return exact or [r for r in records if r.call_id.startswith(name) or r.session_id.startswith(name)]


def one_call(settings: Settings, name: str) -> CallDetailRecord:
    """The call of that name; ends the command when there is none, or more than one."""
    found = find_call(list(CallDetailLog(settings.data_dir).read()), name)
    if not found:
        _fail(f"no record of call {name!r} under {settings.data_dir}")
    if len({r.call_id for r in found}) > 1:
        _fail(
            f"{name!r} is the beginning of {len(found)} calls: {', '.join(r.call_id for r in found[:5])}"
        )
    return found[-1]


@app.callback()
def default(context: typer.Context, config: Config = None) -> None:
    """Without a command: the last calls."""
    if context.invoked_subcommand is None:
        listing(config)


@app.command("list")
def listing(
    config: Config = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many, newest last.")] = 20,
    caller: Annotated[str, typer.Option(help="Only calls of this number.")] = "",
    reason: Annotated[str, typer.Option(help="Only calls that ended so.")] = "",
) -> None:
    """The last calls, one line each.

    Example: voicebot calls list -n 50 --reason "no media"
    """
    from voicebot.session.call_views import call_table

    records = [
        r
        for r in CallDetailLog(_settings(config).data_dir).read()
        if (not caller or r.caller == caller) and (not reason or r.reason == reason)
    ]
    _print(call_table(records[-last:]))


@app.command()
def show(
    call: CallName,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="The record as it is kept.")] = False,
) -> None:
    """One call: who, when, line quality, transcript, recording.

    Example: voicebot calls show c1a2b3
    """
    from voicebot.session.call_views import as_json_lines, call_page

    record = one_call(_settings(config), call)
    if as_json:
        print(as_json_lines([record]), end="")
    else:
        _print(call_page(record))


@app.command()
def trace(call: CallName, config: Config = None) -> None:
    """Where the time of each turn went, and the SIP messages.

    Example: voicebot calls trace c1a2b3
    """
    from rich.text import Text

    from voicebot.session.call_views import ladder, waterfall

    record = one_call(_settings(config), call)
    _print(waterfall(record), Text(), ladder(record))


@app.command()
def export(
    config: Config = None,
    format_: Annotated[Literal["jsonl", "csv"], typer.Option("--format", "-f")] = "jsonl",
    newer_than: Annotated[str, typer.Option(help="Only calls that ended since: 30d, 12h.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File; standard output if none.")
    ] = None,
) -> None:
    """All records as JSON lines (with transcript) or CSV (without).

    Example: voicebot calls export --format csv --newer-than 7d --out calls.csv
    """
    from voicebot.session.call_views import as_csv, as_json_lines, duration_s, since

    records = list(CallDetailLog(_settings(config).data_dir).read())
    if newer_than:
        try:
            records = since(records, duration_s(newer_than))
        except ValueError as error:
            _fail(str(error), EXIT_USAGE)
    text = as_csv(records) if format_ == "csv" else as_json_lines(records)
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.touch(mode=0o600)
        out.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        _fail(f"{out}: {error.strerror}")


@app.command()
def purge(
    older_than: Annotated[str, typer.Option(help="Age: 30d, 12h, 90m.")],
    config: Config = None,
    yes: Sure = False,
) -> None:
    """Delete records, recordings, sessions, handoffs and console acts that are old enough.

    Example (from a timer, once a day): voicebot calls purge --older-than 30d --yes
    """
    from voicebot.session.call_views import duration_s

    try:
        age_s = duration_s(older_than)
    except ValueError as error:
        _fail(str(error), EXIT_USAGE)
    _erase(_settings(config), f"everything older than {older_than}", yes=yes, older_than_s=age_s)


@app.command()
def erase(
    caller: Annotated[str, typer.Option(help="The number, as in the records.")],
    config: Config = None,
    yes: Sure = False,
) -> None:
    """Delete all that is kept of one caller: records, recordings, sessions, journals, handoffs.

    Example: voicebot calls erase --caller +4930123456
    """
    if not caller.strip():
        _fail("whose? --caller NUMBER", EXIT_USAGE)
    _erase(_settings(config), f"everything of {caller}", yes=yes, caller=caller)


def _erase(
    settings: Settings,
    what: str,
    *,
    yes: bool,
    older_than_s: float | None = None,
    caller: str | None = None,
) -> None:
    from voicebot.session.open_store import session_store
    from voicebot.session.retention import Erased
    from voicebot.session.retention import erase as erase_records

    if not yes and not typer.confirm(f"Delete {what} under {settings.data_dir}?"):
        _fail("nothing was deleted")

    async def run() -> Erased:
        store = session_store(settings.store.url, settings.data_dir, replicas=settings.store.replicas)
        await store.start()
        try:
            return await erase_records(
                store, settings.data_dir, older_than_s=older_than_s, caller=caller, also=also_erase
            )
        finally:
            await store.close()

    try:
        erased = asyncio.run(run())
    except VoicebotError as error:
        _fail(f"{error}; run it again")
    print(
        json.dumps(
            {
                "sessions": erased.sessions,
                "call_records": erased.call_records,
                "recordings": erased.recordings,
                **erased.others,
            }
        )
    )


def explain(call: CallName, config: Config = None) -> None:
    """``voicebot rca``."""
    from voicebot.session.call_views import causes
    from voicebot.session.root_cause import root_causes

    settings = _settings(config)
    findings = root_causes(one_call(settings, call), settings.budget.limits_ms)
    if not findings:
        print("nothing out of the ordinary")
        return
    _print(causes(findings))
    raise typer.Exit(3)
