"""The durable record of conversations, as its users see it."""

from typing import Protocol

from voicebot.session.records import (
    Claim,
    Effect,
    Purged,
    SessionEnding,
    SessionRecord,
    StoredSession,
    TurnRecord,
)


class SessionStore(Protocol):
    """Where the truth about each conversation is.

    A write returns once it is committed. Writing the same thing twice is harmless. ``lease`` is a
    fencing token: once a write with a higher one was seen for a session, lower ones are refused. Text is
    cleaned and redacted on the way in.

    Every method raises SessionStoreError when the store cannot do it in time, and its subclass
    StaleLeaseError when the writer has been replaced by another one: it must fall silent.
    """

    async def start(self) -> None:
        """Open the store; does nothing when open."""

    async def close(self) -> None:
        """Finish what is queued and close."""

    async def open_session(self, record: SessionRecord, *, lease: int = 0) -> None:
        """Begin a session; one that is there already stays as it is, except that gaps are filled."""

    async def append_turn(
        self, session_id: str, turn: int, record: TurnRecord, *, lease: int = 0
    ) -> None:
        """Write turn number ``turn`` (0, 1, ...) of a session, replacing an earlier version of it."""

    async def save_state(self, session_id: str, state: bytes, *, version: int, lease: int = 0) -> None:
        """Keep what the conversation needs to go on (JSON); an older version changes nothing."""

    async def end_session(self, session_id: str, ending: SessionEnding, *, lease: int = 0) -> None:
        """Close a session; the first ending stays."""

    async def load(self, session_id: str) -> StoredSession | None:
        """All that belongs to a session; None when there is none."""

    async def recent(
        self,
        limit: int = 50,
        *,
        caller: str | None = None,
        edge: str | None = None,
        open_only: bool = False,
    ) -> list[SessionRecord]:
        """The latest sessions, newest first."""

    async def add_effect(self, effect: Effect) -> bool:
        """Plan a side effect; False when its key is known already."""

    async def claim_effect(self, key: str, owner: str, *, lease: int = 0) -> Claim:
        """Ask to carry out a planned effect; see ``Claim`` for the answers."""

    async def finish_effect(self, key: str, outcome: bytes) -> bool:
        """Note the outcome (JSON) of an effect; the first outcome stays. False for an unknown key."""

    async def acquire_lease(self, session_id: str, owner: str, ttl_ms: int) -> int | None:
        """Take a session over: a lease above all before, which fences every other writer at once.

        None while somebody else holds a lease that was acquired here and has not run out.
        """

    async def renew_lease(self, session_id: str, owner: str, lease: int, ttl_ms: int) -> bool:
        """Hold on to a lease; False when it is no longer the newest: the holder must fall silent."""

    async def release_lease(self, session_id: str, owner: str, lease: int) -> None:
        """Let others acquire at once; the fencing stays."""

    async def purge(self, *, older_than: str | None = None, caller: str | None = None) -> Purged:
        """Delete ended sessions that started before ``older_than``, or all of one caller.

        With neither nothing is deleted; with both, only what meets both.
        """
