"""The dialplan that new calls get, read again when its file changes; calls under way keep theirs."""

import asyncio
import contextlib
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Final

import msgspec

from voicebot.core.errors import ConfigError
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.known_ground import may_go_on
from voicebot.dialogue.library import PlanLibrary
from voicebot.dialogue.opening import open_conversation, open_ring_back
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.routes import NoRoute, select_route
from voicebot.dialogue.services import DialogueServices
from voicebot.dialogue.state import CallFacts, ConversationState
from voicebot.link.messages import Start
from voicebot.llm.protocol import ChatModel
from voicebot.telemetry.log import get_logger
from voicebot.worker.call_core import Dialogue
from voicebot.worker.effects import CallState

RELOAD_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class PlanInUse:
    """One version of the dialplan and what it needs of the outside; a call keeps its version."""

    plan: CompiledDialplan
    services: DialogueServices
    at: dt.datetime | None

    def open(self, start: Start) -> Dialogue | None:
        """The conversation of a new call; None when no route matches."""
        conversation = open_conversation(self.plan, self._facts(start))
        return None if isinstance(conversation, NoRoute) else conversation

    def offer(self, start: Start, state: CallState) -> Dialogue | None:
        """The conversation that offers to go on from a call that was cut off; None when it cannot."""
        return open_ring_back(self.plan, self._facts(start), state.conversation)

    @property
    def ring_back_s(self) -> float:
        """How long after a call that was cut off its caller may go on; 0: never."""
        rule = self.plan.source.defaults.ring_back
        return rule.within / 1000 if rule.offer else 0.0

    def recognisers(self, start: Start) -> tuple[str, ...]:
        """Names of the model that should hear this call: the route's own, then the language."""
        route = select_route(self.plan.source, self._facts(start))
        named = (route.recogniser,) if route is not None and route.recogniser else ()
        return (*named, self.plan.source.locale)

    def restore(self, start: Start, state: CallState) -> Dialogue | None:
        """The conversation that another worker began.

        Returns:
            None when it cannot go on here: the file was edited meanwhile, or that worker was of another
            version.
        """
        try:
            stored = msgspec.convert(state.conversation, ConversationState)
            if not may_go_on(self.plan, stored):
                return None
            return Conversation(self.plan, self._facts(start), state=stored)
        except (LookupError, msgspec.ValidationError):
            return None

    def now(self) -> dt.datetime:
        """The moment at which a call that comes in takes place."""
        return self.at or dt.datetime.now(tz=dt.UTC)

    def _facts(self, start: Start) -> CallFacts:
        return CallFacts(
            session_id=start.session_id,
            caller=start.caller,
            called=start.called,
            trunk=start.trunk or start.source_address,
            headers=start.headers,
            now=self.now(),
            callback=start.originated.queue if start.originated is not None else "",
        )


class PlanShelf:
    """The dialplan for new calls; a changed file is read again beside the calls.

    Args:
        library: Reads the file.
        model: Language model, or None.
        allowed_hosts: Hosts that tools may reach.
        at: The moment at which every call takes place, to try opening hours; None for the real time.
    """

    def __init__(
        self,
        library: PlanLibrary,
        model: ChatModel | None,
        allowed_hosts: tuple[str, ...],
        at: dt.datetime | None = None,
    ) -> None:
        self._library = library
        self._model = model
        self._allowed_hosts = allowed_hosts
        self._at = at
        self._shelf: list[PlanInUse] = []
        self._calls: Counter[int] = Counter()
        self._add()

    @property
    def latest(self) -> PlanInUse:
        """What a new call gets."""
        return self._shelf[-1]

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[PlanInUse]:
        """The latest version, for one call; an old version is closed when its last call is over."""
        used = self.latest
        self._calls[id(used)] += 1
        try:
            yield used
        finally:
            self._calls[id(used)] -= 1
            await self._close_unused()

    async def watch(self, prepare: Callable[[CompiledDialplan], None]) -> None:
        """Look at the file every second, for ever.

        Args:
            prepare: Told of each new version, so that its fixed prompts are rendered beside the calls.
        """
        log = get_logger()
        rejected: str | None = None
        while True:
            await asyncio.sleep(RELOAD_S)
            if await asyncio.to_thread(self._library.refresh):
                self._add()
                await self._close_unused()
                prepare(self.latest.plan)
                log.info("dialplan_reloaded", version=self._library.version)
            problem = str(self._library.rejected) if self._library.rejected else None
            if problem is not None and problem != rejected:
                log.error("dialplan_rejected", reason=problem)
            rejected = problem

    async def close(self) -> None:
        """Close the connections of all versions."""
        for used in self._shelf:
            await used.services.close()

    async def _close_unused(self) -> None:
        unused = [used for used in self._shelf[:-1] if not self._calls[id(used)]]
        self._shelf = [used for used in self._shelf if not any(used is old for old in unused)]
        for old in unused:
            del self._calls[id(old)]
            await old.services.close()

    def _add(self) -> None:
        plan = self._library.plan
        services = DialogueServices(plan, self._model, allowed_hosts=self._allowed_hosts)
        self._shelf.append(PlanInUse(plan, services, self._at))


def check_recognisers(plan: CompiledDialplan, models: Collection[str]) -> None:
    """Make sure that the models which the routes name are there.

    Raises:
        ConfigError: A route names a model that the settings do not.
    """
    for route in plan.source.routes:
        if route.recogniser and route.recogniser not in models:
            raise ConfigError(
                f"a route of the dialplan wants the recogniser {route.recogniser!r}: name its model "
                "directory in asr.models",
                key="asr.models",
            )
