"""``voicebot handoff``: who waits for a person, in the terminal."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from voicebot.handoff.queue_store import HandoffRow, HandoffStore

app = typer.Typer(no_args_is_help=True)


@app.command()
def watch(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", envvar="VOICEBOT_CONFIG", help="Settings file.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print and end.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Show waiting and handed-over callers until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    from voicebot.config.load import load_settings

    store = HandoffStore(load_settings(config).data_dir)
    console = Console()
    if once:
        console.print(_table(store.rows(open_only=True)))
        return
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(_table(store.rows(open_only=True)), refresh=True)
                time.sleep(every_s)
        except KeyboardInterrupt:
            return


def _table(rows: list[HandoffRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("state", "queue", "urgency", "waits", "caller", "with", "summary"):
        table.add_column(heading, overflow="fold")
    now_s = time.time()
    for row in rows:
        context = row.context
        cells = (
            row.state,
            row.queue,
            context.urgency,
            f"{row.waited_s(now_s):.0f} s",
            context.caller_name or context.caller,
            row.taken_by,
            context.summary,
        )
        # Text, not markup: brackets and escapes of a caller mean nothing here.
        table.add_row(*(Text("".join(c if c.isprintable() else "?" for c in cell)) for cell in cells))
    return table
