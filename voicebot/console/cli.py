"""``voicebot console``: run it, make a password's hash."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(invoke_without_command=True)


@app.callback()
def run(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", envvar="VOICEBOT_CONFIG", help="Settings file.")
    ] = None,
) -> None:
    """Run the web console; prints where it is and how to log in."""
    if context.invoked_subcommand is not None:
        return
    from voicebot.config.load import READY_VARIABLE, load_settings
    from voicebot.console.main import run_console
    from voicebot.console.tokens import invitation
    from voicebot.telemetry.log import configure_logging

    settings = load_settings(config)
    configure_logging(settings.log, program="console")
    if READY_VARIABLE not in os.environ:  # else the supervisor has said so
        print(invitation(settings, to_a_person=sys.stdout.isatty()), flush=True)
    asyncio.run(run_console(settings))


@app.command()
def password(
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Print the hash of a password for console.users."""
    from voicebot.console.accounts import hash_password

    print(hash_password(password))
