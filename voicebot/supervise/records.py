"""The calls of an edge that died: nobody will ever say how they ended, so the supervisor does."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from voicebot.core.endings import EDGE_DIED
from voicebot.core.errors import SessionStoreError
from voicebot.session.call_detail_record import (
    CallDetailLog,
    CallDetailRecord,
    latency_of,
    transcript_of,
)
from voicebot.session.records import SessionEnding, StoredSession, utc_text
from voicebot.session.store import SessionStore
from voicebot.telemetry.log import get_logger

MAX_OPEN: Final = 1000


class DeadEdgeRecords:
    """Closes what an edge left open.

    Args:
        store: Opened for each use and closed again: edges die seldom.
        records: Where the call records go.
        broke_off: Told the call id of each call that is closed; may block.
        wall_clock_s: Time of day.
    """

    def __init__(
        self,
        store: Callable[[], SessionStore],
        records: CallDetailLog,
        broke_off: Callable[[str], object] = lambda _call_id: None,
        wall_clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._open_store = store
        self._records = records
        self._broke_off = broke_off
        self._wall_clock_s = wall_clock_s

    async def close(self, edges: tuple[str, ...], *, seen: bool = True) -> int:
        """End all open sessions of these edges, none of which is running now.

        Args:
            edges: Their SIP addresses.
            seen: They died just now; else before we came, perhaps days ago, and the last sign of life of
                each call is its end.

        Returns:
            How many calls were closed. A store that cannot be reached is logged: workers close the
            records of their own calls a few seconds later.
        """
        died_at = utc_text(self._wall_clock_s())
        store = self._open_store()
        closed = 0
        try:
            await store.start()
            for edge in edges:
                for session in await store.recent(MAX_OPEN, edge=edge, open_only=True):
                    stored = await store.load(session.session_id)
                    if stored is not None and session.started_at <= died_at:
                        last = died_at if seen else await asyncio.to_thread(_last_sign, stored, died_at)
                        await self._close_one(store, stored, last)
                        closed += 1
        except SessionStoreError as error:
            get_logger().error("records_not_closed", edges=edges, error=str(error))
        finally:
            await store.close()
        return closed

    async def _close_one(self, store: SessionStore, stored: StoredSession, died_at: str) -> None:
        session = stored.record
        ending = SessionEnding(ended_at=died_at, ended_by="supervisor", reason=EDGE_DIED)
        await store.end_session(session.session_id, ending, lease=stored.lease)
        await self._records.append(
            CallDetailRecord(
                call_id=session.call_id,
                session_id=session.session_id,
                sip_call_id=session.sip_call_id,
                caller=session.caller,
                called=session.called,
                dialplan=session.dialplan,
                started_at=session.started_at,
                answered_at=session.answered_at,
                ended_at=died_at,
                talk_ms=_between_ms(session.answered_at, died_at),
                ended_by="supervisor",
                reason=EDGE_DIED,
                turns=len(stored.turns),
                transcript=transcript_of(stored.turns),
                recording=session.recording,
                recording_partial=bool(session.recording),
                latency=latency_of(stored.turns),
                workers=stored.lease + 1,
            )
        )
        try:
            await asyncio.to_thread(self._broke_off, session.call_id)
        except SessionStoreError as error:  # the other calls are closed all the same
            get_logger().error("callback_not_recorded", call_id=session.call_id, error=str(error))
        get_logger().warning("call_closed", call_id=session.call_id, reason=EDGE_DIED)


def _last_sign(stored: StoredSession, now: str) -> str:
    """When something was heard or said last: by the turns, and by the recording where there is one."""
    session = stored.record
    try:
        answered_s = dt.datetime.fromisoformat(session.answered_at or session.started_at).timestamp()
    except ValueError:
        return now
    last_s = answered_s + max((t.at_ms for t in stored.turns.values()), default=0) / 1000
    if session.recording:
        with contextlib.suppress(OSError):
            last_s = max(last_s, Path(session.recording).stat().st_mtime)
    return min(utc_text(last_s), now)


def _between_ms(start: str, end: str) -> int:
    try:
        length = dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)
    except ValueError:
        return 0
    return max(0, round(length.total_seconds() * 1000))
