"""A call comes in: a conversation for it, or none."""

from collections.abc import Mapping
from typing import Any

from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.ring_back import place_to_go_on
from voicebot.dialogue.routes import NoRoute, select_route
from voicebot.dialogue.state import CallFacts, ConversationState, Frame


def open_conversation(plan: CompiledDialplan, call: CallFacts) -> Conversation | NoRoute:
    """The conversation for a call; ``NoRoute`` when the plan has no route for it."""
    if select_route(plan.source, call) is None:
        return NoRoute(call.called)
    return Conversation(plan, call)


def open_ring_back(
    plan: CompiledDialplan, call: CallFacts, snapshot: Mapping[str, Any]
) -> Conversation | None:
    """The conversation that offers to go on from ``snapshot``; None when nothing can be offered."""
    route = select_route(plan.source, call)
    earlier = place_to_go_on(plan, snapshot) if route is not None else None
    if route is None or earlier is None:
        return None
    state = ConversationState(frames=[Frame(route.flow)], variables=dict(route.vars), earlier=earlier)
    return Conversation(plan, call, state=state)
