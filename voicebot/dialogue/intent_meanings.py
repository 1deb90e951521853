"""Text seen by what its words mean: stems, and the groups of ``word_classes`` that they belong to.

    "could you freeze my debit card"
      stems    can you freeze my debit card
      groups   can_i          block    card card

Two sentences without a common word thus have features in common. ``meanings_together`` also says which
groups meet in one sentence; ``meanings`` alone is less easily misled where examples are few.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import combinations, pairwise

from voicebot.dialogue.intent_features import Halves, split_words
from voicebot.dialogue.word_classes import WORD_CLASSES
from voicebot.dialogue.word_stems import stem

MAX_TOGETHER = 24  # groups of one sentence whose pairs are counted: 276 pairs
_SHORT_FORMS = {
    "what's": "what is", "i'm": "i am", "don't": "do not", "can't": "can not", "it's": "it is",
    "i'd": "i would", "i'll": "i will", "i've": "i have", "how's": "how is", "where's": "where is",
    "when's": "when is",
    "that's": "that is", "who's": "who is", "won't": "will not", "isn't": "is not", "didn't": "did not",
    "doesn't": "does not", "you're": "you are", "cannot": "can not", "wouldn't": "would not",
    "couldn't": "could not", "haven't": "have not", "hasn't": "has not", "let's": "let us",
}  # fmt: skip


def meanings(text: str) -> Halves:
    """Counts of stems, and of groups."""
    words = _spelled_out(text)
    groups: Counter[str] = Counter()
    for found in _groups(words):
        groups.update(f"={group}" for group in found)
    return Counter(_stems(words)), groups


def meanings_together(text: str) -> Halves:
    """Counts of stems and neighbouring stems, and of groups and pairs of groups in one sentence."""
    words = _spelled_out(text)
    stems = _stems(words)
    near: Counter[str] = Counter(stems)
    near.update(f"{a} {b}" for a, b in pairwise(["<", *stems, ">"]))
    groups: Counter[str] = Counter()
    met: dict[str, None] = {}
    for found in _groups(words):
        groups.update(f"={group}" for group in found)
        met.update(dict.fromkeys(found))
    groups.update(f"{a}&{b}" for a, b in combinations(sorted(list(met)[:MAX_TOGETHER]), 2))
    return near, groups


def _spelled_out(text: str) -> list[str]:
    return [part for word in split_words(text) for part in _SHORT_FORMS.get(word, word).split()]


def _stems(words: Sequence[str]) -> list[str]:
    return [f"#{len(word)}" if word.isdigit() else stem(word) for word in words]


def _groups(words: Sequence[str]) -> list[tuple[str, ...]]:
    """For each word the groups of it and of the phrases that begin with it."""
    single, phrases, longest = _table()
    found = []
    for at, word in enumerate(words):
        groups = single.get(word) or single.get(stem(word), ())
        for length in range(2, longest.get(word, 1) + 1):
            groups += phrases.get(tuple(words[at : at + length]), ())
        found.append(groups)
    return found


Groups = tuple[str, ...]


@cache
def _table() -> tuple[dict[str, Groups], dict[tuple[str, ...], Groups], dict[str, int]]:
    """Groups by word, groups by phrase, and the length of the longest phrase by its first word."""
    single: dict[str, Groups] = {}
    phrases: dict[tuple[str, ...], Groups] = {}
    longest: dict[str, int] = {}
    for group, members in WORD_CLASSES.items():
        for member in members.split():
            words = tuple(_spelled_out(member.replace("_", " ")))
            if len(words) == 1:
                for form in {words[0], stem(words[0])}:
                    if group not in single.get(form, ()):
                        single[form] = (*single.get(form, ()), group)
            else:
                phrases[words] = (*phrases.get(words, ()), group)
                longest[words[0]] = max(len(words), longest.get(words[0], 1))
    return single, phrases, longest
