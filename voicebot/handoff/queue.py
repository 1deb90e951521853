"""Who waits for a person, who may take whom, and what the waiting hear. Pure: times come as arguments.

    join ─► WAITING ── offers(agent) ── accept (the first wins) ─► TAKEN ─► leave
              │  └─ decline: not offered to this one again
              └─ due(): announcement │ callback offer │ overflow

Order of service: priority, then time of arrival. Times are milliseconds on one clock; entries that come
back from disk keep their place because the clock is that of the machine's start there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Priority = Literal["low", "normal", "high"]
AgentStatus = Literal["available", "busy", "away", "offline"]

_ORDER: Final = {"high": 0, "normal": 1, "low": 2}
DEFAULT_HANDLE_MS: Final = 180_000
_SMOOTHING: Final = 0.2


@dataclass(frozen=True, slots=True)
class QueueRules:
    """How one queue works; None switches a thing off.

    Attributes:
        name: As in the dialplan.
        skills: What a colleague must be able to do.
        announce_every_ms: Position and wait are told this often.
        tell_position: Whether the place is told.
        tell_wait: Whether the estimated wait is told.
        callback_after_ms: Then the caller may ask to be called back instead.
        overflow_after_ms: Then the caller goes to ``overflow``.
        overflow: Another queue, or empty: back to the bot.
        max_waiting: More callers are sent to ``overflow`` at once.
    """

    name: str
    skills: frozenset[str] = frozenset()
    announce_every_ms: int | None = 30_000
    tell_position: bool = True
    tell_wait: bool = True
    callback_after_ms: int | None = 60_000
    overflow_after_ms: int | None = 300_000
    overflow: str = ""
    max_waiting: int = 100


@dataclass(slots=True)
class Entry:
    """One waiting caller."""

    handoff_id: str
    queue: str
    joined_ms: float
    priority: Priority = "normal"
    taken_by: str = ""
    declined_by: set[str] = field(default_factory=set)
    announced_ms: float = 0.0
    callback_offered: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """A colleague as the queue sees one."""

    name: str
    status: AgentStatus = "offline"
    skills: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the caller the place (from 1; 0: not told) and the wait in seconds (None: not known)."""

    handoff_id: str
    position: int
    wait_s: int | None


@dataclass(frozen=True, slots=True)
class OfferCallback:
    """Ask whether a call back is preferred."""

    handoff_id: str


@dataclass(frozen=True, slots=True)
class Overflow:
    """The caller waited too long, or the queue is full: on to ``to`` (empty: back to the bot)."""

    handoff_id: str
    to: str


Due = Announce | OfferCallback | Overflow


class CallerQueue:
    """All queues of one installation.

    Args:
        rules: One for each queue.
        handle_ms: How long a conversation takes on average, by queue.
    """

    def __init__(
        self, rules: Iterable[QueueRules], handle_ms: Mapping[str, float] | None = None
    ) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._entries: dict[str, Entry] = {}
        self._agents: dict[str, Agent] = {}
        self._handle_ms: dict[str, float] = dict(handle_ms or {})

    # ------------------------------------------------------------ callers

    def join(self, entry: Entry) -> Overflow | None:
        """Let a caller wait; a full queue says where to go instead. Joining twice is harmless."""
        if entry.handoff_id in self._entries:
            return None
        rules = self._rule(entry.queue)
        if not entry.taken_by and len(self.waiting(entry.queue)) >= rules.max_waiting:
            return Overflow(entry.handoff_id, rules.overflow)
        entry.announced_ms = max(entry.announced_ms, entry.joined_ms)
        self._entries[entry.handoff_id] = entry
        return None

    def leave(self, handoff_id: str) -> Entry | None:
        """The caller hung up, was served or went elsewhere."""
        return self._entries.pop(handoff_id, None)

    def waiting(self, queue: str | None = None) -> list[Entry]:
        """Those who wait, in order of service."""
        found = [
            e for e in self._entries.values() if not e.taken_by and (queue is None or e.queue == queue)
        ]
        return sorted(found, key=lambda e: (_ORDER[e.priority], e.joined_ms, e.handoff_id))

    def position(self, handoff_id: str) -> int | None:
        """Place in its queue, from 1; None when not waiting."""
        entry = self._entries.get(handoff_id)
        if entry is None or entry.taken_by:
            return None
        return self.waiting(entry.queue).index(entry) + 1

    def estimated_wait_ms(self, handoff_id: str) -> int | None:
        """Average handling time times the callers before, shared by the colleagues at work.

        None when nobody is there who could take the call.
        """
        position = self.position(handoff_id)
        if position is None:
            return None
        queue = self._entries[handoff_id].queue
        able = [a for a in self._agents.values() if a.status in {"available", "busy"}]
        able = [a for a in able if self._rule(queue).skills <= a.skills]
        if not able:
            return None
        free = sum(a.status == "available" for a in able)
        ahead = max(0, position - free)
        return int(ahead * self._handle_ms.get(queue, DEFAULT_HANDLE_MS) / len(able))

    # ------------------------------------------------------------ colleagues

    def agent(self, agent: Agent) -> None:
        """A colleague came, left or changed status."""
        self._agents[agent.name] = agent

    def agents(self) -> list[Agent]:
        """All that were seen, by name."""
        return sorted(self._agents.values(), key=lambda a: a.name)

    def offers(self, agent_name: str) -> list[Entry]:
        """Whom this colleague may take now, best first."""
        agent = self._agents.get(agent_name)
        if agent is None or agent.status != "available":
            return []
        return [
            e
            for e in self.waiting()
            if agent_name not in e.declined_by and self._rule(e.queue).skills <= agent.skills
        ]

    def accept(self, handoff_id: str, agent_name: str) -> bool:
        """Take a caller; only the first one gets True."""
        entry = self._entries.get(handoff_id)
        if entry is None or entry.taken_by:
            return entry is not None and entry.taken_by == agent_name
        entry.taken_by = agent_name
        return True

    def decline(self, handoff_id: str, agent_name: str) -> bool:
        """Leave a caller to the others; False when there is no such caller."""
        entry = self._entries.get(handoff_id)
        if entry is None:
            return False
        entry.declined_by.add(agent_name)
        if entry.taken_by == agent_name:
            entry.taken_by = ""
        return True

    def put_back(self, handoff_id: str) -> None:
        """The colleague who took the call could not be reached: wait on, at the old place."""
        entry = self._entries.get(handoff_id)
        if entry is not None:
            entry.taken_by = ""

    def handled(self, queue: str, took_ms: float) -> None:
        """A conversation ended; the estimate follows (exponentially weighted)."""
        before = self._handle_ms.get(queue, float(DEFAULT_HANDLE_MS))
        self._handle_ms[queue] = before + _SMOOTHING * (took_ms - before)

    # ------------------------------------------------------------ time

    def due(self, now_ms: float) -> list[Due]:
        """What the waiting have to hear or where they have to go now."""
        out: list[Due] = []
        for entry in self.waiting():
            rules = self._rule(entry.queue)
            waited_ms = now_ms - entry.joined_ms
            if rules.overflow_after_ms is not None and waited_ms >= rules.overflow_after_ms:
                del self._entries[entry.handoff_id]
                out.append(Overflow(entry.handoff_id, rules.overflow))
                continue
            if (
                rules.callback_after_ms is not None
                and waited_ms >= rules.callback_after_ms
                and not entry.callback_offered
            ):
                entry.callback_offered = True
                entry.announced_ms = now_ms  # one thing at a time
                out.append(OfferCallback(entry.handoff_id))
            every_ms = rules.announce_every_ms
            if every_ms is not None and now_ms - entry.announced_ms >= every_ms:
                entry.announced_ms = now_ms
                position = self.position(entry.handoff_id)
                wait_ms = self.estimated_wait_ms(entry.handoff_id)
                assert position is not None
                wait_s = None if wait_ms is None or not rules.tell_wait else wait_ms // 1000
                place = position if rules.tell_position else 0
                out.append(Announce(entry.handoff_id, place, wait_s))
        return out

    def _rule(self, queue: str) -> QueueRules:
        return self._rules.get(queue) or QueueRules(queue)
