"""Calls back those who asked for it, one at a time: looks at the disk, has an edge call, writes down.

disk ── due, allowed, somebody free ── claim ─► Originate ─► edge ── answered: CallSession serves it
▲                                                            │
└────────────── outcome, next try ◄──────────────────────────┘
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from voicebot.config.settings import HandoffSettings
from voicebot.core.errors import OverloadError, SessionStoreError
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.callbacks import (
    NO_SLOT_AGAIN_S,
    Callback,
    RetryRules,
    after_try,
    outcome_of,
)
from voicebot.handoff.live_queue import queue_on_disk
from voicebot.handoff.queue import QueueRules
from voicebot.handoff.queue_store import HandoffStore
from voicebot.link.messages import NO_CALL_SLOT, Originate, Result, Start
from voicebot.telemetry.log import get_logger
from voicebot.worker.handoff_call import HandoffRules

LOOK_EVERY_S: Final = 1.0
ANSWER_GRACE_S: Final = 5.0
"""Beyond the ring time, for INVITE, CANCEL and what follows from them."""
TALK_GRACE_S: Final = 5.0


class CallbackCaller:
    """The call backs of one installation; each worker has one, and the disk decides between them.

    Args:
        folder: The data directory.
        settings: Trunk, times, number of tries.
        rules: Of the dialplan as it is now: queues, and who may be called.
        queue_rules: Of the dialplan's queues as they are now.
        originate: Has an edge call; see ``LinkServer.originate``.
        clock_s: Seconds since 1970.

    Raises:
        SessionStoreError: The file cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        settings: HandoffSettings,
        rules: Callable[[], HandoffRules],
        queue_rules: Callable[[], Sequence[QueueRules]],
        originate: Callable[[Originate], Awaitable[Start | Result | None]],
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._store = CallbackStore(folder)
        self._queue = HandoffStore(folder)
        self._settings = settings
        self._retry = RetryRules(settings.callback_tries, settings.callback_retry_s)
        self._rules = rules
        self._queue_rules = queue_rules
        self._originate = originate
        self._clock_s = clock_s
        self._log = get_logger()

    async def run(self) -> None:
        """Look every second, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except SessionStoreError as error:
                self._log.error("callbacks_not_read", error=str(error))

    async def look(self) -> None:
        """Place what is due, if anything is, and wait for its outcome.

        Raises:
            SessionStoreError: The file cannot be read or written.
        """
        order = await asyncio.to_thread(self._claim)
        if order is not None:
            await self._place(*order)

    # ------------------------------------------------------------ which one; on a thread

    def _claim(self) -> tuple[Callback, Originate] | None:
        now_s = self._clock_s()
        self._store.give_up_silent(now_s)
        waiting = [c for c in self._store.open() if c.state == "scheduled" and c.due_s <= now_s]
        rules = self._rules()
        for callback in waiting:
            why_not = self._refusal(callback, rules)
            if why_not:
                self._store.refuse(callback.callback_id, why_not, now_s)
            elif callback.pressed or self._somebody_free(callback.queue, rules):
                limit_s = self._settings.callback_ring_s + ANSWER_GRACE_S
                if self._store.claim(callback, now_s, now_s + limit_s):
                    return callback, self._order(callback)
        return None

    def _refusal(self, callback: Callback, rules: HandoffRules) -> str:
        """Why this number is not called, whatever was promised: the rules may have changed."""
        if not rules.may_call_back(callback.number):
            return "the number may not be called"
        return rules.may_call(self._uri(callback))

    def _uri(self, callback: Callback) -> str:
        return f"sip:{callback.number}@{self._settings.callback_trunk}"

    def _somebody_free(self, queue: str, rules: HandoffRules) -> bool:
        """Whether the one who is called would not have to wait again."""
        target = next((q for q in rules.queues if q.name == queue), None)
        if target is None or target.closed:
            return False
        if self._settings.agents == "sip":
            return True
        waiting, _ = queue_on_disk(self._queue, self._queue_rules())
        able = [a for a in waiting.agents() if set(target.skills) <= a.skills]
        free = sum(a.status == "available" for a in able)
        return free > len(waiting.waiting(queue))

    def _order(self, callback: Callback) -> Originate:
        row = self._queue.get(callback.handoff_id)
        return Originate(
            request=callback.request,
            uri=self._uri(callback),
            caller=callback.number,
            called=row.context.called if row is not None else "",
            queue=callback.queue,
            timeout_s=self._settings.callback_ring_s,
        )

    # ------------------------------------------------------------ the try

    async def _place(self, callback: Callback, order: Originate) -> None:
        number, now_s = callback.callback_id, self._clock_s
        self._log.info("callback_placed", callback=number, attempt=len(callback.history) + 1)
        try:
            async with asyncio.timeout(order.timeout_s + ANSWER_GRACE_S + TALK_GRACE_S):
                outcome = await self._originate(order)
        except OverloadError:
            await asyncio.to_thread(self._store.unclaim, number, now_s() + NO_SLOT_AGAIN_S)
            return
        except TimeoutError:
            outcome = None
        match outcome:
            case Start():
                await asyncio.to_thread(self._store.answered, number, outcome.call_id)
                said, code = "answered", 200
            case Result(code=503, reason=reason) if reason.startswith(NO_CALL_SLOT):
                await asyncio.to_thread(self._store.unclaim, number, now_s() + NO_SLOT_AGAIN_S)
                return
            case Result(code=code, reason=reason):
                said = outcome_of(code, reason)
                verdict = after_try(said, code, callback.tries + 1, now_s(), self._retry)
                await asyncio.to_thread(
                    self._store.tried, number, verdict.state, said, code, verdict.due_s
                )
            case _:
                said, code = "no outcome known", 0
                await asyncio.to_thread(self._store.tried, number, "unclear", said, 0, 0.0)
        self._log.info("callback_tried", callback=number, outcome=said, code=code)
