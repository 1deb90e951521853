"""Rows of measured figures: each benchmark writes a file of them, the report prints them together."""

import json
import math
import os
import platform
import time
from pathlib import Path

FOLDER = Path("var/bench")


def row(figure, value, unit, *, limit="", ok=True, target="", note=""):
    """One figure. `target` is the number of the line in the project's targets, `limit` its text."""
    return {
        "target": target,
        "figure": figure,
        "value": value,
        "unit": unit,
        "limit": limit,
        "ok": bool(ok),
        "note": note,
    }


def at_most(figure, value, unit, limit, *, target="", note=""):
    """One figure that has to stay at or below `limit`."""
    return row(
        figure, round(value, 2), unit, limit=f"<= {limit}", ok=value <= limit, target=target, note=note
    )


def write(name, rows):
    """Keep the rows of one benchmark and print them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(rows, indent=1))
    for r in rows:
        mark = "" if not r["limit"] else ("  ok" if r["ok"] else "  MISSED")
        value = f"{r['value']:g}" if isinstance(r["value"], float) else r["value"]
        print(f"{r['figure']:<58} {value:>9} {r['unit']:<6} {r['limit']:<18}{mark}  {r['note']}")


def percentile(values, share):
    """Nearest-rank percentile; `share` is 0 to 1."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine():
    """The machine in one line, and how busy it was."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    day = time.strftime("%Y-%m-%d")
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}, {day}"
