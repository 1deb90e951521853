"""What people may see of a call while it goes on, and the way of their commands into it.

    CallSession ─► CallWatch ─► live feed (console) · queue record · webhook
        ▲                          │
        └──── ConsoleCommand ◄─────┘

Nothing here may hold a call up or end it: failures are logged, the call goes on.
"""

import asyncio
import base64
import binascii
import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from voicebot.config.settings import HandoffSettings
from voicebot.core.errors import SessionStoreError
from voicebot.dialogue.actions import StoreTurn
from voicebot.dialogue.compiler import CALLBACK_DECLINED
from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.callbacks import RetryRules, after_try, callback_of
from voicebot.handoff.context import ContextMemory, HandoffContext, memory_of
from voicebot.handoff.llm_summary import Summariser
from voicebot.handoff.queue import QueueRules
from voicebot.handoff.queue_store import HandoffStore
from voicebot.handoff.signing import SIGNATURE_HEADER, issue_token, sign_body
from voicebot.link.binary_media import CallerAudio, SentAudio
from voicebot.link.messages import Start, Stats
from voicebot.telemetry.live_feed import LivePort, worker_socket_name
from voicebot.telemetry.log import get_logger
from voicebot.worker.effects import ConsoleCommand, HandoffNews, Heard
from voicebot.worker.waiting_calls import LOOK_EVERY_S, WaitingCalls

WEBHOOK_LIMIT_S: Final = 3.0
TOKEN_LIFE_S: Final = 3600
MAX_LINES: Final = 200
LISTEN_S: Final = 5.0
CALLED_BY: Final = "the bot"
NOT_PUT_THROUGH: Final = "answered, not put through"
_WAITING: Final = "waiting"
_TALKING: Final = "talking"


class CallWatch:
    """Watches one call; this one sees nothing and tells nobody."""

    def opened(self, command: Callable[[ConsoleCommand], None]) -> None:
        """The call is being served; ``command`` puts a command into it."""

    def item(self, item: object) -> None:
        """Something came in."""

    def said(self, turn: StoreTurn, at_ms: int) -> None:
        """A turn is finished; sensitive text is ``[redacted]`` already."""

    async def handoff(self, news: HandoffNews) -> None:
        """A handoff got on."""

    def ended(self, reason: str) -> None:
        """Our part of the call is over."""

    def closed(self) -> None:
        """The call is over everywhere."""


class LiveCalls:
    """The watched calls of one worker.

    Args:
        folder: The data directory.
        settings: Webhook of the handoffs.
        queue_rules: Of the dialplan's queues, as they are now.
        summariser: Improves the composed summaries; None: they stay.
    """

    def __init__(
        self,
        folder: Path,
        settings: HandoffSettings,
        queue_rules: Callable[[], Sequence[QueueRules]] = tuple,
        summariser: Summariser | None = None,
    ) -> None:
        self._summariser = summariser
        self._settings = settings
        self._queue_rules = queue_rules
        self._folder = folder
        self._feed = LivePort(folder, worker_socket_name(), self._on_command)
        self._calls: dict[str, LiveWatch] = {}
        self._store: HandoffStore | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_order = asyncio.Lock()
        self._log = get_logger()

    def open(self) -> None:
        """Open feed and queue record; the bot works without either."""
        try:
            self._feed.open()
            self._store = HandoffStore(self._folder)
        except (OSError, SessionStoreError) as error:
            self._log.error("live_feed_not_open", error=str(error))
            return
        waiting = WaitingCalls(self._store, self._queue_rules)
        self._background(self._look_after_the_waiting(waiting))

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()
        for task in self._tasks:
            task.cancel()

    def watch(self) -> "LiveWatch":
        """A watch for a new call."""
        return LiveWatch(self)

    def publish(self, event: dict[str, Any]) -> None:
        """Tell the console."""
        self._feed.publish(event)

    def add(self, call_id: str, watch: "LiveWatch") -> None:
        """A call began."""
        self._calls[call_id] = watch

    def remove(self, call_id: str, watch: "LiveWatch") -> None:
        """A call ended here; another link of this worker may have taken it over."""
        if self._calls.get(call_id) is watch:
            del self._calls[call_id]

    def close_call(self, call_id: str) -> None:
        """A call is over: so is what a worker that died left open of it."""
        if self._store is not None:
            self._background(self._close(self._store, call_id))

    async def _close(self, store: HandoffStore, call_id: str) -> None:
        try:
            async with self._in_order:  # after the outcome
                closed = await asyncio.to_thread(store.end_call, call_id)
            if closed:
                self.publish({"event": "queue"})
        except SessionStoreError as error:
            self._log.error("handoffs_not_closed", call_id=call_id, error=str(error))

    def called_back(self, callback_id: int, reason: str) -> None:
        """Somebody whom we called has put himself through (no reason), or hung up before."""
        self._background(self._write_callback(callback_id, reason))

    async def _write_callback(self, callback_id: int, reason: str) -> None:
        try:
            async with self._in_order:
                await asyncio.to_thread(self._close_callback, callback_id, reason)
            self.publish({"event": "queue"})
        except SessionStoreError as error:
            self._log.error("callback_not_recorded", callback=callback_id, error=str(error))

    def _close_callback(self, callback_id: int, reason: str) -> None:
        store = CallbackStore(self._folder)
        callback = store.get(callback_id)
        if callback is None or callback.done_s is not None:
            return
        if not reason or reason == CALLBACK_DECLINED:
            store.done(callback_id, CALLED_BY)
            return
        rules = RetryRules(self._settings.callback_tries, self._settings.callback_retry_s)
        verdict = after_try(NOT_PUT_THROUGH, 200, callback.tries, time.time(), rules)
        store.tried(callback_id, verdict.state, verdict.outcome, 200, verdict.due_s)

    async def before(self, start: Start) -> ContextMemory | None:
        """What was known of the one whom we called, when he asked for it."""
        callback_id = callback_of(start.originated.request) if start.originated is not None else None
        if callback_id is None or self._store is None:
            return None
        try:
            return await asyncio.to_thread(self._known, self._store, callback_id)
        except SessionStoreError as error:
            self._log.error("callback_not_read", callback=callback_id, error=str(error))
            return None

    def _known(self, store: HandoffStore, callback_id: int) -> ContextMemory | None:
        callback = CallbackStore(self._folder).get(callback_id)
        row = store.get(callback.handoff_id) if callback is not None else None
        if row is None:
            return None
        return memory_of(row.context, verified_by=frozenset(self._settings.verified_by))

    async def waiting(self) -> int:
        """Callers who wait for a person, in all workers of this data directory."""
        return 0 if self._store is None else await asyncio.to_thread(self._store.waiting_count)

    async def record(self, news: HandoffNews) -> None:
        """Keep the queue's record up to date; a slow disk does not hold the call up."""
        if self._store is not None:
            self._background(self._write(self._store, news))
        if news.context is not None:
            self._background(self._brief_others(news.context))

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_after_the_waiting(self, waiting: WaitingCalls) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            ours = {w.waits_as: name for name, w in self._calls.items() if w.waits_as}
            if not ours:
                continue
            try:
                async with self._in_order:  # who has just joined is in the record
                    commands = await asyncio.to_thread(waiting.look, ours)
            except SessionStoreError as error:
                self._log.error("queue_not_read", error=str(error))
                continue
            for call_id, command in commands:
                if call_id in self._calls:
                    self._calls[call_id].command(command)

    async def _write(self, store: HandoffStore, news: HandoffNews) -> None:
        async with self._in_order:
            await self._write_one(store, news)
        self.publish({"event": "queue"})

    async def _write_one(self, store: HandoffStore, news: HandoffNews) -> None:
        try:
            if news.context is not None:
                await asyncio.to_thread(
                    store.join, news.context, priority=news.priority, skills=news.skills
                )
            elif news.stage == "moved":
                await asyncio.to_thread(store.move, news.handoff_id, news.detail, news.skills)
            elif news.stage == "callback":
                row = await asyncio.to_thread(store.get, news.handoff_id)
                queue = row.queue if row is not None else ""
                due_s = time.time() + self._settings.callback_after_hangup_s
                callbacks = await asyncio.to_thread(CallbackStore, self._folder)
                await asyncio.to_thread(callbacks.ask, news.handoff_id, news.detail, queue, due_s=due_s)
            elif news.stage == _WAITING:  # the one who took the call could not be reached
                await asyncio.to_thread(store.put_back, news.handoff_id)
            elif news.stage == _TALKING:
                await asyncio.to_thread(store.talking, news.handoff_id)
            elif news.stage == "end":
                await asyncio.to_thread(store.end, news.handoff_id, news.outcome, news.detail, news.code)
        except SessionStoreError as error:
            self._log.error("handoff_not_recorded", handoff_id=news.handoff_id, error=str(error))

    async def _brief_others(self, context: HandoffContext) -> None:
        """The model's summary, if it comes in time, to those with the composed one; then the webhook."""
        summary = "" if self._summariser is None else await self._summariser.summarise(context)
        if summary:
            context = msgspec.structs.replace(context, summary=summary)
            await self._summarised(context)
        if self._settings.webhook_url:
            await self._tell_webhook(context)

    async def _summarised(self, context: HandoffContext) -> None:
        if context.call_id in self._calls:
            command = ConsoleCommand("summary", text=context.summary)
            self._calls[context.call_id].command(command)
        if self._store is None:
            return
        try:
            async with self._in_order:
                await asyncio.to_thread(self._store.set_context, context)
        except SessionStoreError as error:
            self._log.error("summary_not_stored", handoff_id=context.handoff_id, error=str(error))
        self.publish({"event": "queue"})

    async def _tell_webhook(self, context: HandoffContext) -> None:
        key = os.environ.get(self._settings.webhook_key_env, "").encode()
        if not key:
            self._log.error("webhook_has_no_key", variable=self._settings.webhook_key_env)
            return
        now_s = int(time.time())
        token = issue_token(key, context.handoff_id, now_s + TOKEN_LIFE_S)
        body = msgspec.json.encode({"handoff": context, "token": token})
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sign_body(key, body, now_s)}
        try:
            async with (
                asyncio.timeout(WEBHOOK_LIMIT_S),
                httpx.AsyncClient() as client,
                # The status is all that counts: a body, however large, is not read.
                client.stream(
                    "POST", self._settings.webhook_url, content=body, headers=headers
                ) as answer,
            ):
                status = answer.status_code
            if status >= 300:
                self._log.warning("webhook_refused", status=status)
        except (TimeoutError, httpx.HTTPError) as error:
            self._log.warning("webhook_failed", error=repr(error))

    def _on_command(self, event: dict[str, Any]) -> None:
        name = event.get("command")
        if name == "snapshot":
            for watch in self._calls.values():
                watch.publish_snapshot()
            return
        found = self._calls.get(str(event.get("call")))
        if found is not None and isinstance(name, str):
            audio = b""
            with contextlib.suppress(binascii.Error, ValueError):
                audio = base64.b64decode(str(event.get("data", "")), validate=True)
            found.command(
                ConsoleCommand(
                    name,
                    uri=str(event.get("uri", "")),
                    agent=str(event.get("agent", "")),
                    audio=audio,
                )
            )


class LiveWatch(CallWatch):
    """Watches one call for the console."""

    def __init__(self, calls: LiveCalls) -> None:
        self._live = calls
        self._start: Start | None = None
        self._began_s = time.monotonic()
        self._listened_until_s = 0.0
        self._lines: dict[int, dict[str, Any]] = {}
        self._send: Callable[[ConsoleCommand], None] | None = None
        self._reason = ""
        self.waits_as = ""  # the handoff under which the caller waits in the queue

    def opened(self, command: Callable[[ConsoleCommand], None]) -> None:
        """See ``CallWatch``."""
        self._send = command

    def command(self, command: ConsoleCommand) -> None:
        """Put a command into the call; ``listen`` is for us and holds for a few seconds."""
        if command.command == "listen":
            self._listened_until_s = time.monotonic() + LISTEN_S
        elif self._send is not None:
            self._send(command)

    def item(self, item: object) -> None:
        """See ``CallWatch``."""
        match item:
            case Start():
                self._start = item
                self._live.add(item.call_id, self)
                self.publish_snapshot()
            case CallerAudio(payload=payload, sent=sent):
                self._audio("caller", payload)
                if sent:
                    self._audio("bot", sent)
            case SentAudio(payload=payload):
                self._audio("bot", payload)
            case Heard(final=False, text=text):
                self._publish({"event": "partial", "text": text})
            case Stats():
                quality = {
                    name: value
                    for name, value in msgspec.structs.asdict(item).items()
                    if isinstance(value, int | float)
                }
                self._publish({"event": "line", "quality": quality})
            case _:
                pass

    def said(self, turn: StoreTurn, at_ms: int) -> None:
        """See ``CallWatch``."""
        line = {"turn": turn.turn, "who": turn.who, "text": turn.text, "at_ms": at_ms}
        self._lines[turn.turn] = line
        if len(self._lines) > MAX_LINES:
            del self._lines[min(self._lines)]
        self._publish({"event": "said", **line})

    async def handoff(self, news: HandoffNews) -> None:
        """See ``CallWatch``."""
        if news.stage == "begin":
            self._callback_over("")
        if news.stage not in {"begin", "moved"}:
            self.waits_as = news.handoff_id if news.stage == _WAITING else ""
        stage = news.outcome if news.stage == "end" else news.stage
        self._publish(
            {
                "event": "handoff",
                "handoff_id": news.handoff_id,
                "stage": stage,
                "detail": news.detail,
                "code": news.code,
            }
        )
        await self._live.record(news)

    def _callback_over(self, reason: str) -> None:
        order = self._start.originated if self._start is not None else None
        callback_id = callback_of(order.request) if order is not None else None
        if callback_id is not None:
            self._live.called_back(callback_id, reason)

    def ended(self, reason: str) -> None:
        """See ``CallWatch``."""
        self._reason = reason
        worker = worker_socket_name()
        self._publish({"event": "call_ended", "reason": reason, "worker": worker})
        if self._start is not None:
            self._live.remove(self._start.call_id, self)

    def closed(self) -> None:
        """See ``CallWatch``."""
        if self._start is not None:
            self._live.close_call(self._start.call_id)
            self._callback_over(self._reason or "over")

    def publish_snapshot(self) -> None:
        """Everything so far, for a console that has just come."""
        start = self._start
        if start is None:
            return
        self._publish(
            {
                "event": "call_started",
                "worker": worker_socket_name(),
                "age_ms": int((time.monotonic() - self._began_s) * 1000),
                "caller": start.caller,
                "caller_name": start.caller_name,
                "called": start.called,
                "sip_call_id": start.sip_call_id,
                "lines": [self._lines[turn] for turn in sorted(self._lines)],
            }
        )

    def _audio(self, lane: str, payload: bytes) -> None:
        if time.monotonic() < self._listened_until_s:
            data = base64.b64encode(payload).decode()
            self._publish({"event": "audio", "lane": lane, "data": data})

    def _publish(self, event: dict[str, Any]) -> None:
        if self._start is not None:
            self._live.publish({**event, "call": self._start.call_id})
