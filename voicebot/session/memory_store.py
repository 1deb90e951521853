"""A store without a disk: tests, offline replay."""

from collections.abc import Callable

import msgspec

from voicebot.core.errors import StaleLeaseError
from voicebot.session.boot_clock import boot_ms
from voicebot.session.claims import judge_claim, unknown_effect
from voicebot.session.records import (
    Claim,
    Effect,
    Purged,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
)
from voicebot.session.stored_text import clean_session, clean_text, clean_turn


class MemorySessionStore:
    """``SessionStore`` in memory; it forgets everything at the end of the process.

    Args:
        clock_ms: Clock of the leases.
        holding: A session that it knows from the beginning.
    """

    def __init__(
        self, clock_ms: Callable[[], int] = boot_ms, *, holding: StoredSession | None = None
    ) -> None:
        self._clock_ms = clock_ms
        self._holders: dict[str, tuple[str, int, int]] = {}
        self._sessions: dict[str, SessionRecord] = {}
        self._turns: dict[str, dict[int, TurnRecord]] = {}
        self._states: dict[str, tuple[int, bytes]] = {}
        self._leases: dict[str, int] = {}
        self._effects: dict[str, Effect] = {}
        if holding is not None:
            self._hold(holding)

    async def start(self) -> None:
        """See ``SessionStore``."""

    async def close(self) -> None:
        """See ``SessionStore``."""

    async def open_session(self, record: SessionRecord, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        self._fence(record.session_id, lease)
        new = clean_session(record)
        old = self._sessions.get(record.session_id, new)
        gaps = {
            name: value
            for name, value in msgspec.structs.asdict(new).items()
            if getattr(old, name) == ""
        }
        self._sessions[record.session_id] = msgspec.structs.replace(old, **gaps)

    async def append_turn(
        self, session_id: str, turn: int, record: TurnRecord, *, lease: int = 0
    ) -> None:
        """See ``SessionStore``."""
        self._fence(session_id, lease)
        self._turns.setdefault(session_id, {})[turn] = clean_turn(record)

    async def save_state(self, session_id: str, state: bytes, *, version: int, lease: int = 0) -> None:
        """See ``SessionStore``."""
        self._fence(session_id, lease)
        if version >= self._states.get(session_id, (-1, b""))[0]:
            self._states[session_id] = (version, state)

    async def end_session(self, session_id: str, ending: SessionEnding, *, lease: int = 0) -> None:
        """See ``SessionStore``."""
        self._fence(session_id, lease)
        record = self._sessions.get(session_id)
        if record is not None and not record.ended_at:
            self._sessions[session_id] = msgspec.structs.replace(
                record,
                ended_at=ending.ended_at,
                ended_by=ending.ended_by,
                reason=clean_text(ending.reason),
            )

    async def load(self, session_id: str) -> StoredSession | None:
        """See ``SessionStore``."""
        record = self._sessions.get(session_id)
        if record is None:
            return None
        version, state = self._states.get(session_id, (-1, b""))
        return StoredSession(
            record=record,
            turns=dict(sorted(self._turns.get(session_id, {}).items())),
            state=state,
            state_version=version,
            lease=self._leases.get(session_id, 0),
            effects=tuple(e for e in self._effects.values() if e.session_id == session_id),
        )

    async def recent(
        self,
        limit: int = 50,
        *,
        caller: str | None = None,
        edge: str | None = None,
        open_only: bool = False,
    ) -> list[SessionRecord]:
        """See ``SessionStore``."""
        found = [
            r
            for r in self._sessions.values()
            if (caller is None or r.caller == caller)
            and (edge is None or r.edge == edge)
            and not (open_only and r.ended_at)
        ]
        return sorted(found, key=lambda r: (r.started_at, r.session_id), reverse=True)[:limit]

    async def add_effect(self, effect: Effect) -> bool:
        """See ``SessionStore``."""
        self._fence(effect.session_id, effect.lease)
        if effect.key in self._effects:
            return False
        self._effects[effect.key] = msgspec.structs.replace(
            effect, state="pending", owner="", outcome=b""
        )
        return True

    async def claim_effect(self, key: str, owner: str, *, lease: int = 0) -> Claim:
        """See ``SessionStore``."""
        effect = self._effects.get(key)
        if effect is None:
            return unknown_effect(key)
        self._fence(effect.session_id, lease)
        claim = judge_claim(effect, owner, lease)
        self._effects[key] = claim.effect
        return claim

    async def finish_effect(self, key: str, outcome: bytes) -> bool:
        """See ``SessionStore``."""
        effect = self._effects.get(key)
        if effect is not None and effect.state != "done":
            self._effects[key] = msgspec.structs.replace(effect, state="done", outcome=outcome)
        return effect is not None

    async def acquire_lease(self, session_id: str, owner: str, ttl_ms: int) -> int | None:
        """See ``SessionStore``."""
        newest = self._leases.get(session_id, 0)
        holder, held, until_ms = self._holders.get(session_id, ("", 0, 0))
        if holder not in ("", owner) and held == newest and self._clock_ms() < until_ms:
            return None
        lease = self._leases[session_id] = newest + 1
        self._holders[session_id] = (owner, lease, self._clock_ms() + ttl_ms)
        return lease

    async def renew_lease(self, session_id: str, owner: str, lease: int, ttl_ms: int) -> bool:
        """See ``SessionStore``."""
        if self._holders.get(session_id, ())[:2] != (owner, lease):
            return False
        if self._leases.get(session_id, 0) != lease:
            return False
        self._holders[session_id] = (owner, lease, self._clock_ms() + ttl_ms)
        return True

    async def release_lease(self, session_id: str, owner: str, lease: int) -> None:
        """See ``SessionStore``."""
        if self._holders.get(session_id, ())[:2] == (owner, lease):
            del self._holders[session_id]

    async def purge(self, *, older_than: str | None = None, caller: str | None = None) -> Purged:
        """See ``SessionStore``."""
        if older_than is None and caller is None:
            return Purged()
        gone = [
            r
            for r in self._sessions.values()
            if (caller is None or r.caller == caller)
            and (older_than is None or (r.started_at < older_than and r.ended_at))
        ]
        for record in gone:
            for table in (self._sessions, self._turns, self._states, self._leases, self._holders):
                table.pop(record.session_id, None)
        ids = {r.session_id for r in gone}
        self._effects = {k: e for k, e in self._effects.items() if e.session_id not in ids}
        return Purged(
            sessions=tuple(r.session_id for r in gone),
            recordings=tuple(r.recording for r in gone if r.recording),
        )

    def _hold(self, stored: StoredSession) -> None:
        session_id = stored.record.session_id
        self._sessions[session_id] = stored.record
        self._turns[session_id] = dict(stored.turns)
        self._states[session_id] = (stored.state_version, stored.state)
        self._leases[session_id] = stored.lease
        self._effects = {effect.key: effect for effect in stored.effects}

    def _fence(self, session_id: str, lease: int) -> None:
        newest = self._leases.get(session_id, 0)
        if lease < newest:
            raise StaleLeaseError(f"session {session_id}: lease {lease} was replaced by {newest}")
        self._leases[session_id] = lease
