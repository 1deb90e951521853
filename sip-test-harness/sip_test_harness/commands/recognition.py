"""How well a recogniser understands callers: ``asr``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from sip_test_harness.commands.app import app

_TABLE_WIDTH = 150  # thirteen conditions side by side, also in a file


@app.command(
    epilog="""**Examples**

    sip-test-harness asr --data ../recordings

    sip-test-harness asr --data ../recordings --sets "digits,orders" --conditions "phone,loss 3 %"

    sip-test-harness asr --data ../recordings --recogniser "voicebot asr answer --model /srv/model-en"
"""
)
def asr(
    *,
    data: Annotated[Path, typer.Option(help="Folder with the tar files of recordings")],
    recogniser: Annotated[
        str, typer.Option(help="Program that answers requests, a JSON line each")
    ] = "voicebot asr answer",
    sets: Annotated[str, typer.Option(help="Sets of recordings, divided by commas; all")] = "",
    conditions: Annotated[str, typer.Option(help="Lines, divided by commas; all")] = "",
    limit: Annotated[int, typer.Option(min=4, help="Single digits; other sets in proportion")] = 250,
    split: Annotated[str, typer.Option(help="Speakers: test, or dev while choosing")] = "test",
    out: Annotated[Path, typer.Option(help="Folder of asr.json and the plots")] = Path("var/asr"),
) -> None:
    """Measure word error, slot recall, false accepts, delays and real-time factor of a recogniser."""
    from sip_test_harness.asr_condition import chosen_conditions
    from sip_test_harness.asr_corpus import Corpus
    from sip_test_harness.asr_recogniser import RecogniserProgram
    from sip_test_harness.asr_report import table, timing_table, write
    from sip_test_harness.asr_run import SETS, read_sets, run
    from sip_test_harness.asr_score import Score
    from sip_test_harness.errors import UsageError

    if split not in {"test", "dev"}:
        raise UsageError("--split is test or dev")
    if not data.is_dir():
        raise UsageError(f"no folder {data}")
    names = [name.strip() for name in sets.split(",") if name.strip()] or list(SETS)
    lines = chosen_conditions(conditions)
    tests = read_sets(Corpus(data, split), names, limit)
    progress = Console(stderr=True, soft_wrap=True)
    total, done = len(tests) * len(lines), 0

    def show(test: str, condition: str, score: Score) -> None:
        nonlocal done
        done += 1
        progress.print(
            Text(f"[{done}/{total}] {condition}: {test}, {score.accuracy:.1f} % right of {score.clips}"),
            style="dim",
        )

    with RecogniserProgram(recogniser) as program:
        measured = run(program, tests, lines, show)
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    console.print(table(measured))
    console.print(timing_table(measured))
    about = {"data": data.name, "split": split, "limit": limit, "recogniser": recogniser}
    for path in write(out, measured, about):
        console.print(Text(str(path), style="dim"))
