"""Train the acoustic model with CTC; resumable, with a time budget.

Uses a GPU when there is one. On a CPU with bfloat16 units (AMX) one core trains about 400 times
faster than real time, and one more process makes features. Interrupt it at will: the next run with
the same ``--out`` goes on from the last checkpoint. Each checkpoint also holds the average of the
recent weights ("ema"), which is what ``export`` takes.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.functional import ctc_loss, nll_loss

from training.mixing import MIXTURES, Example, Producer
from training.model import AcousticModel, Shape, load, save
from training.rivals import RIVALS

BATCH_FRAMES = 4000
"""Input frames per step: 40 s of audio."""

SNAPSHOT_HOURS = 15
"""So often the averaged weights are kept for the learning curve."""

PRIOR_EXPONENT = 0.5
RIVALRY = 3.0
"""Weight of telling rivals apart (`rivalry`) beside CTC."""

AVERAGE = 0.999
GUESSED_STEPS = 500
"""For so long the even spread of the phones is learned too, less and less (`mixing.Example`)."""


def batches(group: list[Example]) -> list[list[Example]]:
    """Cut a sorted group into batches of about BATCH_FRAMES padded frames."""
    cut: list[list[Example]] = [[]]
    for example in group:
        if cut[-1] and (len(cut[-1]) + 1) * len(example.features) > BATCH_FRAMES:
            cut.append([])
        cut[-1].append(example)
    random.shuffle(cut)
    return cut


def collate(batch: list[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Padded features, flat labels, output lengths, label lengths, guesses (-100 is padding)."""
    longest = max(len(e.features) for e in batch)
    features = torch.zeros(len(batch), longest, batch[0].features.shape[1])
    for row, example in zip(features, batch, strict=True):
        count = len(example.features)
        row[:count] = torch.from_numpy(example.features)
        row[count:] = row[count - 1]
    labels = torch.tensor([label for e in batch for label in e.labels])
    lengths = torch.tensor([(len(e.features) + 2) // 3 for e in batch])
    guesses = torch.full((len(batch), int(lengths.max())), -100)
    for row, example in zip(guesses, batch, strict=True):
        row[: len(example.guess)] = torch.from_numpy(example.guess)
    return features, labels, lengths, torch.tensor([len(e.labels) for e in batch]), guesses


def rivalry(scores: Tensor, lengths: Tensor, batch: list[Example], offset: Tensor) -> Tensor:
    """How unsure the right reading is among its rivals: -log of its share, summed over the examples.

    Args:
        scores: Log posteriors (outputs in time, examples, units).
        lengths: Outputs of each example.
        batch: The examples.
        offset: Added to the scores, so that they are told apart as the decoder tells them: divided by
            a power of the units' shares. (Any constant is exact here: the weights of all readings of
            an example add up to nothing in the gradient.)
    """
    rows = [row for row, example in enumerate(batch) if example.rivals]
    if not rows:
        return scores.new_zeros(())
    readings = [reading for row in rows for reading in (batch[row].labels, *batch[row].rivals)]
    owner = torch.tensor(rows).repeat_interleave(1 + RIVALS)
    losses = ctc_loss(
        (scores + offset)[:, owner],
        torch.tensor([label for reading in readings for label in reading]).to(scores.device),
        lengths[owner],
        torch.tensor([len(reading) for reading in readings]),
        reduction="none",
    ).view(len(rows), 1 + RIVALS)
    return (losses[:, 0] + (-losses).logsumexp(1)).clamp(min=0.0, max=30.0).sum()


def learning_rate(peak: float, progress: float, step: int) -> float:
    """Warm-up over 300 steps, flat for a while, then a cosine down to a fiftieth."""
    cosine = 0.5 * (1 + math.cos(math.pi * max(0.0, (progress - 0.1) / 0.9)))
    return peak * min(1.0, (step + 1) / 300) * (0.02 + 0.98 * cosine)


class Trainer:
    """The model, its averaged twin and the optimiser."""

    def __init__(self, out: Path, init: Path | None, shape: Shape, peak: float) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.out, self.peak = out, peak
        self.steps, self.elapsed_s, self.audio_s = 0, 0.0, 0.0
        start = out if out.exists() else init
        extra: dict[str, object] = {}
        if start:
            self.model, extra = load(start)
        else:
            self.model = AcousticModel(shape)
        self.fresh = start is None
        self.guessed_steps = 0 if init else GUESSED_STEPS
        self.unsure: list[float] = []
        self.shares = torch.full((shape.outputs,), 1.0 / shape.outputs, device=self.device)
        self.model.to(self.device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), peak, weight_decay=1e-3)
        self.average = {k: v.detach().clone().float() for k, v in self.model.state_dict().items()}
        if start == out and extra:
            self.optimiser.load_state_dict(extra["optimiser"])  # type: ignore[arg-type]  # a checkpoint
            self.average = extra["ema"]  # type: ignore[assignment]  # a checkpoint
            self.steps, self.elapsed_s, self.audio_s = extra["counters"]  # type: ignore[misc]  # a checkpoint

    def normalise_input(self, group: list[Example]) -> None:
        """Take mean and spread of the features from the first group."""
        frames = np.concatenate([e.features for e in group])
        self.model.mean.copy_(torch.from_numpy(frames.mean(axis=0)))
        self.model.inverse_std.copy_(torch.from_numpy(1.0 / (frames.std(axis=0) + 1e-3)))
        for name in ("mean", "inverse_std"):
            self.average[name] = self.model.state_dict()[name].clone()

    def step(self, batch: list[Example], progress: float) -> float:
        """One update; returns the CTC loss per output frame."""
        features, labels, lengths, label_lengths, guesses = collate(batch)
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = learning_rate(self.peak, progress, self.steps)
        self.model.train()
        with torch.autocast(self.device, dtype=torch.bfloat16):
            logits = self.model(features.to(self.device))
        scores = logits.float().log_softmax(-1).transpose(0, 1)
        loss = (
            ctc_loss(
                scores,
                labels.to(self.device),
                lengths,
                label_lengths,
                reduction="sum",
                zero_infinity=True,
            )
            / lengths.sum()
        )
        told = float(loss.detach())
        guessing = 1.0 - (self.steps + 1) / (self.guessed_steps + 1)
        if guessing > 0:
            loss = (
                guessing * nll_loss(scores.permute(1, 2, 0), guesses.to(self.device))
                + (1 - guessing) * loss
            )
        else:
            self.shares.lerp_(scores.detach().exp().mean((0, 1)), 0.01)
            offset = -PRIOR_EXPONENT * self.shares.clamp_min(1e-3).log()
            unsure = rivalry(scores, lengths, batch, offset) / lengths.sum()
            self.unsure.append(float(unsure.detach()))
            loss = loss + RIVALRY * unsure
        self.optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 3.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.steps += 1
        self.audio_s += float(lengths.sum()) * 0.03
        keep = min(AVERAGE, 1 - 1 / (self.steps / 10 + 1))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value.float(), 1 - keep)
        return told

    def save(self) -> None:
        """Write the checkpoint."""
        counters = (self.steps, self.elapsed_s, self.audio_s)
        save(
            self.out,
            self.model,
            optimiser=self.optimiser.state_dict(),
            ema=self.average,
            counters=counters,
        )

    def log(self, loss: float) -> None:
        """One line for the learning curve (`training.curve`), now and then with the averaged weights."""
        hours, unsure = self.audio_s / 3600, float(np.mean(self.unsure or [0.0]))
        path = self.out.with_name(f"{self.out.stem}-curve.csv")
        new = not path.exists()
        with path.open("a", encoding="utf-8") as file:
            if new:
                file.write("minutes,hours_heard,ctc_per_output,rivals_per_output\n")
            file.write(f"{self.elapsed_s / 60:.2f},{hours:.2f},{loss:.4f},{unsure:.4f}\n")
        kept = int(hours / SNAPSHOT_HOURS) * SNAPSHOT_HOURS
        snapshot = self.out.with_name(f"{self.out.stem}-{kept:04d}h.pt")
        if kept and not snapshot.exists():
            save(snapshot, self.model, ema=self.average)
        self.unsure.clear()


def main() -> None:
    """Train until the budget is spent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--out", type=Path, help="checkpoint (default: <work>/model.pt)")
    parser.add_argument("--init", type=Path, help="start from this checkpoint's weights")
    parser.add_argument("--budget-min", type=float, default=60.0, help="wall time, over all runs")
    parser.add_argument("--until-min", type=float, help="stop here; the budget stays the schedule's")
    parser.add_argument("--feature-processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak-rate", type=float, default=2.5e-3)
    parser.add_argument("--curriculum-start", type=float, default=0.0, help="skip ahead, 0 to 1")
    parser.add_argument("--mixture", choices=MIXTURES, default="all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every-s", type=float, default=60.0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    console = Console()
    out = args.out or args.work / "model.pt"
    refused = args.work / "refused.json"
    drop = frozenset(json.loads(refused.read_text()) if refused.exists() else [])
    trainer = Trainer(out, args.init, Shape(), args.peak_rate)
    producer = Producer(args.work, args.seed + trainer.steps, drop, args.feature_processes, args.mixture)
    group = producer.next_group()
    if trainer.fresh:
        trainer.normalise_input(group)
    weights = sum(p.numel() for p in trainer.model.parameters())
    console.print(f"{weights:,} weights on {trainer.device}, budget {args.budget_min:.0f} min")
    budget_s = args.budget_min * 60
    until_s = min(budget_s, (args.until_min or args.budget_min) * 60)
    bar = Progress(
        TextColumn("training"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console
    )
    task = bar.add_task("training", total=until_s, completed=int(trainer.elapsed_s))
    bar.start()
    began, saved, losses = time.monotonic() - trainer.elapsed_s, time.monotonic(), []
    while trainer.elapsed_s < until_s:
        for batch in batches(group):
            trainer.elapsed_s = time.monotonic() - began
            progress = min(1.0, trainer.elapsed_s / budget_s)
            losses.append(trainer.step(batch, progress))
        bar.update(task, completed=trainer.elapsed_s)
        curriculum = args.curriculum_start + (1 - args.curriculum_start) * progress
        producer.progress.value = curriculum
        if time.monotonic() - saved > args.save_every_s:
            trainer.save()
            saved = time.monotonic()
            console.print(
                f"{trainer.elapsed_s / 60:6.1f} min  step {trainer.steps:6d}  "
                f"{trainer.audio_s / 3600:7.1f} h heard  loss {np.mean(losses):.4f}"
                f"  rivals {np.mean(trainer.unsure or [0.0]):.4f}"
            )
            trainer.log(float(np.mean(losses)))
            losses.clear()
        group = producer.next_group()
    bar.stop()
    trainer.save()
    producer.stop()
    console.print(f"done: {trainer.steps} steps, {trainer.audio_s / 3600:.1f} h -> {out}")


if __name__ == "__main__":
    main()
