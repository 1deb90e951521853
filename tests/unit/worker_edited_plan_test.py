"""A call is taken over by a worker whose dialplan is another: it goes on or begins anew, and never fails."""

import datetime as dt

import pytest

from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.events import DigitPressed, PromptFinished
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.state import CallFacts
from voicebot.link.messages import Start
from voicebot.worker.effects import CallState
from voicebot.worker.plan_shelf import PlanInUse

NOW = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
FACTS = CallFacts(session_id="s1", called="bank", now=NOW)
START = Start(call_id="c1", session_id="s1", called="bank")
PLAN = """
version: 1
name: t
routes: [{ match: { to: ["bank"] }, flow: main }]
slots:
  pin: { type: digits, length: 4, sensitive: true, input: [dtmf], ask: "Your code?" }
queues: { desk: { sip: "sip:1@127.0.0.1" } }
flows:
  main:
    - menu: { ask: "What?", choices: [{ intent: code, dtmf: "1", examples: [code], goto: code }, { intent: desk, dtmf: "2", examples: [desk], goto: person }] }
  code: [{ collect: pin }, { say: "Thanks.", hangup: done }]
  person: [{ handoff: desk, reason: asked }]
"""


def stored(*keys):
    """What the last worker left."""
    conversation = Conversation(load_dialplan(PLAN), FACTS)
    conversation.start()
    for key in keys:
        conversation.handle(DigitPressed(digit=key))
    for n in range(1, 5):
        conversation.handle(PromptFinished(utterance=f"u{n}"))
    return CallState(conversation=conversation.snapshot())


def restored(text, state):
    return PlanInUse(load_dialplan(text), None, NOW).restore(START, state)


@pytest.mark.parametrize("keys", ["", "1", "2"])
def test_a_plan_whose_texts_were_edited_goes_on(keys):
    conversation = restored(PLAN.replace("What?", "What then?"), stored(*keys))
    assert conversation is not None
    assert conversation.snapshot()["turns"] == stored(*keys).conversation["turns"]


EDITS = {
    "flow renamed": ("1", "code: [{ collect", "kode: [{ collect"),
    "steps moved": ("1", "code: [{ collect: pin }, {", "code: [{"),
    "slot renamed": ("1", "pin", "pim"),
    "queue renamed": ("2", "desk: { sip", "desks: { sip"),
    "number moved": ("", '["bank"]', '["post"]'),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_place_that_is_not_there_any_more_is_not_gone_on_from(edit):
    """Before, the worker failed in it, and so did the next: the caller was hung up."""
    keys, old, new = EDITS[edit]
    text = PLAN.replace(old, new)
    for a, b in (
        ("goto: code", "goto: kode"),
        ("collect: pin", "collect: pim"),
        ("handoff: desk", "handoff: desks"),
    ):
        text = text.replace(a, b) if b.split()[1] + ":" in text else text
    assert restored(text, stored(*keys)) is None


def test_a_state_of_another_version_is_not_gone_on_from():
    assert restored(PLAN, CallState(conversation={"frames": "?"})) is None
