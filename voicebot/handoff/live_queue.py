"""The queue as it stands on disk: built anew at each look, so a restart of anybody loses nothing."""

from collections.abc import Iterable, Mapping

from voicebot.handoff.queue import Agent, CallerQueue, Due, Entry, QueueRules
from voicebot.handoff.queue_store import HandoffRow, HandoffStore

Told = tuple[float, bool]
"""When a caller was told the place last (ms of the boot clock), and whether a call back was offered."""


def queue_on_disk(
    store: HandoffStore, rules: Iterable[QueueRules] = (), told: Mapping[str, Told] | None = None
) -> tuple[CallerQueue, list[Due]]:
    """The queue of all that is open, and who has to leave it at once because it is full.

    Blocks for some milliseconds: async callers use a thread.

    Args:
        store: The file.
        rules: Of the dialplan; a queue without rules takes the skills that its callers came with.
        told: By handoff, what the caller has heard already.

    Raises:
        SessionStoreError: The file cannot be read.
    """
    rows = store.rows(open_only=True)
    known = {rule.name: rule for rule in rules}
    for row in rows:
        known.setdefault(row.queue, QueueRules(row.queue, skills=frozenset(row.skills)))
    talk_s = {name: store.average_talk_s(name) for name in {row.queue for row in rows}}
    queue = CallerQueue(
        known.values(), {name: took * 1000 for name, took in talk_s.items() if took is not None}
    )
    busy = {row.taken_by for row in rows if row.state in {"taken", "talking"}}
    for agent in store.agents():
        at_work = agent.status == "available" and agent.name in busy
        queue.agent(Agent(agent.name, "busy", agent.skills) if at_work else agent)
    leaving: list[Due] = []
    for row in rows:
        if row.state == "talking":
            continue
        overflow = queue.join(_entry(row, (told or {}).get(row.handoff_id)))
        if overflow is not None:
            leaving.append(overflow)
    return queue, leaving


def _entry(row: HandoffRow, told: Told | None) -> Entry:
    announced_ms, offered = told or (0.0, False)
    priority = row.priority if row.priority in {"low", "high"} else "normal"
    return Entry(
        row.handoff_id,
        row.queue,
        row.joined_boot_ms,
        priority,  # type: ignore[arg-type]  # one of three words, looked at in the line before
        taken_by=row.taken_by,
        declined_by=set(row.declined_by),
        announced_ms=announced_ms,
        callback_offered=offered,
    )
