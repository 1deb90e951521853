"""Tune the exported model on the development speakers: prior exponent, blank factor, [unk] cost.

Exports one model directory for each combination and measures it with the bot's own recogniser
(`tests.bench.asr`) on the development split. The test split is for the final table only:
``python -m tests.bench.asr``.
"""

import argparse
import itertools
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tests.bench import asr, asr_clips
from training.data import load_audio, load_index
from voicebot.asr.vosk_recogniser import VoskFactory

DIGITS_AND_COMMANDS = {*asr.COMMANDS, *asr_clips.DIGITS}


def cut_words(work: Path, count: int) -> list[asr_clips.Clip]:
    """Single words of development speakers, cut out of their sentences (`training.cut`)."""
    if not (work / "cuts.jsonl").exists():
        return []
    audio = load_audio(work)
    chosen = [u for u in load_index(work, "cuts.jsonl") if u.split == "dev" and len(u.words[0]) > 1]
    random.Random(2).shuffle(chosen)
    chosen = [u for u in chosen if u.words[0] in DIGITS_AND_COMMANDS][:count] + [
        u for u in chosen if u.words[0] not in DIGITS_AND_COMMANDS
    ][:count]
    return [
        asr_clips.Clip(np.array(audio[u.offset : u.offset + u.samples]), u.words[0], u.speaker, u.name)
        for u in chosen
    ]


def measure(model: Path, data: Path, work: Path, count: int) -> dict[str, str]:
    """The figures that the choices are made on, development speakers, phone channel."""
    listener = asr.Listener(VoskFactory(model))
    digits = asr_clips.fsdd(data, "dev")
    chosen = [digits[i] for i in np.random.default_rng(7).permutation(len(digits))[:count]]
    single = listener.words(chosen, asr.phone, asr.DIGIT_GRAMMAR, asr.DIGIT_WORDS)
    strings = asr_clips.digit_strings(digits, 4, max(10, count // 4), 3)
    four = listener.words(strings, asr.phone, asr.DIGIT_GRAMMAR, asr.DIGIT_WORDS)
    words, cuts = asr_clips.speech_commands(data, "dev"), cut_words(work, count)
    commands = [clip for clip in words if clip.text in asr.COMMANDS]
    command = listener.words(commands, asr.phone, asr.COMMANDS)
    cut_digits = [clip for clip in cuts if clip.text in asr_clips.DIGITS]
    cut_digit = listener.words(cut_digits, asr.phone, asr.DIGIT_GRAMMAR, asr.DIGIT_WORDS)
    cut_commands = [clip for clip in cuts if clip.text in asr.COMMANDS]
    cut_command = listener.words(cut_commands, asr.phone, asr.COMMANDS)
    recall, _, orders = asr.slot_recall(listener, data, "dev", asr.phone, count)
    accepted, threshold, others = asr.false_accepts(listener, [*words, *cuts])
    return {
        f"digits (n={single.clips})": f"{single.accuracy:.1f} %",
        f"strings of 4, word error (n={four.clips})": f"{four.word_error:.1f} %",
        f"digits of strangers (n={cut_digit.clips})": f"{cut_digit.accuracy:.1f} %",
        f"commands (n={command.clips})": f"{command.accuracy:.1f} %",
        f"commands of strangers (n={cut_command.clips})": f"{cut_command.accuracy:.1f} %",
        f"slot recall (n={orders})": f"{recall:.0f} %",
        f"false accepts (n={others})": f"{accepted:.0f} % at {threshold:.2f}",
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
