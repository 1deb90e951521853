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

from sip_test_harness.compare import Comparison, compare
from sip_test_harness.judgement import summary_of
from sip_test_harness.qa_row import QaRow


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
