"""Tune the exported model on the development speakers: prior exponent, blank factor, [unk] cost.

Exports one model directory for each combination and measures it with the bot's own recogniser
(`sip_test_harness.asr_run`) on the development split. The test split is for the final table only:
``python -m tests.bench.asr``.
"""

import argparse
import itertools
import random
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sip_test_harness.asr_condition import chosen_conditions
from sip_test_harness.asr_corpus import DIGITS, Clip, Corpus
from sip_test_harness.asr_recogniser import RecogniserProgram
from sip_test_harness.asr_report import figure_of
from sip_test_harness.asr_run import COMMANDS, STRANGERS, ClipSet, read_sets, run
from tests.bench.asr import program_of
from training.data import load_audio, load_index

SETS = ("digits", "strings of 4", "commands", "orders", STRANGERS)
CUT_DIGITS, CUT_COMMANDS = "digits out of sentences", "commands out of sentences"


def cut_words(work: Path, wanted: Collection[str], count: int) -> tuple[Clip, ...]:
    """Single words of development speakers, cut out of their sentences (`training.cut`)."""
    if not (work / "cuts.jsonl").exists():
        return ()
    audio = load_audio(work)
    chosen = [u for u in load_index(work, "cuts.jsonl") if u.split == "dev" and u.words[0] in wanted]
    random.Random(2).shuffle(chosen)
    return tuple(
        Clip(np.array(audio[u.offset : u.offset + u.samples]), u.words[0], u.speaker)
        for u in chosen[:count]
    )


def measure(model: Path, data: Path, work: Path, count: int) -> dict[str, str]:
    """The figures that the choices are made on, development speakers, phone channel."""
    tests = read_sets(Corpus(data, "dev"), SETS, count)
    for name, words, kind in ((CUT_DIGITS, DIGITS, "digits"), (CUT_COMMANDS, COMMANDS, "choice")):
        if clips := cut_words(work, words, count):
            tests.append(ClipSet(name, clips, kind, tuple(words)))
    with RecogniserProgram(program_of(model)) as program:
        measured = run(program, tests, chosen_conditions("phone"))
    figures = {}
    for name, by_line in measured.scores.items():
        score = by_line["phone"]
        figure, value = figure_of(score)
        figures[f"{name}, {figure} (n={score.clips})"] = f"{value:.1f} %"
    strangers = measured.strangers["phone"]
    figures[f"false accepts (n={strangers.strangers})"] = (
        f"{strangers.accepted:.0f} % at {strangers.threshold:.2f}"
    )
    strings = measured.scores["strings of 4"]["phone"]
    return {**figures, "real-time factor": f"{strings.real_time_factor:.3f}"}


def main() -> None:
    """Sweep and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--checkpoint", type=Path, help="default: <work>/model.pt")
    parser.add_argument("--prior-exponents", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--blank-factors", type=float, nargs="+", default=[1.0])
    parser.add_argument("--unknown-costs", type=float, nargs="+", default=[1.5])
    parser.add_argument("--garbage-words", type=int, nargs="+", default=[0])
    parser.add_argument("--garbage-costs", type=float, nargs="+", default=[3.0])
    parser.add_argument("--model", type=Path, help="measure this directory only; no sweep")
    parser.add_argument("--count", type=int, default=100, help="single digits; the rest scales")
    args = parser.parse_args()
    table: Table | None = None
    console = Console(width=160)
    if args.model:
        for figure, value in measure(args.model, args.data, args.work, args.count).items():
            console.print(f"{figure:42s} {value}")
        return
    out = args.work / "sweep"
    names = ("prior-exponent", "blank-factor", "unknown-cost", "garbage-words", "garbage-cost")
    for choice in itertools.product(
        args.prior_exponents,
        args.blank_factors,
        args.unknown_costs,
        args.garbage_words,
        args.garbage_costs,
    ):
        shutil.rmtree(out, ignore_errors=True)
        options = zip(names, choice, strict=True)
        command = [sys.executable, "-m", "training.export", "--work", str(args.work), "--out", str(out)]
        command += ["--checkpoint", str(args.checkpoint or args.work / "model.pt"), "--check-clips", "1"]
        command += [text for name, value in options for text in (f"--{name}", str(value))]
        subprocess.run(command, check=True, capture_output=True)
        figures = measure(out, args.data, args.work, args.count)
        if table is None:
            table = Table(*names, *figures)
        table.add_row(*map(str, choice), *figures.values())
        console.print(*choice, *figures.values())
    if table is not None:
        console.print(table)


if __name__ == "__main__":
    main()
