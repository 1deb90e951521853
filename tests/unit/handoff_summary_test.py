"""The language model's summary: in time and true to the facts, or not at all."""

import asyncio
import json

import msgspec
import pytest

from voicebot.config.settings import HandoffSettings
from voicebot.handoff.context import ActionDone, ContextBuilder, HandoffContext
from voicebot.handoff.llm_summary import Summariser
from voicebot.handoff.queue_store import HandoffStore
from voicebot.llm.fake import FakeChatModel
from voicebot.worker.call_watch import LiveCalls
from voicebot.worker.effects import HandoffNews

GOOD = "The caller wants to block a lost card of account 12345678."


def context():
    builder = ContextBuilder(sensitive=frozenset({"passcode"}))
    builder.turn("caller", "I lost my card", 900, intent="block_card", slots={"account": "12345678"})
    builder.turn("caller", "it is 7391", 1900, slots={"passcode": "7391"})
    builder.action("check_passcode", "ok", 2500)
    base = HandoffContext(handoff_id="h1", call_id="c1", queue="general", reason="asked")
    return builder.build(base)


def answer(text):
    return json.dumps({"summary": text})


async def test_the_model_sees_facts_and_nothing_sensitive():
    """Neither the passcode nor the caller's number is in the request; what was done is."""
    model = FakeChatModel([answer(GOOD)])
    assert await Summariser(model, 500).summarise(context()) == GOOD
    sent = " ".join(m.content for m in model.requests[0].messages)
    assert "7391" not in sent and "block_card" in sent and "check_passcode" in sent
    assert model.requests[0].deadline_ms == 500


@pytest.mark.parametrize(
    "said",
    ["no json", '{"summary": 3}', "{}", answer("The balance is 99 pounds."), answer("Call 0900 1234.")],
)
async def test_what_is_no_summary_or_names_new_numbers_is_thrown_away(said):
    assert await Summariser(FakeChatModel([said]), 500).summarise(context()) == ""


async def test_control_characters_and_length_are_cut():
    text = await Summariser(FakeChatModel([answer("a\x1b[m\nb" + " x" * 400)]), 500).summarise(context())
    assert text.startswith("a [m b") and len(text) <= 400


async def test_a_late_model_leaves_the_composed_summary():
    assert await Summariser(FakeChatModel([answer(GOOD)], delay_ms=50), 10).summarise(context()) == ""


class Watch:
    waits_as = ""

    def __init__(self):
        self.commands = []

    def command(self, command):
        self.commands.append(command)


async def test_a_better_summary_reaches_record_and_call(tmp_path):
    """The caller is in the queue at once, with the composed one."""
    model = FakeChatModel([answer(GOOD)])
    live = LiveCalls(tmp_path, HandoffSettings(), summariser=Summariser(model, 500))
    live._store = store = HandoffStore(tmp_path)
    live.add("c1", watch := Watch())
    await live.record(HandoffNews("h1", "begin", context=context()))
    async with asyncio.timeout(5):
        while live._tasks:
            await asyncio.sleep(0.01)
    row = store.get("h1")
    assert row.context == msgspec.structs.replace(context(), summary=GOOD)
    assert row.context.actions == (ActionDone(tool="check_passcode", outcome="ok", at_ms=2500),)
    assert [(c.command, c.text) for c in watch.commands] == [("summary", GOOD)]
