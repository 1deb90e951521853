"""A worker dies between a prompt and a handoff: on virtual time, with the dialplan's own conversation."""

import datetime as dt

import pytest

from tests.scenario.virtual_callers import HearsTheCaller, ScriptedCaller, engines
from voicebot.config.settings import BudgetSettings, HandoffSettings, TurnSettings
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.state import CallFacts
from voicebot.link.messages import Dial, Resume, Start, Transfer, UtteranceProgress
from voicebot.worker.effects import SaveState, ToEdge
from voicebot.worker.handoff_call import HandoffCall, HandoffRules, QueueTarget
from voicebot.worker.virtual_call import VirtualCall

DESK = "sip:2000@127.0.0.1"
PLAN = load_dialplan(
    f"""
version: 1
name: t
routes:
  - {{ match: {{ to: ["*"] }}, flow: main }}
queues:
  desk: {{ sip: "{DESK}", mode: MODE }}
handoff:
  say: "One moment please."
flows:
  main:
    - menu:
        ask: "Press one for a person."
        choices:
          - {{ intent: person, dtmf: "1", examples: ["person"], goto: person }}
  person:
    - {{ handoff: desk, reason: asked }}
""".replace("MODE", "warm")
)
FACTS = CallFacts(session_id="s1", called="bank", now=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC))
ONE_MOMENT_MS = 20 * len("One moment please.")


def worker(conversation):
    rules = HandoffRules(
        HandoffSettings(), (QueueTarget("desk", (DESK,), "warm"),), may_call=lambda uri: ""
    )
    return HandoffCall(
        TurnSettings(), BudgetSettings(), HearsTheCaller(), lambda start: conversation, rules
    )


def played(caller, core, start, limit_ms):
    return VirtualCall(core, engines(), caller).run(start, limit_ms=limit_ms)


def first_ms(record, kind):
    """When the edge was first told so."""
    return next(
        (at for at, e in record.effects if isinstance(e, ToEdge) and isinstance(e.message, kind)), None
    )


def next_worker(saved, caller, *, at_edge, limit_ms=10_000):
    """What the next worker does with the call."""
    conversation = Conversation.restore(PLAN, FACTS, saved.state.conversation)
    core = worker(conversation)
    core.take_over(conversation, saved.state)
    resume = Resume(session_id="s1", generation=1, lease=1, utterances=at_edge)
    start = Start(call_id="c1", session_id="s1", answered=True, resume=resume)
    return played(caller, core, start, limit_ms)


def heard(name):
    return UtteranceProgress(utterance=name, played_ms=400, complete=True, finished=True)


def test_a_key_after_a_takeover_dials_as_soon_as_the_caller_was_told():
    """The menu's prompt ended at the old worker; nobody waits for its end again.

    Before, the new conversation waited twenty seconds for the end of a question that was never said.
    """
    start = Start(call_id="c1", session_id="s1", called="bank")
    record = played(ScriptedCaller(("wait", 2000)), worker(Conversation(PLAN, FACTS)), start, 2000)
    saved = record.of(SaveState)[-1]
    caller = ScriptedCaller(("wait", 500), ("key", "1"))
    record = next_worker(saved, caller, at_edge=(heard("u1"),))
    assert record.spoken[0] == "One moment please."
    assert 500 <= first_ms(record, Dial) <= 500 + ONE_MOMENT_MS + 200


@pytest.mark.parametrize("told", [True, False])
def test_a_takeover_while_one_moment_is_said_dials_once(told):
    """The old worker died after the key: whether or not the words reached the caller, one leg rings."""
    start = Start(call_id="c1", session_id="s1", called="bank")
    caller = ScriptedCaller(("wait", 800), ("key", "1"))
    record = played(caller, worker(Conversation(PLAN, FACTS)), start, 900)
    assert first_ms(record, Dial) is None
    saved = record.of(SaveState)[-1]
    at_edge = (heard("u1"), heard("u2")) if told else (heard("u1"),)
    record = next_worker(saved, ScriptedCaller(), at_edge=at_edge)
    assert (record.spoken[0] == "One moment please.") is not told
    assert first_ms(record, Dial) <= ONE_MOMENT_MS + 200
    dials = [e.message for e in record.of(ToEdge) if isinstance(e.message, Dial | Transfer)]
    assert len(dials) == 1


def test_a_call_whose_worker_died_during_the_last_words_is_hung_up_after_them():
    """The next worker says what is left of the goodbye, then hangs up; before, it said nothing for ever."""
    plan = load_dialplan(
        "version: 1\nname: t\nroutes: [{ match: { to: ['*'] }, flow: main }]\n"
        "flows: { main: [{ say: 'Goodbye now.', hangup: done }] }\n"
    )
    start = Start(call_id="c1", session_id="s1", called="bank")
    saved = played(ScriptedCaller(), worker(Conversation(plan, FACTS)), start, 60).of(SaveState)[-1]
    conversation = Conversation.restore(plan, FACTS, saved.state.conversation)
    core = worker(conversation)
    core.take_over(conversation, saved.state)
    resume = Resume(session_id="s1", generation=1, lease=1)
    start = Start(call_id="c1", session_id="s1", answered=True, resume=resume)
    record = played(ScriptedCaller(), core, start, 20_000)
    assert record.spoken == ["Goodbye now."]
    assert record.ended_ms is not None
