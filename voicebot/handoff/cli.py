"""``voicebot handoff``: who waits for a person or a call back, in the terminal."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.callbacks import Callback
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
    """Show waiting and handed-over callers, and who is to be called back, until Ctrl-C."""
    from rich.console import Console, Group
    from rich.live import Live

    from voicebot.config.load import load_settings

    folder = load_settings(config).data_dir
    store, callbacks = HandoffStore(folder), CallbackStore(folder)
    console = Console()

    def picture() -> Group:
        return Group(_table(store.rows(open_only=True)), "", _callbacks(callbacks.open()))

    if once:
        console.print(picture())
        return
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(picture(), refresh=True)
                time.sleep(every_s)
        except KeyboardInterrupt:
            return


def _table(rows: list[HandoffRow]) -> Table:
    table = _headed("state", "queue", "urgency", "waits", "caller", "with", "summary")
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
        table.add_row(*map(_text, cells))
    return table


def _callbacks(callbacks: list[Callback]) -> Table:
    table = _headed("call back", "queue", "number", "tries", "last outcome")
    for callback in callbacks:
        last = callback.history[-1].outcome if callback.history else ""
        cells = (callback.state, callback.queue, callback.number, str(len(callback.history)), last)
        table.add_row(*map(_text, cells))
    return table


def _headed(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _text(cell: str) -> Text:
    # Text, not markup: brackets and escapes of a caller mean nothing here.
    return Text("".join(c if c.isprintable() else "?" for c in cell))
