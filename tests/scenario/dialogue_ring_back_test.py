"""A call was cut off by a fault of ours and its caller rings back: he may go on where he was."""

import asyncio
import datetime as dt
from pathlib import Path

import msgspec
import pytest

from tests.scenario.virtual_callers import HearsTheCaller, ScriptedCaller, engines
from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.core.endings import EDGE_DIED
from voicebot.dialogue import CallFacts, Conversation, load_dialplan
from voicebot.dialogue.events import ToolFinished
from voicebot.dialogue.fixtures import FixtureTools
from voicebot.dialogue.opening import open_ring_back
from voicebot.dialogue.text_call import TextCall
from voicebot.link.messages import Start
from voicebot.session.call_detail_record import CallDetailLog
from voicebot.session.memory_store import MemorySessionStore
from voicebot.session.records import SessionEnding, utc_text
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import SaveState
from voicebot.worker.journal import CallJournal
from voicebot.worker.virtual_call import VirtualCall

PLAN = load_dialplan(Path(__file__).parents[2] / "dialplans" / "bank.yaml")
OFFER = "Your last call was cut off. Shall we go on where we were?"
PASSCODE = "Now your four digit passcode, on the keypad please."


def facts(session_id="s2", **more):
    return CallFacts(
        session_id=session_id,
        called="bank",
        caller="+442071234567",
        now=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC),
        **more,
    )


def call_of(conversation, plan=PLAN):
    call = TextCall(conversation, FixtureTools(plan.source).run)
    call.start()
    return call


def cut_off_after(*keys, plan=PLAN):
    """The memory of a call that died after these keys, as it comes out of a store."""
    call = call_of(Conversation(plan, facts("s1")), plan)
    for each in keys:
        call.press(each)
    return msgspec.json.decode(msgspec.json.encode(call.conversation.snapshot()))


def ring_back(snapshot, plan=PLAN):
    conversation = open_ring_back(plan, facts(), snapshot)
    return None if conversation is None else call_of(conversation, plan)


def test_the_offer_comes_after_the_disclosure_and_yes_asks_the_same_question_again():
    call = ring_back(cut_off_after("1", "12345678"))
    assert "automated assistant" in call.said[0]
    assert call.said[1:] == [OFFER]
    assert call.say("yes please") == [PASSCODE]
    assert "forty two pounds" in call.press("4321")[0]
    assert call.say("no") == ["Thank you for calling First Bank. Goodbye."]


def test_no_begins_anew_and_forgets_what_was_said():
    call = ring_back(cut_off_after("1", "12345678"))
    assert call.press("2")[-1] == "How can I help?"
    assert call.press("1") == ["Please say or key in your eight digit account number."]
    assert "12345678" not in str(call.conversation.snapshot())


@pytest.mark.parametrize("answer", ["what", ""])
def test_who_does_not_answer_is_served_as_if_nothing_had_been(answer):
    call = ring_back(cut_off_after("1", "12345678"))
    for _ in range(3):
        said = call.say(answer) if answer else call.wait()
    assert said[-1] == "How can I help?"
    assert not call.transfers


def test_who_was_identified_is_identified_again():
    """The passcode is asked for again before anything else; a wrong one does not lead on."""
    snapshot = cut_off_after("3", "12345678", "4321", "1")
    assert snapshot["variables"]["verified"] is True
    assert "4321" not in str(snapshot)
    call = ring_back(snapshot)
    assert call.press("1") == [PASSCODE]
    assert call.press("9999") == ["That passcode is not right.", PASSCODE]
    said = call.press("4321")
    assert said == ["I will block your card now, and it cannot be used any more. Is that right?"]
    assert (
        call.press("1")[0] == "Your card is blocked. The reference is bee as in Bravo, one, zero, zero."
    )


def test_three_wrong_passcodes_end_at_the_fraud_desk_and_not_behind_the_gate():
    call = ring_back(cut_off_after("3", "12345678", "4321", "1"))
    call.press("1")
    for _ in range(3):
        call.press("9999")
    assert [t.reason for t in call.transfers] == ["auth_failed"]


def test_a_call_that_dies_again_keeps_the_first_one():
    """Cut off while the offer is made, and while the passcode is asked for again."""
    snapshot = cut_off_after("3", "12345678", "4321", "1")
    for keys in ((), ("1",)):
        call = ring_back(snapshot)
        for each in keys:
            call.press(each)
        again = ring_back(call.conversation.snapshot())
        assert again.said[1:] == [OFFER]
        assert again.press("1") == [PASSCODE]
        assert again.press("4321")[-1].startswith("I will block your card")


def test_another_worker_takes_over_in_the_middle_of_the_offer():
    call = ring_back(cut_off_after("1", "12345678"))
    snapshot = msgspec.json.decode(msgspec.json.encode(call.conversation.snapshot()))
    taken_over = TextCall(Conversation.restore(PLAN, facts(), snapshot), FixtureTools(PLAN.source).run)
    taken_over.conversation.resume()
    assert taken_over.say("yes") == [PASSCODE]


def plan_of(flows, more=""):
    return load_dialplan(
        f"""
version: 1
name: t
routes:
  - {{ match: {{ to: ["*"] }}, flow: main }}
slots:
  card: {{ type: digits, length: 4, ask: "Your card?", sensitive: true, input: [dtmf] }}
  sure: {{ type: yes_no, ask: "Are you sure?" }}
tools:
  pay: {{ post: "http://127.0.0.1:1/pay", send: [] }}
  look: {{ get: "http://127.0.0.1:1/look", send: [] }}
{more}
flows:
{flows}
"""
    )


HANGS = "\n    - collect: sure\n    - hangup: done"


@pytest.mark.parametrize(("tool", "offered"), [("pay", False), ("look", True)])
def test_a_tool_that_changes_something_is_not_called_on_suspicion(tool, offered):
    plan = plan_of(f"  main:\n    - collect: sure\n    - call: {tool}{HANGS}")
    dying = Conversation(plan, facts("s1"))
    call = TextCall(dying, lambda _: ToolFinished(request="another", outcome="ok"))
    call.start()
    call.press("1")
    snapshot = dying.snapshot()
    assert snapshot["wait"]["kind"] == "tool"
    assert (open_ring_back(plan, facts(), snapshot) is not None) is offered


def test_a_secret_that_no_gate_asks_for_again_ends_the_matter():
    plan = plan_of(f"  main:\n    - collect: card{HANGS}")
    assert ring_back(cut_off_after(plan=plan), plan) is not None  # it was not given yet
    assert ring_back(cut_off_after("1234", plan=plan), plan) is None


def test_a_yes_to_the_offer_is_no_yes_to_the_question():
    plan = plan_of(f"  main:{HANGS}")
    call = ring_back(cut_off_after(plan=plan), plan)
    assert call.say("yes") == ["Are you sure?"]
    assert not call.ended


@pytest.mark.parametrize(
    "change",
    [
        {"frames": [{"block": "gone", "index": 0}]},
        {"wait": None},
        {"over": True},
        {"frames": 7},
        {"wait": {"kind": "menu", "block": "main", "index": 99}},
    ],
)
def test_a_memory_that_does_not_fit_the_plan_is_not_offered(change):
    assert ring_back({**cut_off_after("1"), **change}) is None


def test_a_plan_can_do_without():
    plan = load_dialplan("defaults: { ring_back: { offer: false } }\n" + plan_text())
    assert ring_back(cut_off_after(plan=plan), plan) is None


def plan_text():
    return (
        "version: 1\nname: t\nroutes: [{ match: { to: ['*'] }, flow: main }]\n"
        "slots: { sure: { type: yes_no, ask: 'Are you sure?' } }\n"
        "flows: { main: [{ collect: sure }, { hangup: done }] }\n"
    )


# ---------------------------------------------------------------- the store, and the whole call core

BROKEN = SessionEnding(ended_at=utc_text(1000.0), ended_by="supervisor", reason=EDGE_DIED)


def start_of(session_id, caller="+441234", called="bank"):
    return Start(call_id=f"c-{session_id}", session_id=session_id, caller=caller, called=called)


async def journal_of(store, folder, start, *, at_s=1100.0, plan="bank", within_s=600.0):
    journal = CallJournal(
        store, CallDetailLog(folder), plan, ring_back_s=within_s, wall_clock_s=lambda: at_s
    )
    await journal.started(start)
    return journal


async def left_behind(store, folder, state, ending=BROKEN, **start):
    """A call in the store that ended so."""
    first = start_of("s1", **start)
    journal = await journal_of(store, folder, first, at_s=900.0)
    await journal.state(SaveState(1, state))
    if ending is not None:
        await store.end_session("s1", ending)


def saved_state():
    """What the core of a call wrote last before it died: one key into the menu of the bank."""
    core = CallCore(
        TurnSettings(), BudgetSettings(), HearsTheCaller(), lambda s: Conversation(PLAN, facts("s1"))
    )
    caller = ScriptedCaller(("wait", 500), ("key", "1"))
    record = VirtualCall(core, engines(), caller).run(start_of("s1"), limit_ms=20_000)
    return record.of(SaveState)[-1].state


@pytest.fixture(scope="module")
def state():
    return saved_state()


CASES = {
    "the same caller": ({}, {}, BROKEN, True),
    "somebody else": ({}, {"caller": "+449999"}, BROKEN, False),
    "another number was called": ({}, {"called": "clinic"}, BROKEN, False),
    "nobody knows who rings": ({"caller": "anonymous"}, {"caller": "anonymous"}, BROKEN, False),
    "no number at all": ({"caller": ""}, {"caller": ""}, BROKEN, False),
    "he hung up": (
        {}, {}, SessionEnding(ended_at=utc_text(1000), ended_by="caller", reason="x"), False,
    ),
    "the plan said so": (
        {}, {}, SessionEnding(ended_at=utc_text(1000), ended_by="bot", reason=EDGE_DIED), False,
    ),
    "it has not ended": ({}, {}, None, False),
    "long ago": (
        {}, {}, SessionEnding(ended_at=utc_text(400), ended_by="supervisor", reason=EDGE_DIED), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_is_offered_to_go_on(case, state, tmp_path):
    first, second, ending, offered = CASES[case]

    async def look():
        store = MemorySessionStore()
        await left_behind(store, tmp_path, state, ending, **first)
        start = start_of("s2", **second)
        journal = await journal_of(store, tmp_path, start)
        return await journal.cut_off(start)

    assert (asyncio.run(look()) is not None) is offered


def test_a_later_call_that_went_well_ends_the_matter(state, tmp_path):
    async def look():
        store = MemorySessionStore()
        await left_behind(store, tmp_path, state)
        await journal_of(store, tmp_path, start_of("s2"), at_s=1050.0)
        good = SessionEnding(ended_at=utc_text(1060), ended_by="caller", reason="hung up")
        await store.end_session("s2", good)
        start = start_of("s3")
        return await (await journal_of(store, tmp_path, start)).cut_off(start)

    assert asyncio.run(look()) is None


def test_the_whole_call_goes_on(state):
    """Through the call's own core on virtual time: offer, key, question of the call before."""
    core = CallCore(TurnSettings(), BudgetSettings(), HearsTheCaller(), lambda _start: None)
    core.begin_with(open_ring_back(PLAN, facts(), state.conversation))
    caller = ScriptedCaller(("wait", 500), ("key", "1"))
    record = VirtualCall(core, engines(), caller).run(start_of("s2"), limit_ms=20_000)
    assert record.answered_ms is not None
    assert record.spoken[-1] == "Please say or key in your eight digit account number."
