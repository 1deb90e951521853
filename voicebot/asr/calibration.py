"""From what the engine believes to how often it is right.

The engine's confidence is the share of its few surviving readings: near 1 far too often. A logistic
map over five features of the final hypothesis gives the probability that the whole answer is right,
one map for each kind of grammar, fitted on development speakers by ``python -m training.calibrate``
and kept beside the model as ``confidence.json``. A map made for another model is left aside.

A string of digits is right when each of them is: where a kind has a map for strings, an answer of two
words and more has the product of what that map says of each word. (One map with the number of words as
a feature learns how long strings fare with the few people who say them, and doubts everybody's.)
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from voicebot.asr.protocol import UNKNOWN_WORD, Word
from voicebot.core.errors import ConfigError

FILE_NAME: Final = "confidence.json"
STRING_OF: Final = "string of "
"""Before the kind: its map for each word of two and more."""

ANY_KIND: Final = ""
"""The map for kinds that have none of their own, fitted on all."""

_CLIP: Final = 0.02  # beyond, the few readings that survive the search say nothing more
_MS_PER_LETTER: Final = 60.0  # of ordinary speech, so that the feature is near 0
_LEAST_MS: Final = 10.0
_MOST_MARGIN: Final = 8.0  # nats for each word


class Features(msgspec.Struct, frozen=True):
    """What the map looks at; all are near 0 for an ordinary, surely heard word.

    Attributes:
        least_confidence: Log-odds of the least sure word, -3.9 to 3.9.
        ms_per_letter: Log of the hastiest word's time for each of its letters over 60 ms.
        words: Log of the number of words.
        unknown: 1 when something was heard that fits no word, else 0.
        margin: Log-likelihood for each word above that of no word (`voicebot.asr.filler`), -8 to 8.
    """

    least_confidence: float
    ms_per_letter: float
    words: float
    unknown: float
    margin: float = 0.0


class LogisticMap(msgspec.Struct, frozen=True):
    """Weights of the features, and the bias."""

    bias: float
    least_confidence: float
    ms_per_letter: float
    words: float
    unknown: float
    margin: float = 0.0

    def probability(self, features: Features) -> float:
        """0 to 1."""
        odds = self.bias + sum(
            getattr(self, name) * getattr(features, name) for name in features.__struct_fields__
        )
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """The file ``confidence.json``.

    Attributes:
        model: `model_fingerprint` of the model that the maps were fitted for.
        fitted: How: command, day, number of answers.
        kinds: By kind of grammar; `ANY_KIND` for all others; `STRING_OF` and a kind: for each word of
            several.
    """

    model: str
    fitted: str
    kinds: Mapping[str, LogisticMap]

    @property
    def needs_margin(self) -> bool:
        """Whether a map looks at the margin, so that it has to be measured."""
        return any(found.margin for found in self.kinds.values())

    def confidence(self, kind: str, words: Sequence[Word], margin: float | None = None) -> float:
        """Probability that the answer is right, 0 to 1; 0.0 when no word was understood.

        Args:
            kind: Of the grammar.
            words: The final hypothesis.
            margin: As `Hypothesis.margin`.
        """
        features = features_of(words, margin)
        chosen = self.kinds.get(kind) or self.kinds.get(ANY_KIND)
        if features is None or chosen is None:
            return 0.0 if features is None else raw_confidence(words)
        each = self.kinds.get(STRING_OF + kind)
        if each is not None and len(parts := features_of_each(words, margin)) > 1:
            return round(math.prod(each.probability(part) for part in parts), 4)
        return round(chosen.probability(features), 4)


def features_of(words: Sequence[Word], margin: float | None = None) -> Features | None:
    """The features of a final hypothesis; None when no word of it is known."""
    each = features_of_each(words, margin)
    if not each:
        return None
    return Features(
        least_confidence=min(one.least_confidence for one in each),
        ms_per_letter=min(one.ms_per_letter for one in each),
        words=math.log(len(each)),
        unknown=float(len(each) < len(words)),
        margin=each[0].margin,
    )


def features_of_each(words: Sequence[Word], margin: float | None = None) -> list[Features]:
    """The features of each known word; margin and what was unknown are shared among them."""
    known = [word for word in words if word.word != UNKNOWN_WORD]
    margin = max(-_MOST_MARGIN, min(_MOST_MARGIN, (margin or 0.0) / max(1, len(known))))
    return [
        Features(
            least_confidence=_log_odds(word.confidence),
            ms_per_letter=math.log(max(_LEAST_MS, _ms_per_letter(word)) / _MS_PER_LETTER),
            words=0.0,
            unknown=(len(words) - len(known)) / len(known),
            margin=margin,
        )
        for word in known
    ]


def _log_odds(confidence: float) -> float:
    clipped = max(_CLIP, min(1 - _CLIP, confidence))
    return math.log(clipped / (1 - clipped))


def _ms_per_letter(word: Word) -> float:
    return (word.end_ms - word.start_ms) / max(1, len(word.word))


def raw_confidence(words: Sequence[Word]) -> float:
    """Mean over the words, where ``[unk]`` counts as 0; 0.0 for no words."""
    return round(sum(word.confidence for word in words) / len(words), 4) if words else 0.0


def model_fingerprint(model_file: Path) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of ``final.mdl``."""
    return hashlib.sha256(model_file.read_bytes()).hexdigest()[:16]


def read_calibration(directory: Path, model_file: Path) -> Calibration | None:
    """The maps of a model directory; None when it has none, or they are another model's.

    Raises:
        ConfigError: The file cannot be read.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        return None
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path} is no calibration ({error}); make it again with 'python -m training.calibrate', or "
            "delete it",
            key="asr.model_path",
        ) from error
    return found if found.model == model_fingerprint(model_file) else None


def write_calibration(directory: Path, calibration: Calibration) -> None:
    """Write the maps beside the model."""
    text = json.dumps(msgspec.to_builtins(calibration), indent=1)
    (directory / FILE_NAME).write_text(f"{text}\n", encoding="utf-8")
