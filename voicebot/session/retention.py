"""Deleting what has been kept long enough, or all that is kept of one caller.

Sessions go first, then call detail records, then recordings: a failure in between leaves files that the
next run finds by their age, never a record that points to nothing and cannot be found again.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from voicebot.core.errors import SessionStoreError
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.records import utc_text
from voicebot.session.store import SessionStore

RECORDINGS_FOLDER: Final = "recordings"
_OWN_FILE = re.compile(r"[a-z][0-9a-f]{6,32}\.(wav|json)")


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was deleted; ``others`` by the names of ``erase``'s ``also``."""

    sessions: int
    call_records: int
    recordings: int
    others: dict[str, int] = field(default_factory=dict)


AlsoErase = Callable[[Path, float | None, str | None], int]
"""Deletes what a package above this one keeps: data directory, ended before (s since 1970), caller."""


async def erase(
    store: SessionStore,
    data_dir: Path,
    *,
    older_than_s: float | None = None,
    caller: str | None = None,
    now_s: float | None = None,
    also: Mapping[str, AlsoErase] | None = None,
) -> Erased:
    """Delete what is older than a time, or all of one caller; with both, only what meets both.

    Args:
        store: The session store, started.
        data_dir: Where call detail records and recordings are.
        older_than_s: Age in seconds; sessions under way are never too old.
        caller: As in the session record.
        now_s: Time of day, seconds since 1970; now when None.
        also: Records of other packages, by what they are called.

    Raises:
        SessionStoreError: Something could not be deleted; run it again.
    """
    if older_than_s is None and caller is None:
        return Erased(0, 0, 0)
    before_s = None if older_than_s is None else (time.time() if now_s is None else now_s) - older_than_s
    before = None if before_s is None else utc_text(before_s)
    log = CallDetailLog(data_dir)
    records = [
        record
        for record in await asyncio.to_thread(lambda: list(log.read()))
        if (caller is None or record.caller == caller) and (before is None or record.ended_at < before)
    ]
    purged = await store.purge(older_than=before, caller=caller)
    names = {Path(name).name for name in purged.recordings}
    names |= {Path(record.recording).name for record in records if record.recording}
    gone = await asyncio.to_thread(log.purge, older_than=before, caller=caller)
    folder = data_dir / RECORDINGS_FOLDER
    too_old_s = before_s if caller is None else None
    try:
        recordings = await asyncio.to_thread(_delete_recordings, folder, names, too_old_s)
    except OSError as error:
        raise SessionStoreError(f"recordings: {error}") from error
    others = {
        name: await asyncio.to_thread(erase_more, data_dir, before_s, caller)
        for name, erase_more in (also or {}).items()
    }
    return Erased(len(purged.sessions), gone, recordings, others)


def _delete_recordings(folder: Path, names: set[str], before_s: float | None) -> int:
    """Delete the named recordings and those not written to since ``before_s``; only files of our own."""
    deleted = 0
    for path in list(folder.glob("*")) if folder.is_dir() else []:
        if not _OWN_FILE.fullmatch(path.name) or path.is_symlink():
            continue
        named = f"{path.stem}.wav" in names
        if named or (before_s is not None and path.stat().st_mtime < before_s):
            path.unlink(missing_ok=True)
            deleted += path.suffix == ".wav"
    return deleted
