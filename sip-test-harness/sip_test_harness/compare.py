"""Comparison of two runs of the same calls, and thresholds for a CI."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sip_test_harness.errors import UsageError
from sip_test_harness.judgement import stage_costs, summary_of
from sip_test_harness.qa_row import QaRow

if TYPE_CHECKING:
    from collections.abc import Mapping

FIGURES: Final = tuple(summary_of([]))
"""The names that a threshold can use."""
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_THRESHOLD: Final = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([+-]?)(\d+(?:\.\d+)?)(%?)\s*")


@dataclass(frozen=True)
class Threshold:
    """A condition that fails a run.

    ``onset_p95_ms>450`` is absolute; with a sign (``onset_p95_ms>+50``, ``task_success<-0.02``)
    or ``%`` (``onset_p95_ms>+10%``) it is relative to the baseline.
    """

    figure: str
    comparison: str
    value: float
    relative: bool
    percent: bool
    text: str

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read a threshold.

        Raises:
            UsageError: not a condition, or an unknown figure.
        """
        found = _THRESHOLD.fullmatch(text)
        if not found:
            raise UsageError(f"--fail-on {text!r}: 'figure>number' expected, as onset_p95_ms>450")
        figure, comparison, sign, number, percent = found.groups()
        if figure not in FIGURES:
            raise UsageError(f"--fail-on {text!r}: unknown figure; known are {', '.join(FIGURES)}")
        value = float(number) * (-1 if sign == "-" else 1)
        return cls(figure, comparison, value, bool(sign or percent), bool(percent), text)

    def failure(self, summary: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> str | None:
        """Return a sentence when the condition holds, else None."""
        value = summary[self.figure]
        if value is None:
            return f"{self.text}: {self.figure} was not measured"
        limit = self.value
        if self.relative:
            base = baseline[self.figure] if baseline else None
            if base is None:
                return f"{self.text}: the baseline has no {self.figure}"
            limit = base + (abs(base) * self.value / 100 if self.percent else self.value)
        if _OPERATORS[self.comparison](value, limit):
            return f"{self.text}: {self.figure} is {value:g}, the limit is {limit:g}"
        return None


@dataclass(frozen=True)
class RowChange:
    """The same call in both runs, where something differs."""

    name: str
    label: str
    differences: tuple[str, ...]
    transcript_diff: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    figures: tuple[tuple[str, Any, Any], ...]
    stages: tuple[tuple[str, float | None, float | None], ...]
    changes: tuple[RowChange, ...]
    only_baseline: int
    only_new: int


def transcript_lines(row: QaRow) -> list[str]:
    """Return the transcript as lines, one for each thing said."""
    return [f"{line.get('who', '')}: {line.get('text', '')}" for line in row.transcript]


def compare(baseline: Sequence[QaRow], rows: Sequence[QaRow]) -> Comparison:
    """Compare two runs by call, cell and seed."""
    old = {row.key: row for row in baseline}
    new = {row.key: row for row in rows}
    common = [key for key in new if key in old]
    before = summary_of([old[key] for key in common])
    after = summary_of([new[key] for key in common])
    costs, costs_before = (
        stage_costs([new[key] for key in common]),
        stage_costs([old[key] for key in common]),
    )
    changes = [change for key in common if (change := _changed(old[key], new[key])) is not None]
    return Comparison(
        figures=tuple((name, before[name], after[name]) for name in FIGURES),
        stages=tuple(
            (name, costs_before.get(name), costs.get(name)) for name in sorted({*costs_before, *costs})
        ),
        changes=tuple(changes),
        only_baseline=len(old) - len(common),
        only_new=len(new) - len(common),
    )


def _changed(old: QaRow, new: QaRow) -> RowChange | None:
    differences: list[str] = []
    if old.course != new.course:
        differences.append(f"course: {' / '.join(old.course)} -> {' / '.join(new.course)}")
    if bool(old.failures) != bool(new.failures):
        differences.append(f"failures: {old.failures} -> {new.failures}")
    if old.ended_by != new.ended_by:
        differences.append(f"ended by: {old.ended_by} -> {new.ended_by}")
    if old.unanswered != new.unanswered:
        differences.append(f"unanswered turns: {old.unanswered} -> {new.unanswered}")
    diff = [
        line
        for line in difflib.unified_diff(
            transcript_lines(old), transcript_lines(new), "baseline", "new", lineterm="", n=1
        )
        if not line.startswith(("---", "+++"))
    ]
    if not differences and not diff:
        return None
    cell = new.cell
    label = (
        f"loss {cell['loss_percent']:g} %, burst {cell['mean_burst_packets']:g}, "
        f"jitter {cell['jitter_ms']:g} ms, seed {new.seed}"
    )
    return RowChange(new.name, label, tuple(differences), tuple(diff))
