"""What is kept of a conversation: one record per session, one per turn, one per side effect.

Times of day are UTC text of fixed width (``2026-11-21T10:35:45.123Z``), which sorts as it reads;
``at_ms`` and durations come from a monotonic clock.
"""

import datetime as dt
from typing import Literal

import msgspec

EndedBy = Literal["caller", "bot", "edge", "worker", "supervisor"]
EffectState = Literal["pending", "claimed", "done"]


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation. Empty text means not known; ``edge`` names the process that holds the call."""

    session_id: str
    call_id: str
    sip_call_id: str = ""
    caller: str = ""
    called: str = ""
    dialplan: str = ""
    edge: str = ""
    started_at: str = ""
    answered_at: str = ""
    recording: str = ""
    ended_at: str = ""
    ended_by: EndedBy | Literal[""] = ""
    reason: str = ""


class SessionEnding(msgspec.Struct, frozen=True, kw_only=True):
    """How a conversation ended; the first ending that is written stays."""

    ended_at: str
    ended_by: EndedBy
    reason: str = ""


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One thing said, ``at_ms`` after the answer; ``sensitive`` text is stored as ``[redacted]``."""

    who: Literal["caller", "bot"]
    text: str
    at_ms: int = 0
    step: str = ""
    intent: str = ""
    slots: dict[str, str] = {}
    confidence: float = 1.0
    by: str = "speech"
    routed_by: str = ""
    sensitive: bool = False
    played_ms: int | None = None
    stages_ms: dict[str, float] = {}
    response_onset_ms: float | None = None
    overspent: tuple[str, ...] = ()


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A side effect that must happen once: a tool call, a transfer. ``key`` is its idempotency key."""

    key: str
    session_id: str
    kind: str
    payload: bytes = b"{}"
    state: EffectState = "pending"
    owner: str = ""
    lease: int = 0
    outcome: bytes = b""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Who may carry out an effect.

    ``granted``: it is yours, nobody tried before. ``in_doubt``: it is yours, but the holder of an older
    lease began and never reported; repeat it only if the other side knows the key. ``done``: it has
    happened, ``effect.outcome`` says how. ``busy``: another holder of this or a newer lease is at it.
    ``unknown``: nobody planned it.
    """

    verdict: Literal["granted", "in_doubt", "done", "busy", "unknown"]
    effect: Effect


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session with all that belongs to it, as loaded by the worker that takes over."""

    record: SessionRecord
    turns: dict[int, TurnRecord] = {}
    state: bytes = b""
    state_version: int = -1
    lease: int = 0
    effects: tuple[Effect, ...] = ()


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """What a purge removed; the files named in ``recordings`` are the caller's to delete."""

    sessions: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()


def utc_text(epoch_s: float) -> str:
    """A time of day as it is stored, in UTC with milliseconds."""
    moment = dt.datetime.fromtimestamp(epoch_s, tz=dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
