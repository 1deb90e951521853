"""All steps in order, from the recordings to a model directory: what ``make train`` runs.

A step that finished is not done again, training goes on from its last checkpoint, and the synthetic
voices from their last batch: interrupt it at will and start it again with the same options. To begin
anew, remove the work folder.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from rich.console import Console

FIRST_PART = 0.35
"""Share of the training time before the first model looks through the data."""


def main() -> None:
    """Run what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of tar files")
    parser.add_argument(
        "--budget-min", type=float, default=240.0, help="training time, all runs together"
    )
    parser.add_argument("--batches", type=int, default=60, help="of 200 synthetic sentences")
    parser.add_argument("--warm-start", type=Path, help="go on from this model directory's weights")
    parser.add_argument("--out", type=Path, help="model directory (default: <work>/en-narrowband-8k)")
    args = parser.parse_args()
    console = Console()
    args.work.mkdir(parents=True, exist_ok=True)

    def step(name: str, module: str, *options: object) -> None:
        done = args.work / f".done-{name}"
        if done.exists():
            console.print(f"== {name}: done before")
            return
        console.print(f"== {name}")
        command = [sys.executable, "-m", f"training.{module}", "--work", str(args.work)]
        subprocess.run([*command, *map(str, options)], check=True)
        done.touch()

    step("voices", "synthesis", "--batches", args.batches, "--budget-min", 600)
    step("data", "data", "--data", args.data)
    rate: list[object] = ["--budget-min", args.budget_min]
    if args.warm_start:
        step("warm-start", "warm_start", "--model", args.warm_start)
        rate += ["--init", args.work / "warm.pt", "--peak-rate", 1.5e-3, "--curriculum-start", 0.4]
    step("first-training", "train", *rate, "--until-min", FIRST_PART * args.budget_min)
    step("weak-labels", "align", "--weak-only", "--worst", 2.5)
    step("cuts", "cut")
    step("training", "train", *rate)
    out = args.out or args.work / "en-narrowband-8k"
    step("export", "export", "--out", out)
    console.print(f"next: python -m tests.bench.asr --model {out}; python -m training.evaluate")


if __name__ == "__main__":
    main()
