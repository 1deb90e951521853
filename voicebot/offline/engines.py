"""The worker's real engines, called in line: no thread, no deadline, no influence of the load."""

import asyncio
import datetime as dt
from dataclasses import dataclass

from voicebot.asr.build import build_factory
from voicebot.asr.protocol import RecogniserFactory
from voicebot.config.settings import Settings
from voicebot.core.delivery import Delivery
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import AskRouter, CallTool
from voicebot.dialogue.events import RouteFinished, ToolFinished
from voicebot.dialogue.library import PlanLibrary
from voicebot.dialogue.manner import PLAIN
from voicebot.dialogue.services import DialogueServices
from voicebot.handoff.hold_music import hold_music
from voicebot.llm.build import build_chat_model
from voicebot.tts.build import build_renderer
from voicebot.tts.repeatable import seed
from voicebot.turn.voice_activity import VoiceActivity
from voicebot.worker.handoff_call import HOLD_MUSIC, HandoffCall
from voicebot.worker.handoff_rules import handoff_rules
from voicebot.worker.hearing import InlineEars, InlineTurn
from voicebot.worker.plan_shelf import PlanInUse
from voicebot.worker.speaking import spoken
from voicebot.worker.virtual_call import VirtualCall, VirtualEngines


@dataclass(frozen=True, slots=True)
class Latencies:
    """What the engines of an offline call pretend to need, in ms: medians of an idle machine.

    Attributes:
        asr_ms: From the end of a turn to its final result.
        tts_ms: From a text to its first audio.
        tool_ms: From a question to a tool or to the language model to its answer.
    """

    asr_ms: int = 5
    tts_ms: int = 10
    tool_ms: int = 5


class OfflineBot:
    """Models, voices and dialplan of one process, lent to its calls one after the other.

    Args:
        settings: Of the bot.
        latencies: Of the engines.

    Raises:
        ConfigError: The dialplan or a model directory cannot be used.
        SynthesisError: No voice can speak.
    """

    def __init__(self, settings: Settings, latencies: Latencies) -> None:
        self.settings = settings
        self._latencies = latencies
        self._loop = asyncio.new_event_loop()
        model = build_chat_model(settings.llm)
        self._plan = PlanLibrary(settings.dialplan).plan
        self._services = DialogueServices(self._plan, model, allowed_hosts=settings.tools.allowed_hosts)
        # Live, a voice that falls behind is replaced by the next one; here time stands still for it.
        self._renderer = build_renderer(settings.tts, clock=lambda: 0.0, repeatable=True)
        self._factory: RecogniserFactory = build_factory(settings.asr)
        self.plan_name = self._plan.name
        self.description = f"{self.plan_name}; {self._factory.description}"

    def call(self, now: dt.datetime) -> VirtualCall:
        """A call that begins at this time of day."""
        plan, settings, latencies = self._plan, self.settings, self._latencies

        used = PlanInUse(plan, self._services, now)
        core = HandoffCall(
            settings.turn,
            settings.budget,
            VoiceActivity(quiet_dbov=settings.turn.quiet_dbov),
            used.open,
            handoff_rules(settings, plan, now),
        )

        ears = InlineEars(self._factory)

        def recognise(expectation: Expectation) -> InlineTurn:
            seed("turn")
            return ears.recognise(expectation)

        def call_tool(call: CallTool) -> ToolFinished:
            return self._loop.run_until_complete(self._services.call_tool(call))

        def ask_router(ask: AskRouter) -> RouteFinished:
            return self._loop.run_until_complete(self._services.ask_router(ask))

        engines = VirtualEngines(
            recognise=recognise,
            synthesise=self._synthesise,
            call_tool=call_tool,
            ask_router=ask_router,
            asr_final_ms=latencies.asr_ms,
            synthesis_ms=latencies.tts_ms,
            tool_ms=latencies.tool_ms,
        )
        return VirtualCall(core, engines)

    def _synthesise(self, text: str, delivery: Delivery) -> bytes:
        plan = self._plan
        if delivery.voice == HOLD_MUSIC:
            return hold_music()
        if not delivery.locale:  # not the plan's own words: its plain voice says them
            delivery = plan.delivery(PLAIN, plan.locale)
        return spoken(self._renderer, text, delivery, plan.lexicon)

    def close(self) -> None:
        """Close the tools' connections."""
        self._loop.run_until_complete(self._services.close())
        self._loop.close()
