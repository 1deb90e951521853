"""Recognition beside its bars: `sip-test-harness asr` measures, this judges, on speakers the model never heard.

    python -m tests.bench.asr [--data FOLDER] [--model DIRECTORY] [--limit 1000]

Clean, telephone (300-3400 Hz and mu-law) and two losses; the harness alone measures all thirteen lines.
"""

import argparse
import shlex
import sys
from pathlib import Path

from sip_test_harness.asr_condition import chosen_conditions
from sip_test_harness.asr_corpus import Corpus
from sip_test_harness.asr_recogniser import RecogniserProgram
from sip_test_harness.asr_run import SETS, Measured, read_sets, run
from tests.bench.confidence import wilson
from tests.bench.rows import at_most, machine, percentile, row, write

LINES = "clean, phone, loss 3 %, loss 10 %"
LEAST_RIGHT = {"digits": 97, "strings of 8": 80, "yes / no": 98, "commands": 90}
"""Percent of the clips."""
LEAST_ERROR = 0.1
"""Percent; a ratio of losses is taken to no smaller error."""


def program_of(model: Path | None) -> str:
    """The recogniser that is measured: the bot's own, with this or the packaged model."""
    words = [sys.executable, "-m", "voicebot.cli", "asr", "answer"]
    return shlex.join([*words, *(["--model", str(model)] if model else [])])


def rows_of(measured: Measured):
    """A row for each bar."""
    rows = []
    for line in ("clean", "phone"):
        for test, least in LEAST_RIGHT.items():
            if score := measured.score(test, line):
                low, high = wilson(score.right, score.clips)
                groups = [f"{g} {100 * sum(v) / len(v):.1f}" for g, v in sorted(score.groups.items())]
                note = "; ".join([f"n={score.clips}, {low:.1f}-{high:.1f}", *groups])
                rows.append(_at_least(f"{test} right, {line}", score.accuracy, least, note))
        if score := measured.score("strings of 4", line):
            note = f"n={score.clips}; {score.accuracy:.1f} % fully right"
            rows.append(
                at_most(f"strings of 4, word error, {line}", score.word_error, "%", 4, note=note)
            )
        if score := measured.score("orders", line):
            note = f"n={score.clips} orders, {score.accuracy:.1f} % complete"
            rows.append(_at_least(f"orders, slot recall, {line}", score.slot_recall, 75, note))
        if score := measured.score("free", line):
            note = f"n={score.clips} sentences, {score.words} words"
            rows.append(
                at_most(f"free speech, word error, {line}", score.word_error, "%", 45, note=note)
            )
        if line in measured.strangers:
            found = measured.strangers[line]
            note = f"n={found.strangers}; threshold {found.threshold:.2f} keeps {found.kept:.1f} % of the good"
            rows.append(
                at_most(f"non-digits taken for digits, {line}", found.accepted, "%", 10, note=note)
            )
    return [*rows, *_loss_rows(measured), *_time_rows(measured)]


def _loss_rows(measured):
    base = measured.score("strings of 4", "phone")
    for percent, bar in ((3, 1.15), (10, 1.4)):
        score = measured.score("strings of 4", f"loss {percent} %")
        if base and score:
            ratio = score.word_error / max(base.word_error, LEAST_ERROR)
            note = f"{base.word_error:.1f} -> {score.word_error:.1f} %, n={score.clips}"
            figure = f"strings of 4, word error at {percent} % loss / none"
            yield at_most(figure, ratio, "", bar, target="11", note=note)


def _time_rows(measured):
    """Real-time factor and delays of the digits through the telephone."""
    scores = [measured.score(test, "phone") for test in ("digits", "strings of 4", "strings of 8")]
    found = [score for score in scores if score]
    if not found:
        return
    factor = sum(s.cpu_ms for s in found) / sum(s.audio_ms for s in found)
    yield {
        **at_most("real-time factor, digits", factor, "", 0.05, note="one core"),
        "value": round(factor, 4),
    }
    late = [ms for score in found for ms in score.partial_late_ms]
    final = [ms for score in found for ms in score.final_ms]
    for figure, values, bar in (
        ("last partial right after speech end, p50", late, 50),
        ("final after commit, CPU p50", final, 30),
    ):
        note = f"n={len(values)}, p95 {percentile(values, 0.95):.0f} ms"
        yield at_most(figure, percentile(values, 0.5), "ms", bar, note=note)


def _at_least(figure, value, limit, note):
    return row(figure, round(value, 1), "%", limit=f">= {limit}", ok=value >= limit, note=note)


def main() -> None:
    """Measure, print, write var/bench/asr.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of tar files")
    parser.add_argument("--model", type=Path, help="Vosk model directory (default: the packaged one)")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--limit", type=int, default=1000, help="single digits; the rest scales")
    args = parser.parse_args()
    if not (args.data / "fsdd.tar").is_file():
        parser.exit(
            2, f"no recordings in {args.data}: give --data a folder with fsdd.tar and the others\n"
        )
    with RecogniserProgram(program_of(args.model)) as program:
        tests = read_sets(Corpus(args.data, args.split), SETS, args.limit)
        measured = run(
            program, tests, chosen_conditions(LINES), lambda *done: print(*done[:2], file=sys.stderr)
        )
    print(machine(), "|", measured.engine)
    write("asr", rows_of(measured))


if __name__ == "__main__":
    main()
