"""Handoffs and call backs go with the records of the calls they belong to."""

import contextlib
from pathlib import Path

from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.queue_store import HandoffStore
from voicebot.handoff.store_file import FILE_NAME, HandoffFile


class _Erasure(HandoffFile):
    """Deletes; the tables are there by then."""

    def delete(self, before_s: float | None, caller: str | None) -> int:
        about = "json_extract(context, '$.caller') = :caller"
        with self._connection() as db:
            db.execute(
                "PRAGMA secure_delete = ON"
            )  # numbers and words are overwritten, not only unlinked
            named = {"caller": caller, "before_s": before_s}
            callbacks = db.execute(
                "DELETE FROM callbacks WHERE (:caller IS NULL OR number = :caller OR handoff_id IN"  # noqa: S608 - constants
                f" (SELECT handoff_id FROM handoffs WHERE {about}))"
                " AND (:before_s IS NULL OR done_s < :before_s)",
                named,
            )
            handoffs = db.execute(
                f"DELETE FROM handoffs WHERE state = 'over' AND (:caller IS NULL OR {about})"  # noqa: S608 - constants
                " AND (:before_s IS NULL OR ended_s < :before_s)"
                " AND handoff_id NOT IN (SELECT handoff_id FROM callbacks)",
                named,
            )
        with contextlib.suppress(FileNotFoundError), self._connection() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return handoffs.rowcount + callbacks.rowcount


def erase_handoffs(folder: Path, before_s: float | None, caller: str | None) -> int:
    """Delete what is over and old enough, or all of one caller; a call that waits now is left alone.

    A call back that was promised and is not done yet is too old never, but goes with its caller.

    Args:
        folder: The data directory.
        before_s: Only what ended before this time of day, in seconds since 1970; None: any.
        caller: Only this number; None: any.

    Returns:
        How many handoffs and call backs.

    Raises:
        SessionStoreError: The file cannot be written; run it again.
    """
    if not (folder / FILE_NAME).exists():
        return 0
    HandoffStore(folder)
    CallbackStore(folder)
    return _Erasure(folder).delete(before_s, caller)
