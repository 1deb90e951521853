"""The bot's own record of a call, found by SIP Call-ID: transcript and recording to print."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_POLL_S = 0.1


@dataclass(frozen=True)
class CallRecord:
    """What the bot wrote down.

    ``transcript`` holds (who, text); ``recording`` is as the bot named it, or ""; ``fields`` is the
    whole line.
    """

    transcript: tuple[tuple[str, str], ...]
    recording: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def find_record(folder: str | Path, call_id: str, *, wait_s: float = 3.0) -> CallRecord | None:
    """Look for the call in ``<folder>/calls*.jsonl``; the bot may need a moment to write it.

    Args:
        folder: where the bot keeps its records.
        call_id: the SIP Call-ID.
        wait_s: how long to look.

    Returns:
        The last matching line's content, or None.
    """
    end_s = time.monotonic() + wait_s
    while True:
        # One file, or one a day: the newest first.
        files = sorted(Path(folder).glob("calls*.jsonl"), reverse=True)
        found = next((hit for file in files if (hit := _search(file, call_id))), None)
        if found is not None or time.monotonic() >= end_s:
            return found
        time.sleep(_POLL_S)


def _search(path: Path, call_id: str) -> CallRecord | None:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return None
    found: CallRecord | None = None
    for line in text.splitlines():
        if call_id not in line:
            continue
        try:
            entry: Any = json.loads(line)
        except ValueError:
            continue  # the line is being written
        if isinstance(entry, dict) and entry.get("sip_call_id") == call_id:
            found = record_of(entry)
    return found


def record_of(entry: Mapping[str, Any]) -> CallRecord:
    """Return the record of a call from its JSON object."""
    said = entry.get("transcript") or []
    return CallRecord(
        tuple(
            (str(part.get("who", "")), str(part.get("text", "")))
            for part in said
            if isinstance(part, dict)
        ),
        str(entry.get("recording") or ""),
        entry,
    )
