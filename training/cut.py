"""Single words out of sentences: more voices that say digits and short commands alone.

Few recordings hold one word only, by few people. Here a first model finds the words of the training
sentences (forced alignment over the CTC outputs) and each is cut out half-way to its neighbours. A cut
is kept when the same model still recognises the word in it alone. Writes ``<work>/cuts.jsonl``: lines as
in index.jsonl that point into the same audio; `training.mixing` joins them to strings of one voice.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.align import labels_of, losses, scores_of
from training.data import Utterance, load_audio, load_index
from training.features import RATE_HZ
from training.lexicon import DIGITS
from training.mixing import OUTPUT_SAMPLES
from training.model import averaged_model
from training.texts import SHORT_WORDS

SOURCES = frozenset({"speechocean762", "librispeech_tc5", "librispeech_resemblyzer", "commonvoice_en"})
WANTED = {*DIGITS, "oh", *SHORT_WORDS}
PADDING_SAMPLES = 1600
"""Silence that `align.scores_of` puts before the recording."""

BEFORE_OUTPUTS, AFTER_OUTPUTS = 5, 8
"""Where no neighbour is near, a word is cut so far before its first and after its last phone (30 ms)."""


def path_of(scores: NDArray[np.float32], labels: list[int]) -> NDArray[np.int64]:
    """For each label the output frame at which the likeliest CTC path enters it.

    Args:
        scores: Log posteriors (outputs in time, units); unit 0 is the blank.
        labels: Units to find, in order.
    """
    states = np.zeros(2 * len(labels) + 1, np.int64)
    states[1::2] = labels
    skip = np.zeros(len(states), bool)
    skip[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(len(states), -np.inf)
    best[:2] = scores[0, states[:2]]
    came = np.zeros((len(scores), len(states)), np.int8)
    for time in range(1, len(scores)):
        options = np.stack([best, np.roll(best, 1), np.roll(best, 2)])
        options[1, 0] = options[2, :2] = -np.inf
        options[2, ~skip] = -np.inf
        came[time] = options.argmax(0)
        best = options.max(0) + scores[time, states]
    state = len(states) - 1 if best[-1] > best[-2] else len(states) - 2
    entered = np.zeros(len(labels), np.int64)
    for time in range(len(scores) - 1, -1, -1):
        if state % 2:
            entered[state // 2] = time
        state -= int(came[time, state])
    return entered


def cuts(utterance: Utterance, scores: NDArray[np.float32]) -> list[Utterance]:
    """Every word of a recording as an utterance of its own, a view of the same audio."""
    counts = [len(labels_of([word])) for word in utterance.words]
    labels = labels_of(list(utterance.words))
    if len(scores) < 2 * len(labels):
        return []
    peaks = path_of(scores, labels)
    ends = np.cumsum(counts)
    found = []
    for word, end, count in zip(utterance.words, ends, counts, strict=True):
        first, last = int(peaks[end - count]), int(peaks[end - 1])
        before = int(peaks[end - count - 1]) if end > count else -BEFORE_OUTPUTS
        after = int(peaks[end]) if end < len(peaks) else len(scores) + AFTER_OUTPUTS
        start_output = max(first - BEFORE_OUTPUTS, (first + before) / 2)
        end_output = min(last + AFTER_OUTPUTS, (last + after) / 2 + 0.5)
        start = max(0, int(start_output * OUTPUT_SAMPLES) - PADDING_SAMPLES)
        stop = min(utterance.samples, int(end_output * OUTPUT_SAMPLES) - PADDING_SAMPLES)
        if stop - start > 0.15 * RATE_HZ:
            found.append(
                replace(utterance, source="cut", words=(word,), offset=utterance.offset + start,
                        samples=stop - start, name=f"{utterance.name}#{start}")
            )  # fmt: skip
    return found


def main() -> None:
    """Cut, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--checkpoint", type=Path, help="default: <work>/model.pt")
    parser.add_argument("--worst", type=float, default=2.0, help="highest loss per phone of a cut alone")
    parser.add_argument("--most", type=int, default=120, help="of one word")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = averaged_model(args.checkpoint or args.work / "model.pt")
    audio = load_audio(args.work)
    tried: Counter[str] = Counter()
    most = 2 * args.most
    kept: list[Utterance] = []
    every = [u for u in load_index(args.work) if u.source in SOURCES and u.words]
    for utterance in track(every, description="cutting"):
        wanted = [w for w in utterance.words if w in DIGITS or (w in WANTED and tried[w] < most)]
        if not wanted:
            continue
        whole = scores_of(model, audio[utterance.offset : utterance.offset + utterance.samples])
        for cut in cuts(utterance, whole.numpy()):
            if cut.words[0] not in wanted:
                continue
            tried[cut.words[0]] += 1
            scores = scores_of(model, audio[cut.offset : cut.offset + cut.samples])
            labels = labels_of(list(cut.words))
            # Development speakers are measured on all cuts: a choice would flatter the model that chose.
            fits = float(losses(scores, [labels])[0]) / len(labels) < args.worst
            if fits or cut.split != "train":
                kept.append(cut)
    with (args.work / "cuts.jsonl").open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(asdict(u)) + "\n" for u in kept)
    digits = [u for u in kept if u.words[0] in DIGITS and u.split == "train"]
    Console().print(
        f"{len(kept)} of {tried.total()} cuts kept, {len({u.words[0] for u in kept})} words; "
        f"{len(digits)} training digits by {len({u.speaker for u in digits})} voices"
    )


if __name__ == "__main__":
    main()
