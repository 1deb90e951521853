"""Rows against their references: words, course, interruptions; and the figures of a whole run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sip_test_harness.prompt_flow import flows
from sip_test_harness.qa_row import Cell, bot_sound
from sip_test_harness.recorded_caller import UNDISTURBED
from sip_test_harness.rtp_statistics import Spread

if TYPE_CHECKING:
    from sip_test_harness.qa_row import QaRow


def normalised_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def word_error(reference: Sequence[str], found: Sequence[str]) -> float:
    """Return the word error rate: edits (insert, delete, replace) over the reference's length."""
    previous = list(range(len(found) + 1))
    for row, wanted in enumerate(reference, 1):
        current = [row]
        for column, word in enumerate(found, 1):
            current.append(
                min(
                    previous[column] + 1,
                    current[column - 1] + 1,
                    previous[column - 1] + (wanted != word),
                )
            )
        previous = current
    return previous[-1] / max(1, len(reference))


def caller_words(transcript: Sequence[dict[str, Any]]) -> list[str]:
    """Return what the bot understood of the caller, as one list of words."""
    return [
        word
        for line in transcript
        if line.get("who") == "caller"
        for word in normalised_words(str(line.get("text", "")))
    ]


def judge(rows: Sequence[QaRow], baseline: Sequence[QaRow] = ()) -> None:
    """Fill in word error and task success against each call's reference, in place.

    The reference is the same call of the baseline, else the clean cell of this run, lowest seed. The
    bot's sound is compared with that of the caller without the sounds that were not meant, if this run
    has it.
    """
    references: dict[str, QaRow] = {}
    for row in sorted([*rows], key=lambda item: item.seed):
        if Cell(**row.cell).clean:
            references.setdefault(row.name, row)
    for row in sorted(baseline, key=lambda item: (not Cell(**item.cell).clean, item.seed)):
        if Cell(**row.cell).clean:
            references[row.name] = row
    undisturbed = {
        row.name.removesuffix(UNDISTURBED): row for row in rows if row.name.endswith(UNDISTURBED)
    }
    for row in rows:
        reference = references.get(row.name)
        sound_of = undisturbed.get(row.name, reference)
        if sound_of is not None:
            _find_interruptions(row, sound_of)
        if reference is None or not reference.transcript:
            continue
        row.reference = reference.transcript
        row.word_error = round(
            word_error(caller_words(reference.transcript), caller_words(row.transcript)), 4
        )
        row.task_success = not row.failures and row.course == reference.course
        row.intents_right = _agreement(_intents(reference.transcript), _intents(row.transcript))
        row.slots_right = _agreement(_slots(reference.transcript), _slots(row.transcript))


def _find_interruptions(row: QaRow, reference: QaRow) -> None:
    wanted, found = bot_sound(reference), bot_sound(row)
    if wanted is None or found is None or row.failures:
        return
    compared = flows(wanted, _turn_starts(reference), found, _turn_starts(row), row.lost_in_ms)
    row.prompts = len(compared)
    row.prompts_ms = round(sum(flow.prompt_ms for flow in compared), 1)
    row.interruptions = [
        {"at_ms": item.at_ms, "pause_ms": item.pause_ms, "resumed_right": item.resumed_right}
        for flow in compared
        for item in flow.interruptions
    ]


def _turn_starts(row: QaRow) -> list[float]:
    return [turn["speech_start_ms"] or 0.0 for turn in row.turns if turn.get("meant", True)]


def _intents(transcript: Sequence[dict[str, Any]]) -> list[str]:
    return [str(line["intent"]) for line in transcript if line.get("intent")]


def _slots(transcript: Sequence[dict[str, Any]]) -> list[str]:
    """Return what was filled, in order of name: asking again is no wrong value."""
    filled: dict[str, str] = {}
    for line in transcript:
        slots = line.get("slots")
        if isinstance(slots, dict):
            filled |= {str(name): str(value) for name, value in slots.items()}
    return [f"{name}={value}" for name, value in sorted(filled.items())]


def _agreement(reference: Sequence[str], found: Sequence[str]) -> float | None:
    """Return the share of the reference that was found, less what is too much; None without any."""
    return round(max(0.0, 1 - word_error(reference, found)), 4) if reference else None


def stage_costs(rows: Sequence[QaRow]) -> dict[str, float]:
    """Return the median over all calls of what each stage took, ms: the bot's own account."""
    costs: dict[str, list[float]] = {}
    for row in rows:
        for stage, took_ms in row.stages.items():
            costs.setdefault(stage, []).append(took_ms)
    return {stage: round(float(np.median(took)), 1) for stage, took in sorted(costs.items())}


def summary_of(rows: Sequence[QaRow]) -> dict[str, Any]:
    """Return the figures of several rows together; None where nothing was measured."""
    onset = Spread.of([value for row in rows for value in row.onset_ms])
    stop = Spread.of([value for row in rows for value in row.barge_in_stop_ms])
    errors = [row.word_error for row in rows if row.word_error is not None]
    tasks = [row.task_success for row in rows if row.task_success is not None]
    rated = [row.mos for row in rows if row.mos is not None]
    dropped = [row.bot_dropped for row in rows if row.bot_dropped is not None]
    holes = [row.bot_holes for row in rows if row.bot_holes is not None and row.lost_out_ms]
    intents = [row.intents_right for row in rows if row.intents_right is not None]
    slots = [row.slots_right for row in rows if row.slots_right is not None]
    prompts = sum(row.prompts or 0 for row in rows)
    minutes = sum(row.prompts_ms for row in rows) / 60_000
    stopped = [item for row in rows for item in row.interruptions]
    resumed = [item["resumed_right"] for item in stopped if item["pause_ms"] is not None]
    return {
        "calls": len(rows),
        "failed": sum(bool(row.failures) for row in rows),
        "void": sum(row.void for row in rows),
        "word_error": round(float(np.mean(errors)), 4) if errors else None,
        "task_success": round(float(np.mean(tasks)), 4) if tasks else None,
        "intents_right": round(float(np.mean(intents)), 4) if intents else None,
        "slots_right": round(float(np.mean(slots)), 4) if slots else None,
        "bot_dropped": round(float(np.mean(dropped)), 4) if dropped else None,
        "bot_holes": round(float(np.mean(holes)), 4) if holes else None,
        "onset_p50_ms": onset.p50_ms if onset.count else None,
        "onset_p95_ms": onset.p95_ms if onset.count else None,
        "barge_in_stop_p95_ms": stop.p95_ms if stop.count else None,
        "cut_offs": sum(bool(turn.get("cut_off")) for row in rows for turn in row.turns),
        "false_barge_in_pauses": round(len(resumed) / prompts, 4) if prompts else None,
        "false_barge_in_cancels": (
            round((len(stopped) - len(resumed)) / prompts, 4) if prompts else None
        ),
        "false_barge_ins_per_min": round(len(stopped) / minutes, 3) if prompts else None,
        # Where nothing was paused, nothing was resumed wrongly.
        "resume_correct": round(float(np.mean(resumed or [1.0])), 4) if prompts else None,
        "missed_barge_ins": sum(turn.get("yielded") is False for row in rows for turn in row.turns),
        "unanswered": sum(row.unanswered for row in rows),
        "mos": round(float(np.mean(rated)), 3) if rated else None,
        "wire_gaps": round(float(np.mean([row.wire_gaps for row in rows])), 3) if rows else None,
        "silent_gap_ms": max((row.silent_gap_ms for row in rows), default=None),
    }
