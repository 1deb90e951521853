"""Who did what to whose call: one JSON line each, written before it is done."""

import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from voicebot.session.records import utc_text

FILE_NAME: Final = "audit.jsonl"
MAX_SHOWN: Final = 200


class AuditLog:
    """Appends; nothing here deletes.

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
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(entry) + b"\n")
        finally:
            os.close(descriptor)

    def last(self) -> list[dict[str, Any]]:
        """The latest acts, newest first."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().splitlines()[-MAX_SHOWN:]
        return [msgspec.json.decode(line) for line in reversed(lines)]
