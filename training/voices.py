"""How the errors of strangers fall with the number of voices: the curve behind the missed bars.

A small network learns to tell single words apart, anew with the recordings of so many voices, and is
asked for words of other people. All of them are *training* speakers of the real model, in five parts:
four teach, one asks. Features and augmentation are the pipeline's. It is no part of the model; it
says what more people would bring, which the real model's training is too long to try.
"""

import argparse
import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sip_test_harness.asr_run import COMMANDS
from sip_test_harness.svg_chart import Series, line_chart
from training.augmentation import augment, phone_channel, resampled, trimmed, with_level
from training.data import Utterance, load_audio, load_index
from training.features import mfcc
from training.lexicon import DIGITS

PARTS = 5
FRAMES = 100
"""A second: words are cut or padded to it."""
VARIANTS = 8
"""Damaged copies of each recording."""
STEPS, BATCH = 400, 48
FEW = "fsdd"
"""A collection with many recordings by few people."""


@dataclass(frozen=True)
class Word:
    """One recording: what is said, by whom, damaged copies and one through the telephone.

    ``alone``: said as a single word; only those are asked for, as words cut out of sentences were
    chosen by what the real model understood.
    """

    label: int
    speaker: str
    few: bool
    alone: bool
    damaged: Tensor
    asked: Tensor


def fixed(features: np.ndarray) -> Tensor:
    """Exactly `FRAMES` frames, padded with the last; (40, FRAMES)."""
    rows = features[:FRAMES]
    return torch.from_numpy(np.pad(rows, ((0, FRAMES - len(rows)), (0, 0)), "edge").T.copy())


def prepared(utterances: Iterable[Utterance], words: Sequence[str], audio: np.ndarray) -> list[Word]:
    """All recordings as features."""
    rng, found = np.random.default_rng(9), []
    for u in track(list(utterances), description="features"):
        sound = trimmed(audio[u.offset : u.offset + u.samples].astype(np.float32))
        copies = [
            fixed(mfcc(augment(resampled(sound, rng.uniform(0.85, 1.18)), rng))) for _ in range(VARIANTS)
        ]
        asked = fixed(mfcc(phone_channel(with_level(sound, 2000.0))))
        label, few, alone = words.index(u.words[0]), u.source == FEW, u.source == "speech_commands"
        found.append(Word(label, u.speaker, few, alone, torch.stack(copies), asked))
    return found


class Telling(nn.Module):
    """Three convolutions, the mean and the maximum over time, one layer."""

    def __init__(self, words: int, width: int = 96) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(40)
        layers: list[nn.Module] = []
        for inputs, stride in ((40, 2), (width, 2), (width, 1)):
            layers += [nn.Conv1d(inputs, width, 5, stride, 2), nn.ReLU(), nn.BatchNorm1d(width)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * width, words))

    def forward(self, features: Tensor) -> Tensor:
        """(n, 40, FRAMES) -> (n, words)."""
        inside = self.layers(self.norm(features))
        return self.out(torch.cat([inside.mean(-1), inside.amax(-1)], 1))


def errors(teaching: Sequence[Word], asking: Sequence[Word], words: int, seed: int) -> int:
    """Train anew; how many of the asked words were taken for others."""
    torch.manual_seed(seed)
    model = Telling(words)
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, STEPS)
    sounds = torch.stack([w.damaged for w in teaching])
    labels = torch.tensor([w.label for w in teaching])
    for _ in range(STEPS):
        chosen = torch.randint(len(labels), (BATCH,))
        copies = torch.randint(VARIANTS, (BATCH,))
        loss = cross_entropy(model(sounds[chosen, copies]), labels[chosen], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    with torch.no_grad():
        heard = model(torch.stack([w.asked for w in asking])).argmax(1)
    return int((heard != torch.tensor([w.label for w in asking])).sum())


def curve(
    words: Sequence[Word], labels: int, counts: Sequence[int], repeats: int
) -> dict[str, tuple[float, int]]:
    """Percent wrong and number of questions, by number of voices, or "few" for `FEW`."""
    many = [w for w in words if not w.few]
    speakers = sorted({w.speaker for w in many})
    random.Random(6).shuffle(speakers)
    most = len(speakers) - -(-len(speakers) // PARTS)
    found: dict[str, list[int]] = {}
    total: dict[str, int] = {}
    for part in track(range(PARTS), description="parts"):
        held = set(speakers[part::PARTS])
        others = [s for s in speakers if s not in held]
        asking = [w for w in many if w.speaker in held and w.alone]
        for repeat in range(repeats):
            order = random.Random(repeat).sample(others, len(others))
            sets = {str(c): set(order[:c]) for c in [*(c for c in counts if c < most), most]}
            teachings = {name: [w for w in many if w.speaker in chosen] for name, chosen in sets.items()}
            if any(w.few for w in words):
                teachings["few"] = [w for w in words if w.few]
            for name, teaching in teachings.items():
                wrong = errors(teaching, asking, labels, repeat)
                found.setdefault(name, []).append(wrong)
                total[name] = total.get(name, 0) + len(asking)
    return {name: (100 * sum(wrong) / total[name], total[name]) for name, wrong in found.items()}


def power_law(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The ``a`` and ``b`` of error = a * voices ** -b through the points."""
    slope, height = np.polyfit(np.log([x for x, _ in points]), np.log([y for _, y in points]), 1)
    return float(np.exp(height)), float(-slope)


def main() -> None:
    """Measure both sets of words, write voices.csv and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 20, 40, 80, 160])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--plot", type=Path, default=Path("docs/images/asr-voices.svg"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    console, audio, series, rows = Console(), load_audio(args.work), [], []
    index = [*load_index(args.work), *load_index(args.work, "cuts.jsonl")]
    sources = {"speech_commands", "cut", FEW}
    for name, words in (("digits", DIGITS), ("28 commands", COMMANDS)):
        chosen = [
            u
            for u in index
            if u.split == "train" and u.source in sources and len(u.words) == 1 and u.words[0] in words
            if u.source != FEW or name == "digits"
        ]
        found = curve(prepared(chosen, list(words), audio), len(words), args.counts, args.repeats)
        points = sorted((float(k), v) for k, (v, _) in found.items() if k != "few")
        a, b = power_law(points)
        console.print(f"{name}: error = {a:.1f} % * voices ^ -{b:.2f}")
        for voices, (wrong, asked) in found.items():
            console.print(f"  {voices:>4} voices: {wrong:.1f} % wrong, n={asked}")
            rows.append(
                {"words": name, "voices": voices, "wrong_percent": round(wrong, 2), "asked": asked}
            )
        series.append(Series(name, points))
    with (args.work / "voices.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    title = "Words of strangers, by voices in training"
    args.plot.write_text(line_chart(title, "voices", "wrong, %", series), "utf-8")


if __name__ == "__main__":
    main()
