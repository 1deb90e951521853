"""Line 27 of the fault list inside a dialogue: whatever the server of the model does, the menu goes on.

That the caller hears something within 0.9 s meanwhile, however late the answer, is ``test_slow_outside``.
"""

import asyncio

import pytest

from tests.scenario.dialogue_bank_test import FACTS
from tests.scenario.dialogue_injection_test import PLAN
from tests.unit.llm_client_test import DRIP, STALL, WHOLE_FAULTS, Server, chunk, model_at, sse_head
from voicebot.dialogue import Conversation
from voicebot.dialogue.actions import CallTool, TransferCall
from voicebot.dialogue.fixtures import FixtureTools
from voicebot.dialogue.llm_router import LlmRouter
from voicebot.dialogue.text_call import TextCall

HALF_A_TOOL_CALL = '{"choices":[{"message":{"tool_calls":[{"function":{"name":"block_card","argum'
FAULTS = {
    **WHOLE_FAULTS,
    "keep_alive_drip": [sse_head(), DRIP],
    "half_a_tool_call": [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        chunk(HALF_A_TOOL_CALL),
        STALL,
    ],
}
UNCLEAR = "hm well the thing with the stuff in it"


def over_http(script):
    """Asks a scripted server, over a connection of its own; None: nobody listens."""

    async def ask(question):
        async with Server(script) as server:
            model = model_at(server)
            try:
                return await LlmRouter(model, PLAN).ask(question)
            finally:
                await model.close()

    return lambda question: asyncio.run(ask(question))


@pytest.mark.parametrize("name", FAULTS)
def test_after_any_fault_of_the_server_the_caller_is_asked_again_and_served(name):
    call = TextCall(
        Conversation(PLAN, FACTS), FixtureTools(PLAN.source).run, router=over_http(FAULTS[name])
    )
    call.start()
    said = call.say(UNCLEAR)
    assert said[0].startswith(("Sorry, I didn't catch that.", "Did you say"))
    assert not [a for a in call.actions if isinstance(a, CallTool | TransferCall)]
    if said[0].startswith("Did"):
        call.say("no")
    assert "account number" in " ".join(call.say("my balance"))
