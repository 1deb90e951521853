"""The language model of free speech: a bigram with absolute discounting, as acceptor arcs.

State 0 is the start of a sentence, state 1 the unigram state to which every other backs off.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

DISCOUNT = 0.6
END_COST = 1.0
"""A turn may end after any word."""


@dataclass(frozen=True)
class Arc:
    """One arc; ``word`` None is epsilon, ``target`` None makes ``source`` final."""

    source: int
    target: int | None
    word: str | None
    cost: float


def bigram(
    sentences: Iterable[list[str]],
    vocabulary: set[str],
    *,
    unknown: str,
    unknown_share: float,
    min_count: int = 2,
) -> list[Arc]:
    """Estimate a bigram.

    Args:
        sentences: Training text; words outside the vocabulary break a sentence in two.
        vocabulary: All words, each gets at least a small share.
        unknown: The word for everything else.
        unknown_share: Its share of the unigrams.
        min_count: Rarer pairs are left to the unigrams.
    """
    singles: Counter[str] = Counter(dict.fromkeys(vocabulary, 1))
    pairs: dict[str | None, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        before: str | None = None
        for word in sentence:
            if word not in vocabulary:
                before = unknown
                continue
            singles[word] += 1
            if before != unknown:
                pairs[before][word] += 1
            before = word
    total = sum(singles.values())
    cost = {word: -math.log((1 - unknown_share) * count / total) for word, count in singles.items()}
    cost[unknown] = -math.log(unknown_share)
    kept = {
        before: {word: count for word, count in followers.items() if count >= min_count}
        for before, followers in pairs.items()
    }
    states: dict[str | None, int] = {None: 0}
    for before in sorted(b for b, followers in kept.items() if b is not None and followers):
        states[before] = len(states) + 1
    arcs = []
    for before, state in states.items():
        followers = kept.get(before, {})
        count = max(1, sum(pairs[before].values()))
        given = 0.0
        for word, seen in followers.items():
            share = (seen - DISCOUNT) / count
            given += share
            arcs.append(Arc(state, states.get(word, 1), word, -math.log(share)))
        arcs.append(Arc(state, 1, None, -math.log(max(1e-3, 1 - given))))
        arcs.append(Arc(state, None, None, END_COST))
    arcs += [Arc(1, states.get(word, 1), word, c) for word, c in cost.items()]
    arcs.append(Arc(1, None, None, END_COST))
    # OpenFst's compiler takes the first state named as the start.
    return sorted(arcs, key=lambda arc: arc.source)
