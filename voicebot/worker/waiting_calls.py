"""What the waiting callers of one worker are told: place, call back, another queue.

queue on disk ── due ──► Announce, OfferCallback, Overflow ──► ConsoleCommand into the call
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from voicebot.handoff.live_queue import Told, queue_on_disk
from voicebot.handoff.queue import Announce, OfferCallback, Overflow, QueueRules
from voicebot.handoff.queue_store import HandoffStore
from voicebot.session.boot_clock import boot_ms
from voicebot.worker.effects import ConsoleCommand

LOOK_EVERY_S: Final = 1.0


class WaitingCalls:
    """Looks at the queue for the callers of this worker.

    Args:
        store: The queue's record.
        rules: Of the dialplan's queues, as they are now.
        clock_ms: Milliseconds since the machine was started.
    """

    def __init__(
        self,
        store: HandoffStore,
        rules: Callable[[], Sequence[QueueRules]],
        clock_ms: Callable[[], float] = boot_ms,
    ) -> None:
        self._store = store
        self._rules = rules
        self._clock_ms = clock_ms
        self._told: dict[str, Told] = {}

    def look(self, waiting: Mapping[str, str]) -> list[tuple[str, ConsoleCommand]]:
        """What has to be told to whom now; blocks, use a thread.

        Args:
            waiting: Call ids of this worker's waiting callers by handoff id.

        Raises:
            SessionStoreError: The record cannot be read.
        """
        now_ms = self._clock_ms()
        # A caller whom we see for the first time has just joined, or has heard of it at another worker.
        self._told = {name: self._told.get(name, (now_ms, False)) for name in waiting}
        queue, leaving = queue_on_disk(self._store, self._rules(), self._told)
        commands: list[tuple[str, ConsoleCommand]] = []
        for due in [*leaving, *queue.due(now_ms)]:
            call_id = waiting.get(due.handoff_id)
            if call_id is None:
                continue
            _, offered = self._told[due.handoff_id]
            match due:
                case Announce(position=position, wait_s=wait_s):
                    self._told[due.handoff_id] = (now_ms, offered)
                    command = ConsoleCommand("place", position=position, wait_s=wait_s)
                case OfferCallback():
                    self._told[due.handoff_id] = (now_ms, True)
                    command = ConsoleCommand("offer_callback")
                case Overflow(to=to):
                    command = ConsoleCommand("overflow", uri=to)
            commands.append((call_id, command))
        return commands
