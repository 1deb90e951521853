"""``voicebot dialplan``: check, test and try a dialplan without a telephone."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from voicebot.dialogue.program import CompiledDialplan

app = typer.Typer(no_args_is_help=True)

PlanFile = Annotated[Path, typer.Argument(help="dialplan file (YAML)")]


@app.command()
def check(
    file: PlanFile,
    strict: Annotated[bool, typer.Option(help="let warnings fail as well")] = False,
) -> None:
    """List every mistake as file:line:column; exit code 1 when there is an error."""
    from voicebot.dialogue.checker import check_dialplan

    findings = check_dialplan(file)
    for finding in findings:
        print(finding)
    errors = sum(f.severity == "error" for f in findings)
    print(f"{file}: {errors} errors, {len(findings) - errors} warnings")
    if errors or (strict and findings):
        raise typer.Exit(1)


@app.command()
def graph(
    file: PlanFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=".svg or .mmd; default: print")
    ] = None,
) -> None:
    """Draw the plan: SVG when the output ends in .svg, else Mermaid."""
    from voicebot.dialogue.graph import mermaid, svg

    plan = _load(file).source
    if output is None:
        print(mermaid(plan), end="")
    else:
        output.write_text(svg(plan) if output.suffix == ".svg" else mermaid(plan), encoding="utf-8")


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="default: print")] = None,
) -> None:
    """Write the JSON Schema of the dialplan language (editors complete and check with it)."""
    from voicebot.dialogue.schema import schema_text

    if output is None:
        print(schema_text(), end="")
    else:
        output.write_text(schema_text(), encoding="utf-8")


@app.command()
def test(file: PlanFile) -> None:
    """Run the tests that stand in the file; exit code 1 when one fails."""
    from voicebot.dialogue.plan_tests import run_plan_tests

    results = run_plan_tests(_load(file))
    for result in results:
        print(f"{'ok  ' if not result.problem else 'FAIL'} {result.name}")
        if result.problem:
            for line in result.script:
                print(f"       {line}")
            print(f"     → {result.problem}")
    failed = sum(bool(r.problem) for r in results)
    print(f"{len(results) - failed} of {len(results)} passed")
    if failed or not results:
        raise typer.Exit(1)


@app.command()
def chat(
    file: PlanFile,
    to: Annotated[str, typer.Option(help="called number; default the first route's")] = "",
    at: Annotated[str, typer.Option(help='wall clock of the call, as "2026-11-23T10:00"')] = "",
    caller: Annotated[str, typer.Option(help="caller's number")] = "",
    trunk: Annotated[str, typer.Option(help="address that the call comes from")] = "",
) -> None:
    """Talk to the plan by text; '#12' presses keys, an empty line is silence, Ctrl-D hangs up.

    /undo takes the last turn back, /edit 2 words changes the second and plays the call again.
    """
    from voicebot.dialogue.chat import HELP, Chat

    plan = _load(file)
    try:
        now = dt.datetime.fromisoformat(at) if at else dt.datetime.now(plan.timezone)
    except ValueError as error:
        raise typer.BadParameter(f'{at!r} is not a date and time; write "2026-11-23T10:00"') from error
    now = now if now.tzinfo else now.replace(tzinfo=plan.timezone)
    called = to or (plan.source.routes[0].match.to or ["*"])[0]
    try:
        talk = Chat(plan, called, now, caller=caller, trunk=trunk)
    except LookupError as error:
        print(f"no route for {called!r}: such a call gets 404; see --to, --caller and --trunk")
        raise typer.Exit(1) from error
    print(HELP)
    lines = talk.greeting()
    while True:
        for line in lines:
            print(line)
        if talk.over:
            return
        try:
            lines = talk.enter(input("you> ").strip())
        except EOFError:
            talk.hang_up()
            print("[you hang up]")
            return


def _load(file: Path) -> "CompiledDialplan":
    from voicebot.core.errors import ConfigError
    from voicebot.dialogue.loader import load_dialplan

    try:
        return load_dialplan(file)
    except ConfigError as error:
        print(error)
        raise typer.Exit(1) from error
