"""Call backs on disk: asked for, placed, done. A try is written down before it is made.

``claim`` is one conditional UPDATE: of two workers one places the call, and after a crash nobody places
it again. Calls block as those of ``queue_store`` do.
"""

import time
from typing import Final

import msgspec

from voicebot.handoff.callbacks import Callback, CallbackState, Try
from voicebot.handoff.store_file import HandoffFile

MAX_ROWS: Final = 500
SHOWN_AFTER_S: Final = 86_400.0
"""So long a finished call back stays in the list with its outcome."""

BROKE_OFF: Final = "answered, and broke off"

_COLUMNS: Final = (
    ("state", "TEXT NOT NULL DEFAULT 'scheduled'"),
    ("due_s", "REAL NOT NULL DEFAULT 0"),
    ("tries", "INTEGER NOT NULL DEFAULT 0"),
    ("pressed", "INTEGER NOT NULL DEFAULT 0"),
    ("call_id", "TEXT NOT NULL DEFAULT ''"),
    ("history", "TEXT NOT NULL DEFAULT '[]'"),
    ("claimed_until_s", "REAL NOT NULL DEFAULT 0"),
)
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS callbacks (
  callback_id INTEGER PRIMARY KEY, handoff_id TEXT NOT NULL, number TEXT NOT NULL, queue TEXT NOT NULL,
  asked_s REAL NOT NULL, done_s REAL, done_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS callbacks_once ON callbacks (handoff_id);
"""
_FIELDS: Final = (
    "callback_id, handoff_id, number, queue, asked_s, done_s, done_by, state, due_s, tries, pressed,"
    " call_id, history"
)


class CallbackStore(HandoffFile):
    """The call backs in the file of handoffs."""

    tables = _TABLES
    added = tuple(("callbacks", name, kind) for name, kind in _COLUMNS)

    def ask(self, handoff_id: str, number: str, queue: str, *, due_s: float = 0.0) -> None:
        """Note who wants to be called back; once for each handoff."""
        with self._connection() as db:
            db.execute(
                "INSERT OR IGNORE INTO callbacks (handoff_id, number, queue, asked_s, due_s)"
                " VALUES (?, ?, ?, ?, ?)",
                (handoff_id, number, queue, time.time(), due_s),
            )

    def open(self) -> list[Callback]:
        """Those not called back yet, in the order in which they are to be called."""
        return self._rows("done_s IS NULL ORDER BY asked_s")

    def listed(self, now_s: float) -> list[Callback]:
        """As ``open``, then what was finished within a day."""
        shown_s = now_s - SHOWN_AFTER_S
        return self.open() + self._rows("done_s > ? ORDER BY done_s DESC", shown_s)

    def get(self, callback_id: int) -> Callback | None:
        """One of them."""
        return next(iter(self._rows("callback_id = ?", callback_id)), None)

    def claim(self, callback: Callback, now_s: float, until_s: float) -> bool:
        """Write a try down before it is made; one try at a time, all workers together.

        Args:
            callback: As it was read: who was faster has changed it.
            now_s: Seconds since 1970.
            until_s: When its outcome must be known.
        """
        begun = _json(Try(at_s=now_s, outcome="no outcome known"))
        with self._connection() as db:
            found = db.execute(
                "UPDATE callbacks SET state = 'calling', claimed_until_s = ?, tries = tries + 1,"
                " pressed = 0, history = json_insert(history, '$[#]', json(?))"
                " WHERE callback_id = ? AND state = 'scheduled' AND done_s IS NULL"
                " AND json_array_length(history) = ?"
                " AND NOT EXISTS (SELECT 1 FROM callbacks WHERE state = 'calling')",
                (until_s, begun, callback.callback_id, len(callback.history)),
            )
            return found.rowcount == 1

    def refuse(self, callback_id: int, reason: str, now_s: float) -> None:
        """This number must not be called: it is left to people."""
        refused = _json(Try(at_s=now_s, outcome=reason, code=403))
        with self._connection() as db:
            db.execute(
                "UPDATE callbacks SET state = 'given_up',"
                " history = json_insert(history, '$[#]', json(?))"
                " WHERE callback_id = ? AND state = 'scheduled'",
                (refused, callback_id),
            )

    def unclaim(self, callback_id: int, due_s: float) -> None:
        """Nothing was sent: the try did not happen."""
        with self._connection() as db:
            db.execute(
                "UPDATE callbacks SET state = 'scheduled', due_s = ?, tries = tries - 1,"
                " history = json_remove(history, '$[#-1]') WHERE callback_id = ? AND state = 'calling'",
                (due_s, callback_id),
            )

    def answered(self, callback_id: int, call_id: str) -> None:
        """Somebody, or something, answered the try."""
        self._set(callback_id, "answered", "answered", 200, call_id=call_id)

    def tried(
        self, callback_id: int, state: CallbackState, outcome: str, code: int, due_s: float
    ) -> None:
        """What came of a try."""
        self._set(callback_id, state, outcome, code, due_s=due_s)

    def give_up_silent(self, now_s: float) -> int:
        """Tries whose outcome nobody wrote down in time become unclear; returns how many."""
        with self._connection() as db:
            return db.execute(
                "UPDATE callbacks SET state = 'unclear' WHERE state = 'calling' AND claimed_until_s < ?",
                (now_s,),
            ).rowcount

    def broke_off(self, call_id: str) -> bool:
        """The call that was answered ended with its edge, before anybody was put through: for people."""
        with self._connection() as db:
            found = db.execute(
                "UPDATE callbacks SET state = 'unclear',"
                " history = json_set(history, '$[#-1].outcome', ?, '$[#-1].code', 0)"
                " WHERE call_id = ? AND done_s IS NULL AND state = 'answered'",
                (BROKE_OFF, call_id),
            )
            return found.rowcount == 1

    def again(self, callback_id: int, now_s: float) -> bool:
        """A colleague wants it to be placed now; False while one is under way."""
        with self._connection() as db:
            found = db.execute(
                "UPDATE callbacks SET state = 'scheduled', due_s = ?, tries = 0, pressed = 1"
                " WHERE callback_id = ? AND done_s IS NULL AND state NOT IN ('calling', 'answered')",
                (now_s, callback_id),
            )
            return found.rowcount == 1

    def done(self, callback_id: int, by: str) -> bool:
        """Somebody called back, or it is of no use any more; the first one gets True."""
        with self._connection() as db:
            found = db.execute(
                "UPDATE callbacks SET state = 'done', done_s = ?, done_by = ?"
                " WHERE callback_id = ? AND done_s IS NULL",
                (time.time(), by, callback_id),
            )
            return found.rowcount == 1

    def _set(
        self,
        callback_id: int,
        state: CallbackState,
        outcome: str,
        code: int,
        *,
        due_s: float = 0.0,
        call_id: str = "",
    ) -> None:
        # An outcome that comes late is better than none; what a person has decided meanwhile stays.
        with self._connection() as db:
            db.execute(
                "UPDATE callbacks SET state = ?, due_s = ?, call_id = CASE ? WHEN '' THEN call_id ELSE ?"
                " END, history = json_set(history, '$[#-1].outcome', ?, '$[#-1].code', ?)"
                " WHERE callback_id = ? AND done_s IS NULL"
                " AND state IN ('calling', 'unclear', 'answered')",
                (state, due_s, call_id, call_id, outcome, code, callback_id),
            )

    def _rows(self, where: str, *values: float) -> list[Callback]:
        with self._connection() as db:
            rows = db.execute(
                f"SELECT {_FIELDS} FROM callbacks WHERE {where} LIMIT ?",  # noqa: S608 - constant texts
                (*values, MAX_ROWS),
            ).fetchall()
        return [_callback(row) for row in rows]


def _callback(row: tuple[object, ...]) -> Callback:
    values = dict(zip(Callback.__struct_fields__, row, strict=True))
    values["history"] = msgspec.json.decode(str(values["history"]))
    values["pressed"] = bool(values["pressed"])
    return msgspec.convert(values, Callback)


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
