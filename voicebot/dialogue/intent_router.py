"""Which of a menu's intents an utterance means, decided on this machine.

phrase of the plan ──yes──► that intent, certain
│ no
classifier: probability ≥ accept ──► that intent
≥ confirm ─► asked back, or left to the language model
below ─────► none
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from voicebot.dialogue.intent_classifier import IntentClassifier
from voicebot.dialogue.matching import Match, PhraseMatcher, words_of

CERTAIN = 0.9
DISAGREEMENT = 0.3
_JOINTS = re.compile(r"\b(?:and then|and also|and|then|also|plus)\b")


@dataclass(frozen=True, slots=True)
class Decision:
    """What an utterance means: ``intent`` None for nothing here.

    ``sure`` is False when it should be asked back. ``guess`` is the likeliest intent even where it is
    too unlikely to be one. ``further`` are more intents named in the same breath.
    """

    intent: str | None
    sure: bool
    score: float
    guess: str
    further: tuple[str, ...] = ()


class IntentRouter:
    """Decides for one menu.

    Args:
        examples: Utterances per intent, the globals among them.
        out_of_scope: Utterances that are none of them.
        accept: Probability from which an intent is taken.
        confirm: Probability from which it is asked back.
    """

    def __init__(
        self,
        examples: Mapping[str, Sequence[str]],
        *,
        out_of_scope: Sequence[str] = (),
        accept: float = 0.45,
        confirm: float = 0.2,
    ) -> None:
        self.matcher = PhraseMatcher(examples)
        self.examples = examples
        self._out_of_scope = out_of_scope
        self._accept = accept
        self._confirm = confirm

    @cached_property
    def classifier(self) -> IntentClassifier:
        """Trained when first asked for; ``warm`` does it before a caller waits."""
        texts = {i: [*e, i.replace("_", " ")] for i, e in self.examples.items()}
        return IntentClassifier(texts, out_of_scope=self._out_of_scope)

    def warm(self) -> None:
        """Train now."""
        self.classifier.route("")

    def decide(self, text: str) -> Decision:
        """The intent of a whole utterance, with further ones joined by "and"."""
        parts = [p for p in _JOINTS.split(" ".join(words_of(text))) if p.strip()]
        if len(parts) > 1:
            named = [self._one(p) for p in parts]
            sure = [d for d in named if d.intent is not None and d.sure]
            intents = tuple(dict.fromkeys(d.intent for d in sure if d.intent is not None))
            if len(intents) > 1:
                return Decision(intents[0], True, min(d.score for d in sure), intents[0], intents[1:])
        return self._one(text)

    def _one(self, text: str) -> Decision:
        match = self.matcher.best(text)
        if match is not None and match.score >= CERTAIN:
            return Decision(match.intent, True, match.score, match.intent)
        best = self._classified(text)
        if match is not None and match.intent == best.intent:
            return Decision(match.intent, True, max(match.score, best.score), match.intent)
        if match is not None and best.score < DISAGREEMENT:
            return Decision(match.intent, False, match.score, match.intent)
        if best.score >= self._accept:
            return Decision(best.intent, match is None, best.score, best.intent)
        if best.score >= self._confirm:
            return Decision(best.intent, False, best.score, best.intent)
        return Decision(None, False, best.score, best.intent)

    def _classified(self, text: str) -> Match:
        if not words_of(text):
            return Match("", 0.0)
        return self.classifier.route(text).best
