"""What was said against what was heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_test_harness.asr_recogniser import Heard

KEPT_SHARE: Final = 0.95
"""Share of the right answers that a confidence threshold must let pass."""


def edit_distance(said: Sequence[str], heard: Sequence[str]) -> int:
    """Return substitutions, deletions and insertions between two lists of words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


@dataclass
class Score:
    """Sums over the clips of one test in one condition."""

    clips: int = 0
    right: int = 0
    words: int = 0
    errors: int = 0
    slots: int = 0
    slots_found: int = 0
    cpu_ms: float = 0.0
    audio_ms: float = 0.0
    partial_late_ms: list[float] = field(default_factory=list)
    final_ms: list[float] = field(default_factory=list)
    groups: dict[str, list[bool]] = field(default_factory=dict)
    confidences: list[tuple[float, bool]] = field(default_factory=list)

    def add(
        self,
        heard: Heard,
        *,
        right: bool,
        errors: int = 0,
        words: int = 0,
        group: str = "",
        speech_end_ms: float | None = None,
    ) -> None:
        """Count one clip."""
        self.clips += 1
        self.right += right
        self.errors += errors
        self.words += words
        self.cpu_ms += heard.cpu_ms
        self.audio_ms += heard.audio_ms
        self.final_ms.append(heard.final_ms)
        self.confidences.append((heard.confidence, right))
        if group:
            self.groups.setdefault(group, []).append(right)
        if speech_end_ms is not None and heard.partials and heard.partials[-1][0] == heard.text:
            self.partial_late_ms.append(heard.partials[-1][1] - speech_end_ms)

    @property
    def accuracy(self) -> float:
        """Clips fully right, percent."""
        return 100 * self.right / max(1, self.clips)

    @property
    def word_error(self) -> float | None:
        """Word error, percent; None where no words are known."""
        return 100 * self.errors / self.words if self.words else None

    @property
    def slot_recall(self) -> float | None:
        """Slot values heard, percent; None where there are none."""
        return 100 * self.slots_found / self.slots if self.slots else None

    @property
    def real_time_factor(self) -> float:
        """Processor time over the length of the audio."""
        return self.cpu_ms / max(1.0, self.audio_ms)


@dataclass(frozen=True)
class FalseAccepts:
    """Words outside a grammar, at the threshold that lets 95 % of the right answers pass."""

    accepted: float
    """Percent of the strangers that pass."""
    threshold: float
    kept: float
    """Percent of the right answers that pass."""
    strangers: int


def false_accepts(right: Sequence[float], strangers: Sequence[float]) -> FalseAccepts:
    """Return how many strangers pass.

    Args:
        right: confidences of right answers.
        strangers: confidences of what was understood of words outside the grammar, 0 for nothing.
    """
    if not right or not strangers:
        return FalseAccepts(0.0, 0.0, 0.0, len(strangers))
    threshold = float(np.quantile(right, 1 - KEPT_SHARE))
    return FalseAccepts(
        accepted=100 * float(np.mean([c >= threshold and c > 0 for c in strangers])),
        threshold=threshold,
        kept=100 * float(np.mean([c >= threshold for c in right])),
        strangers=len(strangers),
    )


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers of about the same confidence."""

    confidence: float
    right: float
    answers: int


def reliability(confidences: Sequence[tuple[float, bool]], bins: int = 10) -> list[ReliabilityBin]:
    """Return mean confidence and share right for each tenth of the scale that has answers."""
    found = []
    for index in range(bins):
        inside = [(c, r) for c, r in confidences if min(int(c * bins), bins - 1) == index and c > 0]
        if inside:
            mean, share = np.mean([c for c, _ in inside]), np.mean([r for _, r in inside])
            found.append(ReliabilityBin(float(mean), float(share), len(inside)))
    return found


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean distance of confidence and share right, weighted by answers, 0 to 1."""
    total = sum(b.answers for b in bins)
    return sum(abs(b.confidence - b.right) * b.answers for b in bins) / max(1, total)
