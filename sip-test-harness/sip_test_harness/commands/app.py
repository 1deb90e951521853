"""The command line's application, exit codes and progress lines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from sip_test_harness.script_runner import OnProgress

PASSED, FAILED, BAD_USAGE = 0, 1, 2

app = typer.Typer(
    help="A scripted telephone caller that measures a voice bot at the RTP wire.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """A scripted telephone caller that measures a voice bot at the RTP wire.

    Exit codes: 0 everything passed, 1 the call or a check failed, 2 wrong usage or script.

    Only 127.0.0.0/8 is called unless --allow-network is given.
    """


def show_progress(console: Console) -> OnProgress:
    """Return a function that prints what happens, with the time since now."""
    start_s = time.monotonic()

    def show(who: str, what: str) -> None:
        elapsed_s = time.monotonic() - start_s
        console.print(Text(f"{elapsed_s:7.2f} s  {who:>6}  {what}", style="dim"))

    return show
