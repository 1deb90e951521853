"""The measurement of a recogniser as a table, as JSON and as plots."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from sip_test_harness.asr_condition import CONDITIONS
from sip_test_harness.asr_score import ReliabilityBin, Score, calibration_error, reliability
from sip_test_harness.svg_chart import Series, line_chart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sip_test_harness.asr_run import Measured

_STRANGERS = frozenset({"strangers"})  # judged by what passes a threshold, not by what is right


def figure_of(score: Score) -> tuple[str, float]:
    """Return the name and the value of the figure that a test is judged by."""
    if score.slot_recall is not None:
        return "slot recall", score.slot_recall
    if score.word_error is not None and score.words > score.clips:
        return "word error", score.word_error
    return "right", score.accuracy


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 1) if values else None


def _cell(score: Score) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 2)

    return {
        "clips": score.clips,
        "right_percent": rounded(score.accuracy),
        "word_error_percent": rounded(score.word_error),
        "slot_recall_percent": rounded(score.slot_recall),
        "real_time_factor": round(score.real_time_factor, 4),
        "last_partial_after_speech_ms_p50": _percentile(score.partial_late_ms, 50),
        "last_partial_after_speech_ms_p95": _percentile(score.partial_late_ms, 95),
        "final_after_commit_cpu_ms_p50": _percentile(score.final_ms, 50),
        "final_after_commit_cpu_ms_p95": _percentile(score.final_ms, 95),
        "groups": {
            group: {"clips": len(right), "right_percent": round(100 * float(np.mean(right)), 2)}
            for group, right in sorted(score.groups.items())
        },
    }


def all_reliability(measured: Measured) -> list[ReliabilityBin]:
    """Return confidence against share right over all tests with a grammar and conditions."""
    pairs = [
        pair
        for test, row in measured.scores.items()
        if test != "free"
        for score in row.values()
        for pair in score.confidences
    ]
    return reliability(pairs)


def as_json(measured: Measured, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that was measured."""
    bins = all_reliability(measured)
    return {
        **about,
        "engine": measured.engine,
        "tests": {
            test: {condition: _cell(score) for condition, score in row.items()}
            for test, row in measured.scores.items()
        },
        "strangers_accepted": {c: asdict(found) for c, found in measured.strangers.items()},
        "reliability": [asdict(b) for b in bins],
        "calibration_error": round(calibration_error(bins), 4),
    }


def rows(measured: Measured) -> tuple[list[str], list[list[str]]]:
    """Return the headings and a row for each test: its figure in each condition, in percent."""
    conditions = list(dict.fromkeys(c for row in measured.scores.values() for c in row))
    found = []
    for test, row in measured.scores.items():
        first = next(iter(row.values()))
        if test in _STRANGERS:
            passed = [f"{measured.strangers[c].accepted:.0f}" for c in conditions]
            strangers = measured.strangers[conditions[0]].strangers
            found.append([f"{test}, accepted %", str(strangers), *passed])
        else:
            values = [f"{figure_of(row[c])[1]:.1f}" for c in conditions]
            found.append([f"{test}, {figure_of(first)[0]} %", str(first.clips), *values])
    factors = []
    for condition in conditions:
        scores = [row[condition] for row in measured.scores.values()]
        factors.append(f"{sum(s.cpu_ms for s in scores) / max(1, sum(s.audio_ms for s in scores)):.3f}")
    found.append(["real-time factor", "", *factors])
    return ["test", "n", *conditions], found


def table(measured: Measured) -> Table:
    """Return a table for the terminal: a line for each test, a column for each condition."""
    headings, lines = rows(measured)
    shown = Table(title=measured.engine)
    for index, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if index else "left")
    for line in lines:
        shown.add_row(*line)
    return shown


def markdown(measured: Measured) -> str:
    """Return the same table for a document."""
    headings, lines = rows(measured)
    ruled = [headings, ["---", *("--:" for _ in headings[1:])], *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in ruled)


def timing_table(measured: Measured) -> Table:
    """Return delays and speaker groups of the telephone without loss (or the first condition)."""
    shown = Table(title="delays and groups of speakers")
    for heading in ("test", "condition", "last partial after speech, p50 / p95 ms",
                    "final after commit, CPU p50 / p95 ms", "groups: right, %"):  # fmt: skip
        shown.add_column(heading)
    for test, row in measured.scores.items():
        condition = "phone" if "phone" in row else next(iter(row))
        cell = _cell(row[condition])
        groups = [f"{g} {v['right_percent']:.1f} (n={v['clips']})" for g, v in cell["groups"].items()]
        shown.add_row(
            test,
            condition,
            f"{cell['last_partial_after_speech_ms_p50']} / {cell['last_partial_after_speech_ms_p95']}",
            f"{cell['final_after_commit_cpu_ms_p50']} / {cell['final_after_commit_cpu_ms_p95']}",
            ", ".join(groups),
        )
    return shown


def write(folder: Path, measured: Measured, about: Mapping[str, Any]) -> list[Path]:
    """Write ``asr.json``, ``asr.md`` and plots of loss, noise and reliability; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "asr.json": json.dumps(as_json(measured, about), indent=1) + "\n",
        "asr.md": markdown(measured),
        "asr-loss.svg": _loss_chart(measured),
        "asr-noise.svg": _noise_chart(measured),
        "asr-reliability.svg": reliability_chart(
            "Confidence against answers that were right", {"answers": all_reliability(measured)}
        ),
    }
    paths = []
    for name, text in content.items():
        path = folder / name
        path.write_text(text, "utf-8")
        paths.append(path)
    return paths


def reliability_chart(title: str, lines: Mapping[str, Sequence[ReliabilityBin]]) -> str:
    """Return a reliability plot: on the dashed line confidence means what it says."""
    series = [Series("ideal", [(0.0, 0.0), (1.0, 1.0)], dashed=True)]
    series += [Series(name, [(b.confidence, b.right) for b in bins]) for name, bins in lines.items()]
    return line_chart(title, "confidence", "share right", series, y_max=1.0)


def _wrong(score: Score) -> float:
    name, value = figure_of(score)
    return value if name == "word error" else 100 - value


def _loss_chart(measured: Measured) -> str:
    series = []
    for test in ("strings of 4", "read digits", "commands"):
        for bursts in (False, True):
            points = [
                (condition.loss_percent, _wrong(score))
                for name, condition in CONDITIONS.items()
                if condition.phone
                and condition.noise_db is None
                and (not condition.loss_percent or condition.bursts == bursts)
                and (score := measured.score(test, name)) is not None
            ]
            if points:
                series.append(Series(f"{test}, {'bursts' if bursts else 'random'}", points))
    return line_chart("Errors by packet loss", "packets lost, %", "word error or wrong, %", series)


def _noise_chart(measured: Measured) -> str:
    series = []
    for test in measured.scores:
        points = sorted(
            (float(condition.noise_db), _wrong(score))
            for name, condition in CONDITIONS.items()
            if condition.noise_db is not None and (score := measured.score(test, name)) is not None
        )
        if points and test not in _STRANGERS:
            series.append(Series(test, points))
    return line_chart("Errors by noise", "signal-to-noise ratio, dB", "wrong, %", series)
