"""Text as a sparse vector, seen in two ways; features are weighted by how telling they are.

    whole words: words, word pairs, pieces of single words
    across words: pieces of the whole sentence, short ones and long ones

Pieces of words make "cancelling" resemble "cancel" and forgive a recogniser's slips. Each way has
two halves, each of length 1; what the examples never showed counts for the length, so that an
utterance full of unknown words gets a short vector and therefore low scores.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

SHORTEST_PIECE, LONGEST_PIECE = 2, 5
SHORT_ACROSS, LONG_ACROSS = (2, 3, 4), (5, 6, 7)
MAX_WORDS = 60
_WORD = re.compile(r"[a-z0-9']+")


Halves = tuple[Counter[str], Counter[str]]
View = Callable[[str], Halves]


def split_words(text: str) -> list[str]:
    """The words of an utterance in lower case, at most `MAX_WORDS`."""
    return _WORD.findall(text.lower().replace("\u2019", "'"))[:MAX_WORDS]


def whole_words(text: str) -> Halves:
    """Counts of word features and of piece features."""
    words = split_words(text)
    padded = ["<", *words, ">"]
    whole: Counter[str] = Counter(words)
    whole.update(f"{a} {b}" for a, b in pairwise(padded))
    whole.update(f"{a} * {b}" for a, b in zip(words, words[2:], strict=False))
    pieces: Counter[str] = Counter()
    for word in words:
        around = f"_{word}_"
        for length in range(SHORTEST_PIECE, LONGEST_PIECE + 1):
            for start in range(len(around) - length + 1):
                pieces[around[start : start + length]] += 1
    return whole, pieces


def across_words(text: str) -> Halves:
    """Counts of short and of long pieces of the sentence, spaces included."""
    line = f"_{'_'.join(split_words(text))}_"
    short, long = (
        Counter(line[i : i + n] for n in lengths for i in range(len(line) - n + 1))
        for lengths in (SHORT_ACROSS, LONG_ACROSS)
    )
    return short, long


class FeatureSpace:
    """The features of a set of examples.

    Args:
        texts: The examples.
        view: How text is seen.
        least: Features of each half that are in fewer examples are dropped.
    """

    def __init__(
        self, texts: Sequence[str], view: View = whole_words, *, least: tuple[int, int] = (1, 1)
    ) -> None:
        self._view = view
        counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for text in texts:
            for half, found in enumerate(view(text)):
                counts[half].update(found.keys())
        self._unknown = math.log(1 + len(texts)) + 1
        self._index: tuple[dict[str, int], dict[str, int]] = ({}, {})
        weights: list[float] = []
        for half, enough in enumerate(least):
            for feature, count in counts[half].items():
                if count >= enough:
                    self._index[half][feature] = len(weights)
                    weights.append(math.log((1 + len(texts)) / (1 + count)) + 1)
        self._weights = weights

    @property
    def size(self) -> int:
        """Number of features."""
        return len(self._weights)

    def vector(self, text: str) -> tuple[list[int], list[float]]:
        """Indices and values of the features of ``text`` that are known."""
        indices: list[int] = []
        values: list[float] = []
        weights = self._weights
        for index, found in zip(self._index, self._view(text), strict=True):
            length = 0.0
            begin = len(values)
            for feature, count in found.items():
                place = index.get(feature)
                strength = 1.0 if count == 1 else 1.0 + math.log(count)
                if place is None:
                    value = strength * self._unknown
                else:
                    value = strength * weights[place]
                    indices.append(place)
                    values.append(value)
                length += value * value
            scale = 1.0 / math.sqrt(length) if length else 0.0
            for at in range(begin, len(values)):
                values[at] *= scale
        return indices, values

    def matrix(self, texts: Sequence[str]) -> Any:
        """One row per text, shape (n, size), float32."""
        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            indices, found = self.vector(text)
            rows += [row] * len(indices)
            columns += indices
            values += found
        data: NDArray[np.float32] = np.asarray(values, dtype=np.float32)
        return csr_matrix((data, (rows, columns)), shape=(len(texts), self.size), dtype=np.float32)
