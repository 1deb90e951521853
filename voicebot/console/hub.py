"""Connects the feed of the workers with the watchers of the console, and agents with waiting callers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from voicebot.console.accounts import Identity
from voicebot.console.live_board import Event, LiveBoard
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.live_queue import queue_on_disk
from voicebot.handoff.queue_store import HandoffRow, HandoffStore
from voicebot.telemetry.live_feed import CONSOLE_SOCKET, LivePort

WATCHER_BACKLOG: Final = 500
LISTENER_BACKLOG: Final = 100  # a second of both sides


class Hub:
    """The console's view of everything that moves.

    Args:
        folder: The data directory.
        clock_s: Monotonic seconds.
    """

    def __init__(self, folder: Path, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.board = LiveBoard()
        self.store = HandoffStore(folder)
        self.callbacks = CallbackStore(folder)
        self._clock_s = clock_s
        self._feed = LivePort(folder, CONSOLE_SOCKET, self._on_event)
        self._watchers: set[asyncio.Queue[Event]] = set()
        self._audio: dict[str, set[asyncio.Queue[Event]]] = {}

    def open(self) -> None:
        """Begin to listen, and ask the workers what is going on."""
        self._feed.open()
        for worker in self._feed.workers():
            self._feed.publish({"command": "snapshot"}, worker)

    def close(self) -> None:
        """Stop to listen; watchers see the end."""
        self._feed.close()
        for watcher in self._watchers:
            _offer(watcher, {"event": "bye"})

    def calls(self) -> list[Event]:
        """All live calls."""
        return self.board.calls(self._clock_s())

    def waiting(self, who: Identity) -> list[Event]:
        """Open handoffs in order of service, as this person gets them.

        Agents do not see callers whom they declined, or who need what they have not learned; supervisors
        see everybody. Blocks: async callers use a thread.
        """
        now_s = time.time()
        queue, _ = queue_on_disk(self.store)
        return [
            waiting_public(row, now_s, queue.position(row.handoff_id) or 0)
            for row in self.store.rows(open_only=True)
            if may_take(row, who)
        ]

    def agents(self) -> dict[str, str]:
        """Status by name of all colleagues who set one. Blocks: async callers use a thread."""
        return {agent.name: agent.status for agent in self.store.agents() if agent.status != "offline"}

    def command(self, call_id: str, command: str, **more: Any) -> bool:
        """Tell the worker of a call to do something; False when nobody has that call."""
        worker = self.board.worker_of(call_id)
        if worker:
            self._feed.publish({"command": command, "call": call_id, **more}, worker)
        return bool(worker)

    def tell(self, event: Event) -> None:
        """Tell all watchers."""
        for watcher in self._watchers:
            _offer(watcher, event)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[asyncio.Queue[Event]]:
        """Events from now on; a watcher that reads too slowly loses the oldest."""
        watcher: asyncio.Queue[Event] = asyncio.Queue(WATCHER_BACKLOG)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    @contextlib.asynccontextmanager
    async def hearing(self, call_id: str) -> AsyncIterator[asyncio.Queue[Event]]:
        """Audio of a call from now on: events with ``lane`` (caller, bot) and ``data`` (base64)."""
        listener: asyncio.Queue[Event] = asyncio.Queue(LISTENER_BACKLOG)
        listeners = self._audio.setdefault(call_id, set())
        listeners.add(listener)
        try:
            yield listener
        finally:
            listeners.discard(listener)
            if not listeners:
                self._audio.pop(call_id, None)

    def _on_event(self, event: Event) -> None:
        if event.get("event") == "audio":
            for listener in self._audio.get(str(event.get("call")), ()):
                _offer(listener, event)
            return
        if event.get("event") == "queue":
            self.tell({"event": "queue"})
            return
        told = self.board.take(event, self._clock_s())
        if told is not None:
            self.tell(told)
            if told["event"] in {"handoff", "ended"}:
                self.tell({"event": "queue"})


def may_take(row: HandoffRow, who: Identity) -> bool:
    """Whether this caller is one for this person."""
    if who.may("supervisor") or row.taken_by == who.name:
        return True
    return who.name not in row.declined_by and set(row.skills) <= set(who.skills)


def waiting_public(row: HandoffRow, now_s: float, position: int) -> Event:
    """A handoff as pages and API show it."""
    context = row.context
    return {
        "handoff_id": row.handoff_id,
        "call_id": context.call_id,
        "queue": row.queue,
        "priority": row.priority,
        "state": row.state,
        "position": position,
        "waited_s": int(row.waited_s(now_s)),
        "taken_for_s": int(now_s - row.taken_s) if row.taken_s is not None else 0,
        "taken_by": row.taken_by,
        "note": row.note,
        "caller": context.caller,
        "caller_name": context.caller_name,
        "summary": context.summary,
        "urgency": context.urgency,
        "reason": context.reason,
        "intent": context.intent,
        "verified": context.verified,
        "turns": [{"who": t.who, "text": t.text, "at_ms": t.at_ms} for t in context.turns],
        "skills": list(row.skills),
        "slots": context.slots,
        "actions": [{"tool": a.tool, "outcome": a.outcome, "at_ms": a.at_ms} for a in context.actions],
        "outcome": row.outcome,
    }


def _offer(watcher: asyncio.Queue[Event], event: Event) -> None:
    if watcher.full():
        watcher.get_nowait()
    watcher.put_nowait(event)
