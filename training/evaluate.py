"""Tune the exported model on the development speakers: prior exponent, blank factor, [unk] cost.

Exports one model directory for each combination and measures it with the bot's own recogniser
(`tests.bench.asr`) on the development split. The test split is for the final table only:
``python -m tests.bench.asr``.
"""

import argparse
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench import asr, asr_clips
from voicebot.asr.spoken import FILLERS
from voicebot.asr.vosk_recogniser import VoskFactory


def measure(model: Path, data: Path, count: int) -> dict[str, str]:
    """The figures that the choices are made on, development speakers, phone channel."""
    listener = asr.Listener(VoskFactory(model))
    digits = asr_clips.fsdd(data, "dev")
    chosen = [digits[i] for i in np.random.default_rng(7).permutation(len(digits))[:count]]
    single = listener.words(chosen, asr.phone, asr.DIGIT_GRAMMAR, asr.DIGIT_WORDS)
    strings = asr_clips.digit_strings(digits, 4, max(10, count // 4), 3)
    four = listener.words(strings, asr.phone, asr.DIGIT_GRAMMAR, asr.DIGIT_WORDS)
    words = asr_clips.speech_commands(data, "dev")
    commands = [clip for clip in words if clip.text in asr.COMMANDS]
    command = listener.words(commands, asr.phone, [*asr.COMMANDS, *FILLERS], {*asr.COMMANDS})
    recall, _, orders = asr.slot_recall(listener, data, "dev", asr.phone, count)
    accepted, _, others = asr.false_accepts(listener, words)
    return {
        f"digits (n={single.clips})": f"{single.accuracy:.1f} %",
        f"strings of 4, word error (n={four.clips})": f"{four.word_error:.1f} %",
        f"commands (n={command.clips})": f"{command.accuracy:.1f} %",
        f"slot recall (n={orders})": f"{recall:.0f} %",
        f"false accepts (n={others})": f"{accepted:.0f} %",
        "real-time factor": f"{four.cpu_s / four.audio_s:.3f}",
    }


def main() -> None:
    """Sweep and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--checkpoint", type=Path, help="default: <work>/model.pt")
    parser.add_argument("--prior-exponents", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--blank-factors", type=float, nargs="+", default=[1.0])
    parser.add_argument("--unknown-costs", type=float, nargs="+", default=[1.5])
    parser.add_argument("--count", type=int, default=100, help="single digits; the rest scales")
    args = parser.parse_args()
    table: Table | None = None
    console = Console(width=160)
    out = args.work / "sweep"
    for choice in itertools.product(args.prior_exponents, args.blank_factors, args.unknown_costs):
        shutil.rmtree(out, ignore_errors=True)
        options = zip(("--prior-exponent", "--blank-factor", "--unknown-cost"), choice, strict=True)
        command = [sys.executable, "-m", "training.export", "--work", str(args.work), "--out", str(out)]
        command += ["--checkpoint", str(args.checkpoint or args.work / "model.pt"), "--check-clips", "1"]
        command += [text for name, value in options for text in (name, str(value))]
        subprocess.run(command, check=True, capture_output=True)
        figures = measure(out, args.data, args.count)
        if table is None:
            table = Table("prior", "blank", "[unk]", *figures)
        table.add_row(*map(str, choice), *figures.values())
        console.print(*choice, *figures.values())
    if table is not None:
        console.print(table)


if __name__ == "__main__":
    main()
