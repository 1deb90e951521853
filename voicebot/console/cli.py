"""``voicebot console``: run it, make a password's hash."""

import asyncio
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
    from voicebot.config.load import load_settings
    from voicebot.console.main import console_token, run_console
    from voicebot.telemetry.log import configure_logging

    settings = load_settings(config)
    configure_logging(settings.log, program="console")
    print(f"console: http://{settings.console.host}:{settings.console.port}/")
    print(f"log in as admin with this token: {console_token(settings)}", flush=True)
    asyncio.run(run_console(settings))


@app.command()
def password(
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, confirmation_prompt=True)],
) -> None:
    """Print the hash of a password for console.users."""
    from voicebot.console.accounts import hash_password

    print(hash_password(password))
