"""Handoffs on disk: who waits, who took whom, what came of it. Shared by worker and console.

One small SQLite file in WAL mode. ``claim`` is one conditional UPDATE: of two who press Accept
at the same time in two processes, one gets True. Calls block (well under a millisecond, up to the busy
timeout when the disk is slow): async callers use a thread.
"""

import time
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from voicebot.handoff.context import HandoffContext
from voicebot.handoff.queue import Agent
from voicebot.handoff.store_file import HandoffFile
from voicebot.session.boot_clock import boot_ms

State = Literal["waiting", "taken", "talking", "over"]
MAX_ROWS: Final = 500

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS handoffs (
  handoff_id TEXT PRIMARY KEY, queue TEXT NOT NULL, priority TEXT NOT NULL, state TEXT NOT NULL,
  joined_s REAL NOT NULL, taken_by TEXT NOT NULL DEFAULT '', taken_s REAL, ended_s REAL,
  outcome TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '', code INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '', context TEXT NOT NULL,
  skills TEXT NOT NULL DEFAULT '[]', declined_by TEXT NOT NULL DEFAULT '[]',
  joined_boot_ms INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS handoffs_state ON handoffs (state, joined_s);
CREATE TABLE IF NOT EXISTS agents (
  name TEXT PRIMARY KEY, status TEXT NOT NULL, skills TEXT NOT NULL DEFAULT '[]', since_s REAL NOT NULL
) STRICT;
"""
_FIELDS: Final = (
    "handoff_id, queue, priority, state, joined_s, taken_by, taken_s, ended_s, "
    "outcome, reason, code, note, context, skills, declined_by, joined_boot_ms"
)


class HandoffRow(msgspec.Struct, frozen=True, kw_only=True):
    """One handoff; times are seconds since 1970, for people.

    ``joined_boot_ms`` is what waiting is measured by: a wall clock that jumps sends nobody away.
    """

    handoff_id: str
    queue: str
    priority: str
    state: State
    joined_s: float
    taken_by: str
    taken_s: float | None
    ended_s: float | None
    outcome: str
    reason: str
    code: int
    note: str
    context: HandoffContext
    skills: tuple[str, ...] = ()
    declined_by: tuple[str, ...] = ()
    joined_boot_ms: int = 0

    def waited_s(self, now_s: float) -> float:
        """How long the caller waited, or has waited so far."""
        return max(0.0, (self.taken_s or self.ended_s or now_s) - self.joined_s)


class HandoffStore(HandoffFile):
    """The file. Every method raises SessionStoreError when the disk or the lock does not give in."""

    tables = _TABLES
    added = (
        ("handoffs", "skills", "TEXT NOT NULL DEFAULT '[]'"),
        ("handoffs", "declined_by", "TEXT NOT NULL DEFAULT '[]'"),
        ("handoffs", "joined_boot_ms", "INTEGER NOT NULL DEFAULT 0"),
    )

    def join(
        self,
        context: HandoffContext,
        *,
        priority: str,
        skills: Sequence[str] = (),
        now_s: float | None = None,
        now_boot_ms: int | None = None,
    ) -> None:
        """A caller waits from now on; joining twice changes nothing."""
        joined_s = time.time() if now_s is None else now_s
        joined_boot_ms = boot_ms() if now_boot_ms is None else now_boot_ms
        needed = msgspec.json.encode(skills).decode()
        row = (
            *(context.handoff_id, context.queue, priority),
            *(joined_s, _json(context), needed, joined_boot_ms),
        )
        with self._connection() as db:
            db.execute(
                "INSERT OR IGNORE INTO handoffs (handoff_id, queue, priority, state, joined_s, context,"
                " skills, joined_boot_ms) VALUES (?, ?, ?, 'waiting', ?, ?, ?, ?)",
                row,
            )

    def claim(self, handoff_id: str, agent: str, *, now_s: float | None = None) -> bool:
        """Take a waiting caller; the first one gets True."""
        at_s = time.time() if now_s is None else now_s
        with self._connection() as db:
            found = db.execute(
                "UPDATE handoffs SET state = 'taken', taken_by = ?, taken_s = ?"
                " WHERE handoff_id = ? AND state = 'waiting'",
                (agent, at_s, handoff_id),
            )
            return found.rowcount == 1

    def put_back(self, handoff_id: str) -> bool:
        """The one who took the call could not be reached: the caller waits on."""
        with self._connection() as db:
            found = db.execute(
                "UPDATE handoffs SET state = 'waiting', taken_by = '', taken_s = NULL"
                " WHERE handoff_id = ? AND state = 'taken'",
                (handoff_id,),
            )
            return found.rowcount == 1

    def set_context(self, context: HandoffContext) -> None:
        """Something better is known about the caller."""
        with self._connection() as db:
            db.execute(
                "UPDATE handoffs SET context = ? WHERE handoff_id = ?",
                (_json(context), context.handoff_id),
            )

    def move(self, handoff_id: str, queue: str, skills: Sequence[str]) -> None:
        """A waiting caller goes on to another queue; who waited longer keeps that."""
        with self._connection() as db:
            db.execute(
                "UPDATE handoffs SET queue = ?, skills = ?, declined_by = '[]'"
                " WHERE handoff_id = ? AND state = 'waiting'",
                (queue, msgspec.json.encode(skills).decode(), handoff_id),
            )

    def decline(self, handoff_id: str, agent: str) -> bool:
        """Not this colleague; one who has taken the caller gives him back. False: nobody waits there."""
        with self._connection() as db:
            found = db.execute(
                "UPDATE handoffs SET declined_by = json_insert(declined_by, '$[#]', ?1),"
                " state = CASE WHEN taken_by = ?1 AND state = 'taken' THEN 'waiting' ELSE state END,"
                " taken_s = CASE WHEN taken_by = ?1 AND state = 'taken' THEN NULL ELSE taken_s END,"
                " taken_by = CASE WHEN taken_by = ?1 AND state = 'taken' THEN '' ELSE taken_by END"
                " WHERE handoff_id = ?2 AND state IN ('waiting', 'taken')",
                (agent, handoff_id),
            )
            return found.rowcount == 1

    def set_agent(self, agent: Agent) -> None:
        """A colleague came, left or changed status; kept for whoever starts next."""
        skills = msgspec.json.encode(sorted(agent.skills)).decode()
        with self._connection() as db:
            db.execute(
                "INSERT OR REPLACE INTO agents (name, status, skills, since_s) VALUES (?, ?, ?, ?)",
                (agent.name, agent.status, skills, time.time()),
            )

    def agents(self) -> list[Agent]:
        """All that were seen, by name."""
        with self._connection() as db:
            rows = db.execute("SELECT name, status, skills FROM agents ORDER BY name").fetchall()
        return [
            Agent(name, status, frozenset(msgspec.json.decode(skills, type=list[str])))
            for name, status, skills in rows
        ]

    def talking(self, handoff_id: str) -> None:
        """Caller and colleague hear each other."""
        with self._connection() as db:
            db.execute(
                "UPDATE handoffs SET state = 'talking', taken_s = coalesce(taken_s, ?)"
                " WHERE handoff_id = ? AND state != 'over'",
                (time.time(), handoff_id),
            )

    def end(self, handoff_id: str, outcome: str, reason: str, code: int) -> None:
        """It is over; the first outcome stays."""
        with self._connection() as db:
            db.execute(
                "UPDATE handoffs SET state = 'over', ended_s = ?, outcome = ?, reason = ?, code = ?"
                " WHERE handoff_id = ? AND state != 'over'",
                (time.time(), outcome, reason, code, handoff_id),
            )

    def note(self, handoff_id: str, text: str) -> bool:
        """A supervisor's note to the colleague; the last one stays."""
        with self._connection() as db:
            found = db.execute("UPDATE handoffs SET note = ? WHERE handoff_id = ?", (text, handoff_id))
            return found.rowcount == 1

    def close_open(self, known_calls: frozenset[str]) -> int:
        """End what is open for calls that no longer exist (after a restart); returns how many."""
        gone = [row for row in self.rows(open_only=True) if row.context.call_id not in known_calls]
        for row in gone:
            self.end(row.handoff_id, "failed", "the call is gone", 0)
        return len(gone)

    def end_call(self, call_id: str) -> int:
        """A call is over: what is open of it is closed; returns how many."""
        ours = [r for r in self.rows(open_only=True) if r.context.call_id == call_id]
        for row in ours:
            self.end(row.handoff_id, "failed", "the call is over", 0)
        return len(ours)

    def get(self, handoff_id: str) -> HandoffRow | None:
        """One handoff."""
        with self._connection() as db:
            row = db.execute(
                f"SELECT {_FIELDS} FROM handoffs WHERE handoff_id = ?",  # noqa: S608 - constant names
                (handoff_id,),
            ).fetchone()
        return None if row is None else _row(row)

    def rows(self, *, open_only: bool = False) -> list[HandoffRow]:
        """Handoffs, those that wait in order of service first, then newest first."""
        where = "WHERE state != 'over'" if open_only else ""
        order = "CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END, joined_s"
        order = order if open_only else "joined_s DESC"
        with self._connection() as db:
            rows = db.execute(
                f"SELECT {_FIELDS} FROM handoffs {where} ORDER BY {order} LIMIT ?",  # noqa: S608 - constants
                (MAX_ROWS,),
            ).fetchall()
        return [_row(row) for row in rows]

    def of_call(self, call_id: str) -> list[HandoffRow]:
        """The handoffs of one call, oldest first."""
        with self._connection() as db:
            rows = db.execute(
                f"SELECT {_FIELDS} FROM handoffs WHERE json_extract(context, '$.call_id') = ?"  # noqa: S608 - constant names
                " ORDER BY joined_s LIMIT ?",
                (call_id, MAX_ROWS),
            ).fetchall()
        return [_row(row) for row in rows]

    def waiting_count(self) -> int:
        """How many callers wait now."""
        with self._connection() as db:
            (found,) = db.execute("SELECT count(*) FROM handoffs WHERE state = 'waiting'").fetchone()
        return int(found)

    def average_talk_s(self, queue: str) -> float | None:
        """How long the last conversations of a queue took; None when fewer than three are known."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT ended_s - taken_s FROM handoffs WHERE queue = ? AND outcome = 'bridged'"
                " AND taken_s IS NOT NULL ORDER BY ended_s DESC LIMIT 20",
                (queue,),
            ).fetchall()
        return sum(row[0] for row in rows) / len(rows) if len(rows) >= 3 else None


def _json(context: HandoffContext) -> str:
    return msgspec.json.encode(context).decode("utf-8", "replace")


def _row(values: tuple[object, ...]) -> HandoffRow:
    named = dict(zip(HandoffRow.__struct_fields__, values, strict=True))
    named["context"] = msgspec.json.decode(str(named["context"]), type=HandoffContext)
    for name in ("skills", "declined_by"):
        named[name] = msgspec.json.decode(str(named[name]), type=tuple[str, ...])
    return msgspec.convert(named, HandoffRow)
