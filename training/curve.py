"""The learning curve: errors of the development speakers against the hours heard.

Takes the snapshots that ``train`` keeps (``<model>-<hours>h.pt``) and measures each with torch alone: no
graph, no language model, only the likeliest of the words in question and the phones of whole sentences,
all through the phone channel. Writes a table and a picture.
"""

import argparse
import csv
import re
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from sip_test_harness.asr_run import COMMANDS
from sip_test_harness.asr_score import edit_distance
from training.align import labels_of, losses, scores_of
from training.augmentation import phone_channel, with_level
from training.data import Utterance, load_audio, load_index
from training.lexicon import DIGITS, PHONE_INDEX, lexicon
from training.model import averaged_model
from training.train import PRIOR_EXPONENT

SENTENCES = ("librispeech_tc5", "speechocean762")
FIGURES = ("digits_wrong_percent", "commands_wrong_percent", "phone_error_percent")


def chosen_clips(work: Path, count: int) -> dict[str, list[Utterance]]:
    """Development recordings: single digits, single commands, sentences."""
    every = [u for u in load_index(work) if u.split == "dev" and u.words]
    digits = [u for u in every if u.source == "fsdd"]
    rng = np.random.default_rng(5)
    return {
        "digits": [digits[i] for i in rng.permutation(len(digits))[:count]],
        "commands": [u for u in every if u.source == "speech_commands" and u.words[0] in COMMANDS],
        "sentences": [u for name in SENTENCES for u in every if u.source == name][
            :: max(1, 800 // count)
        ],
    }


def likeliest(scores: Tensor, words: list[str]) -> str:
    """The word whose best pronunciation has the smallest CTC loss."""
    forms = [
        (word, [PHONE_INDEX[phone] for phone in form]) for word in words for form in lexicon()[word]
    ]
    return forms[int(losses(scores, [labels for _, labels in forms]).argmin())][0]


def phones_heard(scores: Tensor) -> list[int]:
    """The best output of each frame, repetitions and blanks taken out."""
    path = scores.argmax(-1).tolist()
    return [a for a, b in zip(path, [0, *path], strict=False) if a and a != b]


def measure(checkpoint: Path, work: Path, clips: dict[str, list[Utterance]]) -> dict[str, float]:
    """The three errors of one snapshot, percent."""
    model, audio = averaged_model(checkpoint), load_audio(work)
    scores: dict[str, list[tuple[Utterance, Tensor]]] = {}
    for kind, utterances in clips.items():
        for u in utterances:
            sound = audio[u.offset : u.offset + u.samples].astype(np.float32)
            heard = scores_of(model, phone_channel(with_level(sound, 2000.0)))
            scores.setdefault(kind, []).append((u, heard))
    shares = torch.cat([s.exp() for rows in scores.values() for _, s in rows]).mean(0)
    offset = PRIOR_EXPONENT * shares.clamp_min(1e-3).log()
    wrong = {
        kind: np.mean([likeliest(s - offset, words) != u.words[0] for u, s in scores[kind]])
        for kind, words in (("digits", DIGITS), ("commands", COMMANDS))
    }
    errors = total = 0
    for u, s in scores["sentences"]:
        said = labels_of(list(u.words))
        errors += edit_distance(said, phones_heard(s))  # type: ignore[arg-type]  # labels for words
        total += len(said)
    values = (wrong["digits"], wrong["commands"], errors / max(1, total))
    return {name: round(100 * float(v), 2) for name, v in zip(FIGURES, values, strict=True)}


def plot(rows: list[dict[str, float]], out: Path) -> None:
    """Draw the curve."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  # the table does not need it

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, label in zip(
        FIGURES, ("single digits", "28 commands", "phones of sentences"), strict=True
    ):
        axes.plot([r["hours_heard"] for r in rows], [r[name] for r in rows], marker="o", label=label)
    axes.set(xlabel="hours of augmented audio heard", ylabel="error, %", ylim=(0, None))
    axes.set_title("Development speakers, phone channel, no language model")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Measure all snapshots, write curve.csv and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--name", default="model", help="<work>/<name>-<hours>h.pt")
    parser.add_argument("--start", type=Path, help="checkpoint at 0 hours, as made by warm_start")
    parser.add_argument("--count", type=int, default=200, help="single digits; the rest scales")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/asr-learning-curve.png"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = chosen_clips(args.work, args.count)
    snapshots = [(0, args.start)] if args.start else []
    for path in args.work.glob(f"{args.name}-*h.pt"):
        found = re.fullmatch(rf"{re.escape(args.name)}-(\d+)h", path.stem)
        if found:
            snapshots.append((int(found[1]), path))
    rows: list[dict[str, float]] = []
    for hours, path in track(sorted(snapshots), description="snapshots"):
        rows.append({"hours_heard": float(hours), **measure(path, args.work, clips)})
        Console().print(rows[-1])
    with (args.work / "learning-curve.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["hours_heard", *FIGURES])
        table.writeheader()
        table.writerows(rows)
    plot(rows, args.plot)


if __name__ == "__main__":
    main()
