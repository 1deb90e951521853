"""Wrong readings of an example, for learning to tell words apart.

CTC raises the likelihood of what was said; callers suffer from what else was nearly as likely. For
every example of few words RIVALS other readings are drawn - a word replaced (by a similar one as often
as by any), dropped or added, or one phone changed - and ``train`` also raises the share of the right
reading among them, as in training by maximum mutual information.
"""

import itertools
from functools import cache

import numpy as np

from training.lexicon import DIGITS, PHONE_INDEX, PHONES, Pronunciation, lexicon
from training.texts import MONTHS, SHORT_WORDS, TEENS, TENS, WEEKDAYS

RIVALS = 16
MOST_WORDS = 8
NEIGHBOURS = 20
RIVAL_WORDS = sorted({*SHORT_WORDS, *DIGITS, "oh", *TEENS, *TENS, *MONTHS, *WEEKDAYS})


def needed_outputs(labels: list[int]) -> int:
    """The fewest network outputs that can spell the labels: equal neighbours need a blank between."""
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels)) + 1


def distance(one: Pronunciation, other: Pronunciation) -> int:
    """Levenshtein distance in phones."""
    row = list(range(len(other) + 1))
    for i, phone in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, second in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (phone != second))
    return row[-1]


@cache
def neighbours(word: str) -> list[str]:
    """The rival words that sound most like a word, its homophones left out."""
    form = lexicon()[word][0]
    near = [(distance(form, lexicon()[other][0]), other) for other in RIVAL_WORDS]
    return [other for _, other in sorted(near)[:NEIGHBOURS] if not homophones(word, other)]


@cache
def homophones(one: str, other: str) -> bool:
    """Whether two words share a pronunciation."""
    return bool({*lexicon()[one]} & {*lexicon()[other]})


class RivalWords:
    """Draws rivals.

    Args:
        rng: Source of randomness.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def draw(self, said: list[str], outputs: int) -> list[list[int]]:
        """RIVALS wrong readings that fit into ``outputs``, or none for long utterances."""
        if not 1 <= len(said) <= MOST_WORDS:
            return []
        found: list[list[int]] = []
        for _ in range(3 * RIVALS):
            labels = self._one(said)
            if labels and needed_outputs(labels) < outputs:
                found.append(labels)
            if len(found) == RIVALS:
                return found
        return []

    def _word(self, instead: str) -> str:
        pool = [DIGITS, neighbours(instead), RIVAL_WORDS][int(self.rng.choice(3, p=[0.35, 0.4, 0.25]))]
        return pool[int(self.rng.integers(len(pool)))]

    def _one(self, said: list[str]) -> list[int]:
        """One other reading; empty when the draw gave the same again."""
        rng, words = self.rng, list(said)
        place, kind = int(rng.integers(len(words))), rng.random()
        if kind < 0.1:
            phones = [p for word in words for p in lexicon()[word][0]]
            phones[int(rng.integers(len(phones)))] = PHONES[int(rng.integers(len(PHONES)))]
            same = phones == [p for word in words for p in lexicon()[word][0]]
            return [] if same else [PHONE_INDEX[p] for p in phones]
        if kind < 0.2 and len(words) > 1:
            del words[place]
        elif kind < 0.3:
            words.insert(place, self._word(words[place]))
        else:
            other = self._word(words[place])
            if homophones(words[place], other):
                return []
            words[place] = other
        forms = [lexicon()[word] for word in words]
        return [PHONE_INDEX[p] for form in forms for p in form[int(rng.integers(len(form)))]]
