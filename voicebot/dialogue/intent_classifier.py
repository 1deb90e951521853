"""Utterance to intent, trained when a plan is loaded, from the plan's own examples.

    sparse features ─┬► hidden units (ReLU) ─┬► one score per intent ─┐
                     └──── straight on ──────┘                        ├─► mean ─► softmax
    each other view of the text, a network of its own ────────────────┘
                                                  and one more for "none of these"

Training is plain Adam on cross-entropy with dropout; seeded, so that the same plan gives the same
classifier. Answering takes well under a millisecond.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicebot.dialogue.background import BACKGROUND
from voicebot.dialogue.intent_features import FeatureSpace, across_words, whole_words
from voicebot.dialogue.intent_meanings import meanings, meanings_together
from voicebot.dialogue.matching import Match

FloatArray = NDArray[np.float32]

HIDDEN, HIDDEN_SMALL = 256, 64
LEARNING_RATE = 4e-3
DROP_HIDDEN = 0.5
DROP_FEATURES, DROP_FEATURES_LARGE = 0.3, 0.2
DROP_WORDS = 0.1
VARIANTS = 5  # shortened versions of the examples, one per epoch in turn
SMOOTHING, SMOOTHING_LARGE = 0.1, 0.05
BATCH = 256
MIN_STEPS = 150
MIN_EPOCHS, MAX_EPOCHS = 15, 60
MANY = 40  # intents: from here on the wider network
LARGE = 2000  # examples: from here on features that occur once are noise
COMMON = (2, 3)  # so many examples must have a feature then
VIEWS = (whole_words, meanings_together, meanings, across_words)
FEW_VIEWS = 3
"""With few examples: the last view brings little there and takes longest to train."""


NONE = ""
"""The class of what is no intent of the plan."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The intents by probability; what is left to 1 is the probability that it is none of them."""

    ranked: tuple[Match, ...]

    @property
    def best(self) -> Match:
        """The likeliest intent."""
        return self.ranked[0]


class IntentClassifier:
    """A classifier for one set of intents.

    Args:
        examples: Utterances per intent.
        out_of_scope: Utterances that are none of them, beside the general ones of ``background``.
        members: Networks whose scores are averaged; they see the text in the four ways in turn. None
            chooses by the number of examples.
        epochs: Passes over the examples; None chooses by their number.
        seed: Same seed and examples, same classifier.
    """

    def __init__(
        self,
        examples: Mapping[str, Sequence[str]],
        *,
        out_of_scope: Sequence[str] = (),
        members: int | None = None,
        epochs: int | None = None,
        seed: int = 1,
    ) -> None:
        groups = {**examples, NONE: (*BACKGROUND, *out_of_scope)}
        self.intents = tuple(groups)
        texts = [text for group in groups.values() for text in group]
        labels = np.array([n for n, group in enumerate(groups.values()) for _ in group])
        large = len(texts) >= LARGE
        if members is None:
            members = len(VIEWS) if large else FEW_VIEWS
        self._spaces = tuple(
            FeatureSpace(texts, view, least=COMMON if large else (1, 1)) for view in VIEWS[:members]
        )
        rng = np.random.default_rng(seed)
        versions = [_shortened(texts, rng) for _ in range(VARIANTS)] if large else [texts]
        variants = [[space.matrix(version) for version in versions] for space in self._spaces]
        if epochs is None:
            per_epoch = math.ceil(len(texts) / min(BATCH, max(16, len(texts) // 4)))
            epochs = min(MAX_EPOCHS, max(MIN_EPOCHS, math.ceil(MIN_STEPS / per_epoch)))
        self._members = [
            _train(
                variants[number % len(VIEWS)],
                labels,
                len(self.intents),
                epochs=epochs,
                seed=seed + number,
            )
            for number in range(members)
        ]

    def route(self, text: str) -> Routed:
        """Every intent with its probability, best first."""
        scores = self.scores(text)
        shifted = np.exp(scores - scores.max())
        shares = shifted / shifted.sum()
        order = np.argsort(-shares)
        return Routed(
            tuple(Match(self.intents[n], float(shares[n])) for n in order if self.intents[n] != NONE)
        )

    def scores(self, text: str) -> FloatArray:
        """One score per intent and one for none, shape (intents + 1,), before softmax."""
        seen = [
            (indices, np.asarray(values, dtype=np.float32))
            for indices, values in (space.vector(text) for space in self._spaces)
        ]
        total = np.zeros(len(self.intents), np.float32)
        for number, (into, hidden_bias, out, bias, straight) in enumerate(self._members):
            indices, strengths = seen[number % len(VIEWS)]
            hidden = strengths @ into[indices] + hidden_bias if indices else hidden_bias
            total += np.maximum(hidden, 0) @ out + bias
            if indices:
                total += strengths @ straight[indices]
        return total / np.float32(len(self._members))


def _shortened(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The texts, each word left out with some probability: callers never say the example itself."""
    return [
        " ".join([w for w in text.split() if rng.random() >= DROP_WORDS] or text.split())
        for text in texts
    ]


def _train(
    variants: Sequence[Any], labels: NDArray[np.int64], intents: int, *, epochs: int, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """The weights: into the hidden layer, its bias, out of it, the intents' bias, straight on."""
    rng = np.random.default_rng(seed)
    examples, features = variants[0].shape
    large = examples >= LARGE
    drop_features = DROP_FEATURES_LARGE if large else DROP_FEATURES
    smoothing = SMOOTHING_LARGE if large else SMOOTHING
    batch = min(BATCH, max(16, examples // 4))
    width = HIDDEN if intents > MANY else HIDDEN_SMALL
    into = (rng.standard_normal((features, width)) * 0.1).astype(np.float32)
    out = (rng.standard_normal((width, intents)) / math.sqrt(width)).astype(np.float32)
    hidden_bias, bias = np.zeros(width, np.float32), np.zeros(intents, np.float32)
    straight = np.zeros((features, intents), np.float32)
    moments = [np.zeros_like(w) for w in (into, into, out, out, straight, straight)]
    steps = epochs * math.ceil(examples / batch)
    step = 0
    for epoch in range(epochs):
        inputs = variants[epoch % len(variants)]
        order = rng.permutation(examples)
        for start in range(0, examples, batch):
            rate = LEARNING_RATE * (1 - step / (steps + 1))
            step += 1
            chosen = order[start : start + batch]
            part = inputs[chosen]
            kept = rng.random(part.data.shape) > drop_features
            part.data = part.data * kept / np.float32(1 - drop_features)
            before = part @ into + hidden_bias
            mask = ((rng.random(before.shape) > DROP_HIDDEN) / (1 - DROP_HIDDEN)).astype(np.float32)
            hidden = np.maximum(before, 0) * mask
            scores = hidden @ out + bias + part @ straight
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            shares -= smoothing / intents
            shares[np.arange(len(chosen)), labels[chosen]] -= 1 - smoothing
            shares /= len(chosen)
            back = (shares @ out.T) * mask * (before > 0)
            rows = np.unique(part.indices)  # only features of this batch move
            _adam(into, part[:, rows].T @ back, rows, moments[:2], rate)
            _adam(straight, part[:, rows].T @ shares, rows, moments[4:], rate / 2)
            _adam(out, hidden.T @ shares, slice(None), moments[2:4], rate)
            bias -= rate * shares.sum(axis=0)
            hidden_bias -= rate * back.sum(axis=0)
    return into, hidden_bias, out, bias, straight


def _adam(weights: FloatArray, gradient: Any, rows: Any, moments: list[FloatArray], rate: float) -> None:
    first, second = moments
    first[rows] = 0.9 * first[rows] + 0.1 * gradient
    second[rows] = 0.99 * second[rows] + 0.01 * gradient * gradient
    weights[rows] -= rate * first[rows] / (np.sqrt(second[rows]) + 1e-8)
