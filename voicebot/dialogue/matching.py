"""Words to intents without a model: exact phrases, phrases inside the utterance, weighted overlap.

Takes tens of microseconds; good for the few, distinct answers of one menu.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from voicebot.asr.spoken import NO, YES

_WORD = re.compile(r"[a-z0-9']+")
_FILLERS = frozenset(
    [
        *("um", "uh", "er", "erm", "hmm", "ah", "oh", "well", "so", "please", "thanks", "thank"),
        *("hi", "hello", "hey", "okay", "ok", "right", "just", "actually", "then"),
    ]
)
_STOP = frozenset(
    [
        *("i", "i'd", "i'm", "i've", "me", "my", "you", "your", "we", "it", "its", "it's", "a", "an"),
        *("the", "to", "of", "for", "on", "in", "is", "are", "am", "be", "do", "does", "can", "could"),
        *("would", "will", "like", "want", "need", "have", "has", "got", "get", "and", "or", "that"),
        *("this", "with", "at", "what", "what's", "how", "much", "there", "about", "some", "wanna"),
    ]
)


def words_of(text: str) -> list[str]:
    """Lower-case words; apostrophes stay, other signs go."""
    return _WORD.findall(text.lower().replace("\u2019", "'").replace("-", " "))


def normalise(text: str) -> str:
    """The utterance without fillers and politeness, unless nothing else is left."""
    words = words_of(text)
    return " ".join([w for w in words if w not in _FILLERS] or words)


@dataclass(frozen=True, slots=True)
class Match:
    """An intent and how sure: 1 is the very phrase, below 0.5 is none."""

    intent: str
    score: float


class PhraseMatcher:
    """Finds the intent whose examples an utterance resembles.

    Args:
        examples: Phrases per intent; the intent's own name counts as one.
    """

    def __init__(self, examples: Mapping[str, Iterable[str]]) -> None:
        self.phrases: dict[str, str] = {}
        self._tokens: dict[str, list[frozenset[str]]] = {}
        counts: Counter[str] = Counter()
        for intent, texts in examples.items():
            sets = []
            for text in dict.fromkeys([*texts, intent.replace("_", " ")]):
                phrase = normalise(text)
                self.phrases.setdefault(phrase, intent)
                sets.append(frozenset(phrase.split()))
            self._tokens[intent] = sets
            counts.update(frozenset().union(*sets))
        total = max(1, len(self._tokens))
        self._weight = {
            word: (0.15 if word in _STOP else 1.0) * (math.log((1 + total) / n) + 0.3)
            for word, n in counts.items()
        }

    def label(self, intent: str) -> str:
        """The intent's first example, for asking back."""
        return next((p for p, i in self.phrases.items() if i == intent), intent.replace("_", " "))

    def rank(self, text: str) -> list[Match]:
        """Every intent with a score above 0, best first; equal scores in the plan's order."""
        said = normalise(text)
        exact = self.phrases.get(said)
        words = frozenset(said.split())
        scores: dict[str, float] = {}
        for intent, sets in self._tokens.items():
            scores[intent] = max((self._overlap(words, tokens) for tokens in sets), default=0.0)
        padded = f" {said} "
        inside = [(len(p.split()), p, i) for p, i in self.phrases.items() if p and f" {p} " in padded]
        for length, phrase, intent in inside:
            # a phrase inside a longer one of another intent does not count ("card" in "block my card")
            if not any(f" {phrase} " in f" {p} " and n > length and i != intent for n, p, i in inside):
                scores[intent] = max(scores[intent], 0.9)
        if exact is not None:
            scores[exact] = 1.0
        ranked = [Match(i, s) for i, s in scores.items() if s > 0]
        return sorted(ranked, key=lambda m: -m.score)

    def best(self, text: str) -> Match | None:
        """The intent, if one is clearly ahead and at least half sure."""
        ranked = self.rank(text)
        if not ranked or ranked[0].score < 0.5:
            return None
        if len(ranked) > 1 and ranked[0].score < 1 and ranked[0].score - ranked[1].score < 0.05:
            return None
        return ranked[0]

    def _overlap(self, words: frozenset[str], tokens: frozenset[str]) -> float:
        common = words & tokens
        content = [w for w in common if w not in _STOP]
        if not content:
            return 0.0
        shared = sum(self._weight[w] for w in common)
        wanted = sum(self._weight[w] for w in tokens)
        said = sum(self._weight.get(w, 0.05 if w in _STOP else 0.5) for w in words)
        return 0.89 * (0.6 * shared / wanted + 0.4 * shared / max(said, shared))


YES_PHRASES = (*YES, "yes please")
NO_PHRASES = (*NO, "nothing else", "that's all", "that is all")
