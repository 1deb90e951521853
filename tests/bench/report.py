"""`make bench`: run the benchmarks and print every figure beside its target.

    python -m tests.bench.report [NAME...] [--no-run] [--quick]

Without names all of `BENCHMARKS` run, one after the other; `--no-run` prints the figures of the last run.
The table also goes to var/bench/report.md, ready to be pasted into docs/benchmarks.md.
"""

import argparse
import json
import subprocess
import sys
import time

from tests.bench.rows import FOLDER, machine

BENCHMARKS = {
    "wire": ["--quick"],
    "jitter_buffer": [],
    "concealment": [],
    "tts": [],
    "asr": [],
    "echo": [],
    "router": [],
    "console": [],
    "handoff": [],
    "offline": [],
}


def run(name, *, quick):
    """Run one benchmark; its progress is on the terminal."""
    print(f"== {name}", flush=True)
    started = time.monotonic()
    arguments = BENCHMARKS[name] if quick else []
    status = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *arguments], check=False
    ).returncode
    print(
        f"== {name}: {'done' if status == 0 else f'FAILED ({status})'} in {time.monotonic() - started:.0f} s"
    )
    return status


def table(names):
    """Markdown rows of all figures that were measured."""
    lines = ["| target | figure | measured | limit | met | note |", "|---|---|---|---|---|---|"]
    for name in names:
        path = FOLDER / f"{name}.json"
        if not path.exists():
            continue
        for r in json.loads(path.read_text()):
            met = "" if not r["limit"] else ("yes" if r["ok"] else "**no**")
            lines.append(
                f"| {r['target']} | {r['figure']} | {r['value']} {r['unit']} | {r['limit']} | {met} | {r['note']} |"
            )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default all"
    )
    parser.add_argument("--no-run", action="store_true", help="print the figures of the last run")
    parser.add_argument("--quick", action="store_true", help="fewer calls where that is possible")
    options = parser.parse_args()
    names = options.names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; known: {', '.join(BENCHMARKS)}")
    failed = [] if options.no_run else [name for name in names if run(name, quick=options.quick) != 0]
    text = table(names)
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "report.md").write_text(f"{machine()}\n\n{text}\n")
    print(machine())
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
