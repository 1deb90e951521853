"""From what the engine believes to how often it is right.

The engine's confidence is the share of its few surviving readings: near 1 far too often. A logistic
map over five features of the final hypothesis gives the probability that the whole answer is right,
one map for each kind of grammar, fitted on development speakers by ``python -m training.calibrate``
and kept beside the model as ``confidence.json``. A map made for another model is left aside.
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
        kinds: By kind of grammar; `ANY_KIND` for all others.
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
        return round(chosen.probability(features), 4)


def features_of(words: Sequence[Word], margin: float | None = None) -> Features | None:
    """The features of a final hypothesis; None when no word of it is known."""
    known = [word for word in words if word.word != UNKNOWN_WORD]
    if not known:
        return None
    least = min(max(_CLIP, min(1 - _CLIP, word.confidence)) for word in known)
    hasty_ms = min((w.end_ms - w.start_ms) / max(1, len(w.word)) for w in known)
    return Features(
        least_confidence=math.log(least / (1 - least)),
        ms_per_letter=math.log(max(_LEAST_MS, hasty_ms) / _MS_PER_LETTER),
        words=math.log(len(known)),
        unknown=float(len(known) < len(words)),
        margin=max(-_MOST_MARGIN, min(_MOST_MARGIN, (margin or 0.0) / len(known))),
    )


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
