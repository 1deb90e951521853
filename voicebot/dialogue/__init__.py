"""The dialplan language and the conversation that runs it."""

from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.opening import open_conversation
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.routes import NoRoute
from voicebot.dialogue.state import CallFacts

__all__ = [
    "CallFacts",
    "CompiledDialplan",
    "Conversation",
    "NoRoute",
    "load_dialplan",
    "open_conversation",
]
