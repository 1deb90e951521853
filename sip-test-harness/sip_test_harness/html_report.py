"""The HTML report: one file that opens from disk, without a network, and prints.

Data goes in as JSON inside a script element of type application/json; the page's script puts it on
the screen through text nodes only, so that nothing a caller or a model said can become markup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Final

from sip_test_harness.compare import Comparison, compare
from sip_test_harness.judgement import stage_costs, summary_of
from sip_test_harness.qa_row import QaRow

MEANINGS: Final = {
    "failed": "calls that broke off or did not go as their script says",
    "void": "calls in which the harness itself sent late: their times prove nothing",
    "word_error": "words understood otherwise than in the reference, share",
    "task_success": "calls that took the reference's course, share",
    "intents_right": "wishes understood as in the reference, share",
    "slots_right": "values filled as in the reference, share",
    "bot_dropped": "speech packets that arrived and the bot did not use, share",
    "bot_holes": "lost speech packets that became silence for the bot, share",
    "onset_p50_ms": "caller's last word to the bot's first",
    "onset_p95_ms": "the same, 95 of 100 are quicker",
    "barge_in_stop_p95_ms": "caller's first word to the bot's last, when he interrupts",
    "cut_offs": "turns into which the bot spoke",
    "false_barge_in_pauses": "pauses of the bot that nobody meant, for each prompt",
    "false_barge_in_cancels": "prompts that were not finished although nobody interrupted, share",
    "false_barge_ins_per_min": "both, for each minute of the bot's speech",
    "resume_correct": "pauses after which the prompt went on where it had stopped, share",
    "missed_barge_ins": "interruptions over which the bot spoke on for more than 1.2 s",
    "unanswered": "turns without an answer",
    "mos": "what the caller hears, estimated by G.107: 1 bad, 4.4 best",
    "wire_gaps": "more than 40 ms without a packet in the bot's speech, for each call",
    "silent_gap_ms": "longest silence below 300 ms in the bot's speech",
}
"""What each figure of the summary is, in the report."""


def _embedded(content: object) -> str:
    """Return JSON that cannot end the script element around it."""
    text = json.dumps(content, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def build_report(
    rows: Sequence[QaRow],
    *,
    about: str,
    baseline: Sequence[QaRow] = (),
    verdict: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        rows: judged rows of the run.
        about: a sentence on target, date, profile and seeds.
        baseline: rows of an earlier run to compare with.
        verdict: sentences of the thresholds that were crossed.
    """
    comparison: Comparison | None = compare(baseline, rows) if baseline else None
    figures = (
        comparison.figures
        if comparison
        else tuple((name, None, value) for name, value in summary_of(rows).items())
    )
    data = {
        "about": about,
        "baseline": bool(baseline),
        "verdict": list(verdict),
        "figures": figures,
        "meanings": MEANINGS,
        "stages": comparison.stages
        if comparison
        else [(name, None, took_ms) for name, took_ms in stage_costs(rows).items()],
        "changes": [asdict(change) for change in comparison.changes] if comparison else [],
        "rows": [asdict(row) for row in rows],
    }
    folder = resources.files("sip_test_harness") / "report_page"
    page = (folder / "page.html").read_text("utf-8")
    page = page.replace("/*STYLE*/", (folder / "page.css").read_text("utf-8"))
    page = page.replace("/*SCRIPT*/", (folder / "page.js").read_text("utf-8"))
    return page.replace("/*DATA*/", _embedded(data))


def write_html(path: Path, page: str) -> None:
    """Write the page, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, "utf-8")
