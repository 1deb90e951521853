"""Who did what to whose call: one JSON line each, written before it is done."""

import contextlib
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from voicebot.core.errors import SessionStoreError
from voicebot.session.line_file import append_line, delete_lines
from voicebot.session.records import utc_text

FILE_NAME: Final = "audit.jsonl"
MAX_SHOWN: Final = 200


class AuditLog:
    """Appends, and deletes nothing: that is ``erase_acts``, for the commands.

    Args:
        folder: The data directory.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME

    def write(self, who: str, did: str, subject: str, **more: str) -> None:
        """Note one act.

        Raises:
            OSError: It cannot be written: then the act must not happen either.
        """
        entry = {"at": utc_text(time.time()), "who": who, "did": did, "subject": subject, **more}
        append_line(self._path, msgspec.json.encode(entry), sync=False)

    def last(self) -> list[dict[str, Any]]:
        """The latest acts, newest first."""
        if not self._path.exists():
            return []
        acts: list[dict[str, Any]] = []
        for line in reversed(self._path.read_bytes().splitlines()):
            if len(acts) == MAX_SHOWN:
                break
            with contextlib.suppress(msgspec.MsgspecError):  # a full disk cut it off
                acts.append(msgspec.json.decode(line, type=dict[str, Any]))
        return acts


class _Act(msgspec.Struct):
    at: str


def erase_acts(folder: Path, before_s: float | None, caller: str | None) -> int:
    """Delete the acts before a time of day.

    An act names a call, a handoff or a call back by its id and never a number, so there is nothing of a
    caller to delete: who listened to his call stays known for as long as the acts of others.

    Args:
        folder: The data directory.
        before_s: Seconds since 1970; None: nothing is deleted.
        caller: Of whom all is deleted; with one, nothing is deleted here.

    Returns:
        How many acts.

    Raises:
        SessionStoreError: The file cannot be rewritten; run it again.
    """
    if before_s is None or caller is not None:
        return 0
    before = utc_text(before_s)

    def is_due(line: bytes) -> bool:
        try:
            return msgspec.json.decode(line, type=_Act).at < before
        except msgspec.MsgspecError:
            return False

    try:
        return delete_lines(folder / FILE_NAME, is_due)
    except OSError as error:
        raise SessionStoreError(f"audit log: {error}") from error
