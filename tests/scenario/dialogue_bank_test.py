"""The bank's dialplan as a caller meets it: every event by hand, virtual time, no loop."""

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from voicebot.dialogue import CallFacts, Conversation, NoRoute, load_dialplan, open_conversation
from voicebot.dialogue.actions import (
    CallTool,
    HangUp,
    Listen,
    PauseRecording,
    Speak,
    StartTimer,
    StoreTurn,
    TransferCall,
)
from voicebot.dialogue.events import (
    CallerHungUp,
    CallerSaid,
    DigitPressed,
    PromptFinished,
    PromptInterrupted,
    TimerExpired,
    ToolFinished,
    TransferFinished,
)
from voicebot.dialogue.fixtures import FixtureTools
from voicebot.dialogue.text_call import TextCall

PLAN = load_dialplan(Path(__file__).parents[2] / "dialplans" / "bank.yaml")
FACTS = CallFacts(
    session_id="s1",
    called="bank",
    caller="+442071234567",
    now=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC),
)


def open_call(**options):
    call = TextCall(Conversation(PLAN, FACTS), FixtureTools(PLAN.source).run, **options)
    call.start()
    return call


def of(kind, actions):
    return [a for a in actions if isinstance(a, kind)]


def test_greeting_discloses_the_machine_and_listens_for_the_menu():
    call = open_call()
    assert "automated assistant" in call.said[0]
    assert call.said[-1] == "How can I help?"
    assert "balance" in call.listening.expectation.phrases
    assert "agent" in call.listening.expectation.complete
    assert call.listening.no_input_ms == 6000


def test_the_balance_call_by_speech():
    call = open_call()
    call.say("balance")
    assert call.listening.expectation.kind == "digits"
    assert call.listening.expectation.max_digits == 8
    said = call.say("one two three four five six seven eight")
    assert said[0] == "One two three four, five six seven eight."
    assert (
        call.press("4321")[0]
        == "Your balance is forty two pounds and ten pence, as of nine fifty eight a m."
    )
    assert call.say("no") == ["Thank you for calling First Bank. Goodbye."]
    assert call.ended == "completed"


def test_the_balance_call_by_keypad():
    call = open_call()
    for keys in ("1", "12345678", "4321"):
        said = call.press(keys)
    assert "forty two pounds" in said[0]
    call.press("9")
    assert call.ended == "completed"


def test_who_comes_back_from_a_handoff_need_not_say_anything_again():
    """Identified before it: the balance is told at once after it."""
    call = open_call(transfer_outcome="returned")
    for keys in ("1", "12345678", "4321"):
        call.press(keys)
    said = call.press("0")
    assert said[-2:] == ["Nobody is free just now.", "Is there anything else?"]
    said = call.say("yes") + call.say("balance")
    assert any("forty two pounds" in text for text in said), said
    assert not any("account number" in text or "passcode" in text for text in said)


def test_digits_said_in_two_groups_are_one_number():
    call = open_call()
    call.say("balance")
    assert call.say("one two double three") == []
    assert call.listening.expectation.kind == "digits"
    call.say("five six seven eight")
    assert of(CallTool, call.actions)[-1].arguments == {"account": "12335678"}


def test_three_silences_escalate_to_a_person():
    call = open_call()
    assert call.wait() == ["Sorry, I didn't hear you.", "How can I help?"]
    assert call.wait()[0] == "You can also use your keypad."
    call.wait()
    assert call.transfers[-1].uri == "sip:2000@127.0.0.1"
    assert call.transfers[-1].reason == "no_input"


def test_three_answers_that_are_not_understood_escalate_to_a_person():
    call = open_call()
    assert call.say("purple elephants") == ["Sorry, I didn't catch that.", "How can I help?"]
    assert call.say("purple elephants") == [
        "Press 1 for your balance, 2 for our opening hours, 3 to block a card, or 0 for a colleague."
    ]
    call.say("purple elephants")
    assert call.transfers[-1].reason == "no_match"


def test_a_transfer_waits_for_its_announcement():
    """REFER would cut the sentence that announces it."""
    conversation = Conversation(PLAN, FACTS)
    greeting = of(Speak, conversation.start())
    for spoken in greeting:
        conversation.handle(PromptFinished(utterance=spoken.utterance))
    actions = conversation.handle(DigitPressed(digit="0"))
    (announcement,) = of(Speak, actions)
    assert not of(TransferCall, actions)
    after = conversation.handle(PromptFinished(utterance=announcement.utterance))
    assert of(TransferCall, after)[0].reason == "asked"


def test_a_transfer_that_fails_returns_to_the_bot():
    call = open_call(transfer_outcome="failed")
    said = call.say("agent")
    assert said[-2:] == ["Nobody is free just now.", "Is there anything else?"]
    assert call.say("balance")[0].startswith("Please say or key in")


def test_a_transfer_that_is_bridged_ends_the_call():
    call = open_call(transfer_outcome="bridged")
    call.say("agent")
    assert call.ended == "transferred"


def test_repeat_asks_again_without_counting():
    call = open_call()
    for _ in range(5):
        assert call.say("say that again") == ["How can I help?"]
    assert not call.transfers


def test_help_gives_the_help_of_the_step():
    assert open_call().say("help")[0].startswith("Press 1 for your balance")


def test_a_doubtful_answer_is_asked_back():
    call = open_call()
    assert call.say("balance", confidence=0.4) == ["Did you say balance?"]
    assert call.listening.expectation.kind == "yes_no"
    assert "account number" in call.say("yes")[0]


def test_a_doubtful_number_is_corrected_in_the_denial():
    call = open_call()
    call.say("balance")
    said = call.say("one two three four five six seven nine", confidence=0.3)
    assert said == ["Did you say one two three four, five six seven nine?"]
    call.say("no I said one two three four five six seven eight")
    assert of(CallTool, call.actions)[-1].arguments == {"account": "12345678"}


def test_keys_during_the_greeting_are_an_answer():
    conversation = Conversation(PLAN, FACTS)
    first = of(Speak, conversation.start())[0]
    conversation.handle(PromptInterrupted(utterance=first.utterance, played_ms=300))
    said = of(Speak, conversation.handle(DigitPressed(digit="1")))
    assert "account number" in said[0].text


def test_keys_of_an_account_cut_the_prompt_and_wait_between_digits():
    call = open_call()
    call.press("1")
    for key in "1234567":
        actions = call.conversation.handle(DigitPressed(digit=key))
        assert of(StartTimer, actions) == [StartTimer(timer="inter_digit", after_ms=3000)]
    short = call.conversation.handle(TimerExpired(timer="inter_digit"))
    assert "catch that" in of(Speak, short)[0].text


def test_a_hash_after_the_last_digit_does_not_swallow_the_next_prompt():
    """The caller ends eight digits with #: the key cuts the passcode prompt, which is said again."""
    call = open_call()
    call.press("1")
    call.press("12345678")
    passcode = of(Speak, call.actions)[-1]
    call.conversation._unheard[passcode.utterance] = passcode
    call.conversation.handle(PromptInterrupted(utterance=passcode.utterance, played_ms=100))
    actions = call.conversation.handle(DigitPressed(digit="#"))
    assert [s.text for s in of(Speak, actions)] == [passcode.text]
    assert of(Listen, actions)


def test_star_clears_what_was_keyed_in():
    call = open_call()
    call.press("1")
    assert "account number" in call.press("12*")[0]
    call.press("12345678")
    assert of(CallTool, call.actions)[-1].arguments == {"account": "12345678"}


def test_the_passcode_is_nowhere_but_in_the_tool_call():
    call = open_call()
    for keys in ("1", "12345678", "4321"):
        call.press(keys)
    for action in call.actions:
        if not isinstance(action, CallTool):
            assert "4321" not in msgspec.json.encode(action).decode()
    assert "4321" not in repr(call.conversation.snapshot())
    assert "[redacted]" in [t.text for t in call.stored]


def test_the_recording_pauses_while_the_passcode_is_keyed_in():
    call = open_call()
    call.press("1")
    call.press("12345678")
    assert of(PauseRecording, call.actions) == [PauseRecording(paused=True)]
    call.press("4321")
    assert of(PauseRecording, call.actions)[-1] == PauseRecording(paused=False)


def test_the_turn_is_stored_before_it_is_answered():
    call = open_call()
    actions = call.conversation.handle(CallerSaid(text="balance", confidence=0.9))
    kinds = [type(a) for a in actions]
    assert kinds[:3] == [StoreTurn, StoreTurn, Speak]
    assert (actions[0].who, actions[0].intent, actions[1].who) == ("caller", "balance", "bot")
    assert actions[1].turn == actions[0].turn + 1


def test_a_slow_tool_is_bridged_by_a_filler_and_gives_up_in_time():
    call = TextCall(Conversation(PLAN, FACTS), lambda c: ToolFinished(request="none", outcome="ok"))
    call.start()
    call.press("1")
    call.press("12345678")
    timers = {t.timer: t.after_ms for t in of(StartTimer, call.actions)}
    assert timers["filler"] == 900
    filler = call.conversation.handle(TimerExpired(timer="filler"))
    assert [s.text for s in of(Speak, filler)] == ["One moment."]
    late = call.conversation.handle(TimerExpired(timer="tool"))
    assert "wrong on our side" in of(Speak, late)[0].text


def test_another_worker_goes_on_from_the_snapshot():
    call = open_call()
    call.press("1")
    call.press("12345678")
    snapshot = msgspec.json.decode(msgspec.json.encode(call.conversation.snapshot()))
    taken_over = Conversation.restore(PLAN, FACTS, snapshot)
    assert [s.text for s in of(Speak, taken_over.resume())] == [
        "Now your four digit passcode, on the keypad please."
    ]
    for key in "4321":
        actions = taken_over.handle(DigitPressed(digit=key))
    assert of(CallTool, actions)[0].arguments == {"account": "12345678", "passcode": "4321"}


def test_a_turn_that_comes_again_after_a_takeover_has_its_old_number():
    """Found by random kills: a turn was stored, the state after it was not; the keys came again as one more turn."""
    call = open_call()
    call.press("1")
    taken_over = Conversation.restore(PLAN, FACTS, call.conversation.snapshot())
    taken_over.resume(unheard=())
    for key in "12345678":
        before, again = (c.handle(DigitPressed(digit=key)) for c in (call.conversation, taken_over))
    assert of(StoreTurn, again) == of(StoreTurn, before)
    assert next(t.text for t in of(StoreTurn, again)) == "12345678"


def test_a_tool_asked_again_after_a_takeover_has_the_same_key():
    call = open_call()
    call.press("1")
    for key in "12345678":
        actions = call.conversation.handle(DigitPressed(digit=key))
    (first,) = of(CallTool, actions)
    taken_over = Conversation.restore(PLAN, FACTS, call.conversation.snapshot())
    (again,) = of(CallTool, taken_over.resume())
    assert again == first


def test_a_worker_that_died_before_it_hung_up_leaves_that_to_the_next():
    """Found by random kills: the call stood still after its last words, for ever."""
    call = open_call()
    call.say("goodbye")
    taken_over = Conversation.restore(PLAN, FACTS, call.conversation.snapshot())
    (hang_up,) = of(HangUp, taken_over.resume(unheard=()))
    assert hang_up.reason == "completed"


def test_goodbye_hangs_up_after_the_last_words():
    call = open_call()
    assert call.say("goodbye") == ["Thank you for calling First Bank. Goodbye."]
    assert isinstance(call.actions[-1], HangUp)


def test_nothing_is_said_after_the_caller_hung_up():
    call = open_call()
    call.hang_up()
    assert call.say("balance") == []


def test_a_late_event_for_something_else_is_ignored():
    conversation = Conversation(PLAN, FACTS)
    conversation.start()
    assert conversation.handle(ToolFinished(request="r9", outcome="ok")) == []
    assert conversation.handle(TransferFinished(request="r9", outcome="failed")) == []
    assert conversation.handle(TimerExpired(timer="nobody")) == []
    assert conversation.handle(CallerHungUp()) == []


@pytest.mark.parametrize(
    ("called", "flow"), [("bank", "main"), ("+44 20 1234 0000", "main"), ("other", None)]
)
def test_the_called_number_chooses_the_route(called, flow):
    text = """
version: 1
name: t
routes:
  - { match: { to: ["bank", "+442012340000"] }, flow: main }
flows: { main: [ { say: "Hello", hangup: done } ] }
"""
    facts = msgspec.structs.replace(FACTS, called=called)
    opened = open_conversation(load_dialplan(text), facts)
    assert isinstance(opened, NoRoute) == (flow is None)


def test_the_universal_key_reaches_a_person_where_digits_are_wanted():
    """Eight digits are asked for: "0" is one of them until nothing follows."""
    call = open_call()
    call.press("1")
    call.press("0")
    assert [t.reason for t in call.transfers] == ["asked"]
    call = open_call()
    call.press("1")
    call.press("01234567")
    assert call.transfers == []
