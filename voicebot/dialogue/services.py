"""What conversations of one plan ask of the outside, as a worker lends it to its calls."""

from voicebot.dialogue.actions import AskRouter, CallTool
from voicebot.dialogue.events import RouteFinished, ToolFinished
from voicebot.dialogue.grounded_answers import GroundedAnswers, Sentences
from voicebot.dialogue.llm_router import LlmRouter
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.tool_client import ToolClient, unheard
from voicebot.llm.protocol import ChatModel


class DialogueServices:
    """Tools and language model for one plan.

    Args:
        plan: The program.
        model: Language model; None: the local router's view stands, ``answer_from`` tools fail.
        allowed_hosts: Hosts that tools may reach, see ``ToolClient``.
    """

    def __init__(
        self,
        plan: CompiledDialplan,
        model: ChatModel | None = None,
        *,
        allowed_hosts: tuple[str, ...] = (),
    ) -> None:
        answers = GroundedAnswers(model, plan.locale) if model is not None else None
        self.tools = ToolClient(plan.source, allowed_hosts=allowed_hosts, answers=answers)
        self.router = LlmRouter(model, plan) if model is not None else None

    async def call_tool(self, call: CallTool, said: Sentences = unheard) -> ToolFinished:
        """Run a tool; never raises for what a server does. ``said`` gets an answer's sentences."""
        return await self.tools.run(call, said)

    def may_repeat(self, call: CallTool) -> bool:
        """See ``ToolClient.may_repeat``."""
        return self.tools.may_repeat(call)

    async def ask_router(self, ask: AskRouter) -> RouteFinished:
        """Let the language model choose, if there is one."""
        if self.router is None:
            return RouteFinished(request=ask.request, intent=None)
        return await self.router.ask(ask)

    async def close(self) -> None:
        """Close the tools' connections (the model belongs to whoever made it)."""
        await self.tools.close()
