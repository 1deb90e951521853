"""Train the network that hears whether a word interrupts: ``voicebot/turn/models/interjection.npz``.

    python -m training.interjection [--work var/training] [--folds 4] [--held-out FOLDER] [--out FILE]

It learns all words that are frequent enough, and that those of each side (`INTERRUPTING`, `HUMMING`)
belong together: the other words teach it what speech is, and the many voices of the sentences what
people sound like. ``--folds`` says how it does with voices that it was not trained on: each voice is
asked of a network that never heard it. ``--held-out`` keeps those networks, for
``python -m tests.bench.interruptions --held-out``. Needs `training.data`, `training.synthesis` and a
checkpoint (`training.train` or `training.warm_start`). Features: 8 minutes; training: 5 minutes each.
"""

import argparse
import itertools
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from training.interjection_examples import (
    HUMMING,
    INTERRUPTING,
    MARGIN_FRAMES,
    SCALE,
    SILENT,
    Examples,
    Word,
    every_word,
)
from training.splits import fold_of
from voicebot.turn.interjection import (
    BANDS,
    FRAMES,
    HUMS_ALONG,
    INTERRUPTS,
    LAYERS,
    MODEL_FILE,
    NO_VOICE,
    OTHER,
    QUIET,
    Interjection,
)

PACKAGED = Path("voicebot/turn/models") / MODEL_FILE
SHARES = {
    "speech_commands": 0.34,
    "cut": 0.26,
    "synthetic": 0.20,
    "spoken": 0.09,
    "fsdd": 0.03,
    "keywords": 0.02,
    "burst": 0.04,
    "noise": 0.02,
}
"""The share of each source of a batch."""
FEWEST = 40
"""Examples of a word that is an output of its own."""
FEWEST_PHRASES = 200
MORE_OF_BOTH_SIDES = 2.5
RARER_WORDS = -0.6
"""A word with n recordings has n^0.4 of its source's share."""
CHANNELS = (48, 64, 64, 64)
HIDDEN = 96
BATCH = 192
RATE = 4e-3
SEED = 100
LATEST = 11
"""Up to 70 ms of the word's beginning are missing."""

Kept = NDArray[np.uint8]


def side_of(word: str) -> int:
    """The side a word is on."""
    sides = ((INTERRUPTING, INTERRUPTS), (HUMMING, HUMS_ALONG), (SILENT, NO_VOICE))
    return next(
        (side for words, side in sides if word.removeprefix("_") in words or word in words), OTHER
    )


@dataclass(frozen=True)
class Gathered:
    """All examples: features (n, 112, 30), and of each its word and which copy it is."""

    seen: Kept
    words: list[Word]
    copies: NDArray[np.int16]

    def part(self, wanted: Callable[[Word], bool]) -> NDArray[np.int64]:
        """Which examples are of such words."""
        return np.flatnonzero([wanted(word) for word in self.words])


class Network(nn.Module):
    """What `Interjection` computes, to be trained; outputs are words."""

    def __init__(self, words: int) -> None:
        super().__init__()
        sizes = itertools.pairwise((BANDS, *CHANNELS))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, width, stride, width // 2)
            for (a, b), (width, stride) in zip(sizes, LAYERS, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in CHANNELS)
        self.drop = nn.Dropout(0.25)
        self.hidden = nn.Linear(2 * CHANNELS[-1], HIDDEN)
        self.out = nn.Linear(HIDDEN, words)

    def forward(self, seen: Tensor) -> Tensor:
        """Logits (n, words) of features (n, 96, 30)."""
        values = seen.transpose(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            values = torch.relu(norm(convolution(values)))
        joined = self.drop(torch.cat([values.mean(2), values.amax(2)], 1))
        logits: Tensor = self.out(self.drop(torch.relu(self.hidden(joined))))
        return logits

    def arrays(self, sides: NDArray[np.int64]) -> dict[str, NDArray[np.float16]]:
        """The weights as `Interjection` takes them; BatchNorm becomes part of the convolutions."""
        found = {"sides": sides.astype(np.float16)}
        for number, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1):
            scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
            kernel = convolution.weight.detach() * scale[:, None, None]
            bias = (convolution.bias.detach() - norm.running_mean) * scale + norm.bias.detach()
            found[f"conv{number}"] = kernel.numpy().transpose(0, 2, 1).astype(np.float16)
            found[f"conv{number}_bias"] = bias.numpy().astype(np.float16)
        for name, layer in (("hidden", self.hidden), ("out", self.out)):
            found[name] = layer.weight.detach().numpy().astype(np.float16)
            found[f"{name}_bias"] = layer.bias.detach().numpy().astype(np.float16)
        return found


_makers: list[Examples] = []


def _made(word: Word) -> Kept:
    return _makers[-1].of(word)


def gather(work: Path, checkpoint: Path, processes: int) -> Gathered:
    """All examples, kept in ``interjection.npz`` of the work folder."""
    words, audio = every_word(work, checkpoint)
    kept = work / "interjection.npz"
    if not kept.exists():
        _makers.append(Examples(work, audio))  # inherited: pickled it would be all audio for each word
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            made = pool.imap(_made, words, chunksize=50)
            seen = list(track(made, "features", total=len(words)))
        np.savez(kept, seen=np.concatenate(seen))
    with np.load(kept) as arrays:
        seen_all = arrays["seen"]
    each = [word for word in words for _ in range(word.copies)]
    copies = np.array([copy for word in words for copy in range(word.copies)], np.int16)
    if len(each) != len(seen_all):
        raise SystemExit(f"{kept} is of other recordings: remove it")
    return Gathered(seen_all, each, copies)


def plain(seen: Kept) -> NDArray[np.float32]:
    """Features as the bot sees them: float32 (n, 96, 30)."""
    return seen[:, :FRAMES].astype(np.float32) / np.float32(SCALE) + np.float32(QUIET)


def disturbed(seen: Kept, chance: np.random.Generator) -> NDArray[np.float32]:
    """The same begun earlier or later, with masks, another tone of the line, and rustling."""
    count = len(seen)
    starts = chance.integers(0, LATEST, count)
    found = np.stack([one[a : a + FRAMES] for one, a in zip(seen, starts, strict=True)])
    values = found.astype(np.float32) / np.float32(SCALE) + np.float32(QUIET)
    for one in values:
        if chance.random() < 0.15:
            late = int(chance.integers(1, MARGIN_FRAMES - 2))
            one[late:] = one[:-late].copy()
            one[:late] = QUIET + 0.2 * chance.random((late, BANDS))
        if chance.random() < 0.5:
            band = int(chance.integers(0, BANDS - 1))
            one[:, band : band + int(chance.integers(1, 5))] = -0.5
        if chance.random() < 0.3:
            frame = int(chance.integers(0, 50))
            one[frame : frame + int(chance.integers(1, 6))] = -0.8
    tilt = chance.normal(0, 0.25, (count, 1, 1)) * np.linspace(-1, 1, BANDS)
    values += tilt + chance.normal(0, 0.08, (count, 1, BANDS))
    return np.maximum(values, np.float32(QUIET)).astype(np.float32)


def vocabulary(words: list[Word]) -> list[str]:
    """Words with an output of their own; the last output is for all others."""
    count = Counter(word.word for word in words)
    frequent = [
        word
        for word, n in sorted(count.items())
        if side_of(word) != OTHER or n >= (FEWEST_PHRASES if word.startswith("_") else FEWEST)
    ]
    return [*frequent, "_other"]


def fit(
    gathered: Gathered,
    left_out: Callable[[Word], bool],
    steps: int,
    seed: int,
    state: Path | None = None,
) -> Interjection:
    """Train on all voices but those left out; with ``state`` an interrupted training goes on."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    chance = np.random.default_rng(seed)
    outputs = vocabulary(gathered.words)
    number = {word: k for k, word in enumerate(outputs)}
    sides = np.array([side_of(word) for word in outputs])
    belongs = torch.tensor(np.eye(OTHER + 1, dtype=np.float32)[sides])
    chosen = gathered.part(lambda word: not left_out(word))
    words = [gathered.words[k] for k in chosen]
    labels = np.array([number.get(word.word, len(outputs) - 1) for word in words])
    count = Counter((word.source, word.word) for word in words)
    weights = np.array(
        [
            count[word.source, word.word] ** RARER_WORDS
            * (MORE_OF_BOTH_SIDES if word.word in INTERRUPTING | HUMMING else 1.0)
            for word in words
        ]
    )
    of_source = Counter[str]()
    for word, weight in zip(words, weights, strict=True):
        of_source[word.source] += weight
    weights *= [SHARES[word.source] / of_source[word.source] for word in words]
    upto = np.cumsum(weights / weights.sum())
    network = Network(len(outputs))
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.03)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    begin = 0
    if state and state.exists():
        kept = torch.load(state, weights_only=False)
        begin, chance = kept["step"], kept["chance"]
        for part, name in ((network, "network"), (optimiser, "optimiser"), (schedule, "schedule")):
            part.load_state_dict(kept[name])
    network.train()
    for step in range(begin, steps):
        drawn = np.minimum(np.searchsorted(upto, chance.random(BATCH)), len(chosen) - 1)
        logits = network(torch.tensor(disturbed(gathered.seen[chosen[drawn]], chance)))
        wanted = torch.tensor(labels[drawn])
        loss = nn.functional.cross_entropy(logits, wanted, label_smoothing=0.1)
        share = (logits.softmax(1) @ belongs).clamp_min(1e-6)
        loss = loss + 0.5 * nn.functional.nll_loss(share.log(), torch.tensor(sides)[wanted])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"network {seed}, step {step + 1} of {steps}, loss {loss.item():.2f}", flush=True)
        if state and step % 100 == 99:
            parts = {"network": network, "optimiser": optimiser, "schedule": schedule}
            kept = {name: part.state_dict() for name, part in parts.items()}
            torch.save({**kept, "step": step + 1, "chance": chance}, state)
    network.eval()
    arrays = network.arrays(sides)
    packed = Interjection({name: value.astype(np.float32) for name, value in arrays.items()})
    some = plain(gathered.seen[:64])
    with torch.no_grad():
        shares = (network(torch.tensor(some)).softmax(1) @ belongs).numpy() + 1e-3
    theirs = np.log(shares[:, INTERRUPTS]) - np.log(shares[:, HUMS_ALONG] + shares[:, NO_VOICE] - 1e-3)
    ours = [packed.score(one) for one in some]
    print(f"torch and numpy with 16-bit weights differ by {np.abs(theirs - ours).max():.3f} at most")
    return packed


def report(gathered: Gathered, scores: dict[int, float]) -> None:
    """How often a word was taken for one that interrupts, by odds wanted, over voices never heard."""
    limits = (-2, -1, 0, 0.5, 1, 2, 3)
    print("| said | recordings, voices | " + " | ".join(f"above {k:g}" for k in limits) + " |")
    groups: dict[str, list[int]] = {}
    for k in scores:
        word = gathered.words[k]
        name = f"{word.source}: {word.word if word.word in INTERRUPTING | HUMMING else 'other words'}"
        if word.source in {"speech_commands", "cut"} and word.copies > 1:
            name += ", as it is" if gathered.copies[k] == 0 else ", other lines"
        groups.setdefault(name, []).append(k)
    for name, members in sorted(groups.items()):
        values = np.array([scores[k] for k in members])
        voices = len({gathered.words[k].voice for k in members})
        shares = " | ".join(f"{100 * (values > limit).mean():.0f}" for limit in limits)
        print(f"| {name} | {len(members)}, {voices} | {shares} |")


def write(network: Interjection, path: Path) -> None:
    """Write the weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: value.astype(np.float16) for name, value in network.weights.items()})
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def _fold(gathered: Gathered, fold: int, folds: int, steps: int, kept: Path | None) -> dict[int, float]:
    """Scores of the voices of one part by a network that was trained on the others."""

    def asked(word: Word) -> bool:
        return fold_of(word.voice, folds) == fold

    path = kept / f"{Path(MODEL_FILE).stem}-{fold}-of-{folds}.npz" if kept else None
    if path and path.exists():
        with np.load(path) as arrays:
            network = Interjection({name: arrays[name].astype(np.float32) for name in arrays.files})
    else:
        network = fit(gathered, asked, steps, fold, path.with_suffix(".pt") if path else None)
        if path:
            write(network, path)
    chosen = gathered.part(lambda word: asked(word) and word.source != "fsdd")
    return {
        int(k): network.score(one) for k, one in zip(chosen, plain(gathered.seen[chosen]), strict=True)
    }


def main() -> int:
    """Gather, cross-validate, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--checkpoint", type=Path, help="default: <work>/model.pt")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument(
        "--folds", type=int, default=0, help="parts of the voices; 0: no cross-validation"
    )
    parser.add_argument("--only", type=int, nargs="+", help="these parts, to run several at once")
    parser.add_argument(
        "--held-out", type=Path, help="keep the networks of the parts here, and go on there"
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=PACKAGED)
    options = parser.parse_args()
    checkpoint = options.checkpoint or options.work / "model.pt"
    gathered = gather(options.work, checkpoint, options.processes)
    voices = len({word.voice for word in gathered.words})
    print(f"{len(gathered.words)} examples of {voices} voices", flush=True)
    if options.folds:
        kept = options.held_out
        scores: dict[int, float] = {}
        for fold in options.only if options.only is not None else range(options.folds):
            scores |= _fold(gathered, fold, options.folds, options.steps, kept)
        report(gathered, scores)
    else:
        state = options.work / "interjection.pt"
        write(fit(gathered, lambda _word: False, options.steps, SEED, state), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
