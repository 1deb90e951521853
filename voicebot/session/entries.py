"""Entries of a journal and what they do to a session: to a store, or to what was read from one."""

import sys
from collections.abc import Iterable
from typing import assert_never

from voicebot.core.errors import StaleLeaseError
from voicebot.session.journal import (
    AddEffect,
    AppendTurn,
    ClaimEffect,
    EndSession,
    Entry,
    FinishEffect,
    OpenSession,
    SaveState,
)
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.records import StoredSession
from voicebot.session.store import SessionStore


async def apply(store: SessionStore, entry: Entry) -> bool:
    """Write one entry to a store; whether the store knew what it is about, or took it as new.

    Raises:
        SessionStoreError: The store does not take it.
        StaleLeaseError: Its writer has been replaced.
    """
    match entry:
        case OpenSession():
            await store.open_session(entry.record, lease=entry.lease)
        case AppendTurn():
            await store.append_turn(entry.session_id, entry.turn, entry.record, lease=entry.lease)
        case SaveState():
            await store.save_state(
                entry.session_id, entry.state, version=entry.version, lease=entry.lease
            )
        case EndSession():
            await store.end_session(entry.session_id, entry.ending, lease=entry.lease)
        case AddEffect():
            return await store.add_effect(entry.effect)
        case ClaimEffect():
            await store.claim_effect(entry.key, entry.owner, lease=entry.lease)
        case FinishEffect():
            return await store.finish_effect(entry.key, entry.outcome)
        case _:
            assert_never(entry)
    return True


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Entries of several journals as their writers followed each other; within a journal as written."""
    return sorted(entries, key=_lease)


async def with_entries(
    stored: StoredSession | None, session_id: str, entries: Iterable[Entry]
) -> StoredSession | None:
    """A session as it will be once the entries have been written, by the rules of every store."""
    store = MemorySessionStore(holding=stored)
    for entry in in_order(entries):
        try:
            await apply(store, entry)
        except StaleLeaseError:
            continue
    return await store.load(session_id)


def _lease(entry: Entry) -> int:
    match entry:
        case AddEffect():
            return entry.effect.lease
        case FinishEffect():  # whoever reports, it has happened; nothing is claimed after that
            return sys.maxsize
        case _:
            return entry.lease
