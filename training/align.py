"""Which recordings fit their text, and what the unlabelled orders probably say.

Writes into the work folder:

    refused.json   training recordings whose text explains them badly (``train`` leaves them out)
    weak.json      words for barista recordings: of all sentences that have the labelled slots, the one
                   that the model finds likeliest (``train`` adds them)

Both use the CTC loss of a first model, per phone.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.functional import ctc_loss

from training.data import Utterance, load_audio, load_index
from training.features import mfcc
from training.lexicon import PHONE_INDEX, lexicon, normalise
from training.model import AcousticModel, averaged_model
from training.texts import phrases

LEADS = phrases(
    """i want a|i'd like a|can i get a|can i have a|may i have a|get me a|give me a|make me a|brew a|a"""
)
BEFORE = ("roast", "size", "numberOfShots")
AFTER = ("milkAmount", "sugarAmount")


def labels_of(words: list[str]) -> list[int]:
    """Labels of the usual pronunciation."""
    return [PHONE_INDEX[phone] for word in words for phone in lexicon()[word][0]]


def losses(scores: Tensor, readings: list[list[int]]) -> Tensor:
    """CTC loss of each reading of one recording; scores (outputs in time, units)."""
    count = len(readings)
    return ctc_loss(
        scores[:, None].expand(-1, count, -1),
        torch.tensor([label for reading in readings for label in reading]),
        torch.full((count,), len(scores)),
        torch.tensor([len(reading) for reading in readings]),
        reduction="none",
    )


def scores_of(model: AcousticModel, audio: np.ndarray) -> Tensor:
    """Log posteriors of one recording with silence around it."""
    silence = np.random.default_rng(0).standard_normal(1600).astype(np.float32) * 3
    padded = np.concatenate([silence, audio.astype(np.float32), silence])
    with torch.no_grad():
        return model(torch.from_numpy(mfcc(padded))[None])[0].log_softmax(-1)


def sentences(slots: dict[str, str]) -> Iterator[list[str]]:
    """All ways to order a drink with these slots."""
    said = {slot: " ".join(value.lower().split()) for slot, value in slots.items()}
    before = [said[slot] for slot in BEFORE if slot in said]
    after = [said[slot] for slot in AFTER if slot in said]
    for lead, order, extras in itertools.product(
        LEADS, itertools.permutations(before), itertools.permutations(after)
    ):
        tail = f"with {' and '.join(extras)}" if extras else ""
        words = normalise(" ".join([lead, *order, said.get("coffeeDrink", ""), tail]))
        if words:
            yield words


def weak_labels(model: AcousticModel, work: Path, worst: float) -> dict[str, list[str]]:
    """The likeliest sentence of each barista training recording that fits well enough."""
    path = work / "data" / "barista" / "labels.json"
    if not path.exists():
        return {}
    slots = {Path(name).stem: row["slots"] for name, row in json.loads(path.read_text()).items()}
    audio, found = load_audio(work), {}
    chosen = [u for u in load_index(work) if u.source == "barista" and u.split == "train"]
    for utterance in track(chosen, description="weak labels"):
        readings = list(sentences(slots.get(Path(utterance.name).stem, {})))
        if not readings:
            continue
        labels = [labels_of(words) for words in readings]
        scores = scores_of(model, audio[utterance.offset : utterance.offset + utterance.samples])
        loss = losses(scores, labels) / torch.tensor([len(x) for x in labels])
        best = int(loss.argmin())
        if float(loss[best]) < worst:
            found[utterance.name] = readings[best]
    return found


def misfits(model: AcousticModel, work: Path, worst: float) -> tuple[list[str], list[float]]:
    """Names of training recordings above the loss per phone, and all losses."""
    audio = load_audio(work)
    refused, every = [], []
    chosen: list[Utterance] = [
        u for u in load_index(work) if u.split == "train" and u.words and u.source != "synthetic"
    ]
    for utterance in track(chosen, description="fit"):
        labels = labels_of(list(utterance.words))
        scores = scores_of(model, audio[utterance.offset : utterance.offset + utterance.samples])
        loss = float(losses(scores, [labels])[0]) / len(labels)
        every.append(loss)
        if not loss < worst:
            refused.append(utterance.name)
    return refused, every


def main() -> None:
    """Write both lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--checkpoint", type=Path, help="default: <work>/model.pt")
    parser.add_argument("--worst", type=float, default=3.5, help="highest loss per phone that is kept")
    parser.add_argument("--weak-only", action="store_true", help="only the barista sentences")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    model = averaged_model(args.checkpoint or args.work / "model.pt")
    weak = weak_labels(model, args.work, args.worst)
    (args.work / "weak.json").write_text(json.dumps(weak, indent=0))
    console.print(f"{len(weak)} weak labels")
    if not args.weak_only:
        refused, every = misfits(model, args.work, args.worst)
        (args.work / "refused.json").write_text(json.dumps(refused, indent=0))
        console.print(
            f"{len(refused)} of {len(every)} refused; median loss {np.median(every):.2f} per phone"
        )


if __name__ == "__main__":
    main()
