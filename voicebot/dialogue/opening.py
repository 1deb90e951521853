"""A call comes in: a conversation for it, or none."""

from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.routes import NoRoute, select_route
from voicebot.dialogue.state import CallFacts


def open_conversation(plan: CompiledDialplan, call: CallFacts) -> Conversation | NoRoute:
    """The conversation for a call; ``NoRoute`` when the plan has no route for it."""
    if select_route(plan.source, call) is None:
        return NoRoute(call.called)
    return Conversation(plan, call)
