"""Whatever happens to a conversation, in whatever order: it never fails, hangs or forgets itself."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenario.dialogue_bank_test import FACTS
from voicebot.dialogue import Conversation, load_dialplan
from voicebot.dialogue.actions import Action, AskRouter, CallTool, HangUp, Listen, TransferCall
from voicebot.dialogue.events import (
    CallerHungUp,
    CallerSaid,
    DigitPressed,
    NoInput,
    PromptFinished,
    PromptInterrupted,
    RouteFinished,
    TimerExpired,
    ToolFinished,
    TransferFinished,
)

DIALPLANS = Path(__file__).parents[2] / "dialplans"
PLANS = {p.stem: load_dialplan(p) for p in sorted(DIALPLANS.glob("*.yaml"))}

WORDS = st.sampled_from(
    [
        "balance", "block my card", "yes", "no", "no i said one", "one two three four", "five six seven eight",
        "agent", "help", "go back", "cancel", "repeat", "smith", "tomorrow", "at ten", "friday at noon", "lost",
        "", "um", "one hundred", "the weather", "track a parcel and cancel", "chest pain", "yesterday",
    ]
)  # fmt: skip
REQUEST = st.integers(1, 12).map(lambda n: f"r{n}")
UTTERANCE = st.integers(1, 30).map(lambda n: f"u{n}")
EVENTS = st.one_of(
    st.builds(CallerSaid, text=WORDS, confidence=st.sampled_from([0.0, 0.5, 1.0])),
    st.builds(CallerSaid, text=st.text(max_size=30)),
    st.builds(DigitPressed, digit=st.sampled_from("0123456789*#ABCD")),
    st.builds(NoInput),
    st.builds(PromptFinished, utterance=UTTERANCE),
    st.builds(PromptInterrupted, utterance=UTTERANCE, played_ms=st.integers(0, 9999)),
    st.builds(
        TimerExpired,
        timer=st.sampled_from(["inter_digit", "filler", "tool", "handoff", "router", "other"]),
    ),
    st.builds(
        ToolFinished,
        request=REQUEST,
        outcome=st.sampled_from(["ok", "denied", "error", "timeout", "strange"]),
        values=st.dictionaries(
            st.sampled_from(["amount", "as_of", "status", "offered_time", "booking", "evil"]),
            st.sampled_from(["42.10 GBP", "2026-11-23T09:58", "10:30", "x", 5, None, True]),
        ),
    ),
    st.builds(
        RouteFinished,
        request=REQUEST,
        intent=st.sampled_from(["balance", "agent", "evil", None]),
        confidence=st.floats(0, 1),
    ),
    st.builds(
        TransferFinished,
        request=REQUEST,
        outcome=st.sampled_from(["bridged", "returned", "voicemail", "failed"]),
    ),
)


def json_copy(conversation, plan):
    state = msgspec.json.decode(msgspec.json.encode(conversation.snapshot()))
    return Conversation.restore(plan, FACTS, state)


@pytest.mark.parametrize("name", PLANS)
@settings(max_examples=60, deadline=None)
@given(events=st.lists(EVENTS, max_size=25), cut=st.integers(0, 24))
def test_no_order_of_events_breaks_a_conversation(name, events, cut):
    plan = PLANS[name]
    conversation = Conversation(plan, FACTS)
    actions = conversation.start()
    tools = {CallTool: 0, TransferCall: 0, AskRouter: 0}
    queues = {q.sip for q in plan.source.queues.values()}
    for number, event in enumerate(events):
        if number == cut:
            conversation = json_copy(conversation, plan)
            actions = conversation.resume()
        over = conversation.over
        actions = conversation.handle(event)
        assert all(isinstance(a, Action) for a in actions)
        assert not (over and actions)
        # it always waits for somebody, or has hung up
        assert conversation.over or conversation.snapshot()["wait"] is not None
        assert sum(isinstance(a, Listen) for a in actions) <= 2
        for action in actions:
            if isinstance(action, TransferCall):
                assert action.uri in queues
            if type(action) in tools:
                tools[type(action)] += 1
        if conversation.over and actions:
            assert isinstance(actions[-1], HangUp)
    json_copy(conversation, plan)
    assert conversation.handle(CallerHungUp()) == []
    assert conversation.handle(CallerSaid(text="balance")) == []
