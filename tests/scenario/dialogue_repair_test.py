"""Repair: several wishes at once, values said on the way, corrections, going back, cancelling."""

import msgspec
import pytest

from tests.scenario.dialogue_bank_test import FACTS, of
from voicebot.dialogue import Conversation, load_dialplan
from voicebot.dialogue.actions import AskRouter, CallTool, StartTimer
from voicebot.dialogue.events import CallerSaid, RouteFinished, TimerExpired, ToolFinished
from voicebot.dialogue.text_call import TextCall

PLAN = """
version: 1
name: t
locale: en-GB
timezone: Europe/London
routes: [ { match: { to: "*" }, flow: main } ]
router: { llm: { deadline: 350ms } }
globals:
  - { intent: go_back, examples: ["go back"], do: go_back }
  - { intent: cancel, examples: ["cancel"], do: cancel, say: "All right." }
slots:
  size: { type: choice, options: { small: ["small"], large: ["large"] }, ask: "Small or large?", read_back: value }
  count: { type: number, ask: "How many?", validate: { min: 1, max: 9, fail: "One to nine, please." } }
  day: { type: date, ask: "Which day?" }
  hour: { type: time, ask: "At what time?" }
  street: { type: text, ask: "Which street?" }
tools:
  order: { fixture: orders, send: [size, count, day, hour, street] }
fixtures:
  orders: [ { outcome: ok } ]
flows:
  main:
    - menu:
        ask: "What would you like?"
        help: "Say order or prices."
        choices:
          - { intent: order, dtmf: "1", examples: ["order a pizza", "i want a pizza"], goto: order }
          - { intent: prices, dtmf: "2", examples: ["prices", "what does it cost"], goto: prices }
          - { intent: bye, examples: ["goodbye"], then: { say: "Bye.", hangup: done } }
  order:
    - collect: [size, count]
    - collect: [day, hour]
    - collect: street
    - call: order
    - say: "Ordered."
    - goto: main
  prices:
    - say: "Ten pounds."
    - goto: main
"""
COMPILED = load_dialplan(PLAN)


def open_call():
    call = TextCall(
        Conversation(COMPILED, FACTS), lambda c: ToolFinished(request=c.request, outcome="ok")
    )
    call.start()
    return call


def ordered(call):
    return next(a.arguments for a in call.actions if isinstance(a, CallTool))


def test_only_what_is_missing_is_asked():
    call = open_call()
    assert call.say("i want a large pizza")[-1] == "How many?"
    assert call.say("two")[-1] == "Which day?"
    assert call.say("on friday at half past seven")[-1] == "Which street?"
    call.say("twelve high street")
    assert ordered(call) == {
        "size": "large", "count": 2, "day": "2026-11-27", "hour": "07:30", "street": "twelve high street",
    }  # fmt: skip


def test_two_wishes_in_one_breath_are_served_one_after_the_other():
    call = open_call()
    call.say("what does it cost and then i want a pizza")
    assert call.said == ["Ten pounds.", "Small or large?"]


def test_a_correction_one_step_later_changes_the_answer_before():
    call = open_call()
    call.say("i want a pizza")
    assert call.say("large")[0] == "Large."
    assert call.say("no, I said small")[-1] == "How many?"
    call.say("two")
    call.say("on friday at noon")
    call.say("high street")
    assert ordered(call)["size"] == "small"


def test_what_a_tool_has_done_is_not_taken_back_by_a_correction():
    """After the order "no, I said small" is no answer to the menu; nothing is ordered again."""
    plan = load_dialplan(
        PLAN.replace(
            """    - say: "Ordered."
    - goto: main""",
            """    - menu:
        ask: "Ordered. Anything else?"
        choices:
          - { intent: no, goto: prices }
          - { intent: yes, goto: main }""",
        ).replace("    - collect: [size, count]", "    - collect: [count, day, hour, street, size]")
    )
    call = TextCall(Conversation(plan, FACTS), lambda c: ToolFinished(request=c.request, outcome="ok"))
    call.start()
    for words in ("i want a pizza", "two", "on friday", "at noon", "high street", "large"):
        call.say(words)
    assert call.said[-1] == "Ordered. Anything else?"
    call.say("no, I said small")
    assert len(of(CallTool, call.actions)) == 1


def test_going_back_asks_the_question_before():
    call = open_call()
    call.say("i want a pizza")
    call.say("large")
    assert call.say("go back") == ["Small or large?"]
    assert call.say("small")[-1] == "How many?"


def test_cancelling_leads_to_the_menu():
    call = open_call()
    call.say("i want a pizza")
    assert call.say("cancel") == ["All right.", "What would you like?"]


def test_a_value_out_of_range_is_refused_with_its_reason():
    call = open_call()
    call.say("i want a large pizza")
    assert call.say("twenty") == ["One to nine, please.", "How many?"]
    assert call.press("3#")[-1] == "Which day?"


def test_a_long_pause_between_keys_ends_a_number():
    call = open_call()
    call.say("i want a large pizza")
    assert call.press("3")[-1] == "Which day?"


def test_what_the_keys_mean_as_a_date_is_confirmed():
    call = open_call()
    call.say("i want a large pizza")
    call.press("3#")
    assert "the twenty fourth of December" in call.press("2412#")[0]
    assert call.press("1")[-1] == "At what time?"


def test_every_word_that_is_spoken_can_be_chosen_in_the_plan():
    own = PLAN.replace(
        "globals:",
        """defaults:
  low_confidence: { below: 0.5, say: "Ich habe {{ answer }} verstanden." }
  gave_up: "Auf Wiederhören."
  no_match: { retries: 0, say: "" }
globals:""",
        1,
    )
    call = TextCall(Conversation(load_dialplan(own), FACTS), lambda c: None)
    call.start()
    assert call.say("prices", confidence=0.2) == ["Ich habe prices verstanden."]
    assert call.say("no")[-1] == "Auf Wiederhören."
    assert call.ended == "gave_up"


def unsure(conversation):
    conversation.start()
    actions = conversation.handle(CallerSaid(text="hm the thing with the stuff"))
    (ask,) = of(AskRouter, actions)
    return ask, actions


def test_an_unsure_utterance_goes_to_the_model_with_a_deadline_of_our_own():
    conversation = Conversation(COMPILED, FACTS)
    ask, actions = unsure(conversation)
    assert ask.intents == ("order", "prices", "bye", "go_back", "cancel")
    timers = {t.timer: t.after_ms for t in of(StartTimer, actions)}
    assert timers["router"] == 500
    assert timers["filler"] == 900


def test_the_model_may_be_late():
    conversation = Conversation(COMPILED, FACTS)
    ask, _ = unsure(conversation)
    actions = conversation.handle(TimerExpired(timer="router"))
    assert [a.text for a in actions if hasattr(a, "utterance")][-1] == "What would you like?"
    late = conversation.handle(RouteFinished(request=ask.request, intent="prices", confidence=1.0))
    assert late == []


def test_an_intent_that_is_not_offered_is_no_answer():
    conversation = Conversation(COMPILED, FACTS)
    ask, _ = unsure(conversation)
    actions = conversation.handle(RouteFinished(request=ask.request, intent="refund", confidence=1.0))
    assert [a.text for a in actions if hasattr(a, "utterance")][-1] == "What would you like?"


def test_a_conversation_in_the_middle_of_everything_fits_into_json():
    call = open_call()
    call.say("i want a large pizza and what does it cost")
    state = call.conversation.snapshot()
    again = Conversation.restore(COMPILED, FACTS, msgspec.json.decode(msgspec.json.encode(state)))
    assert again.snapshot() == state
    assert [a.text for a in again.resume() if hasattr(a, "utterance")] == ["How many?"]


NAMES = (
    PLAN.replace(
        "  street: {",
        '  who: { type: name, ask: "What is the name?", confirm: always }\n  street: { confirm: always,',
    )
    .replace("    - collect: street\n", "    - collect: [who, street]\n")
    .replace("send: [size", "send: [who, size")
)


def asked_for_a_name():
    call = TextCall(
        Conversation(load_dialplan(NAMES), FACTS),
        lambda c: ToolFinished(request=c.request, outcome="ok"),
    )
    call.start()
    for words in ("i want a large pizza", "two", "on friday at noon", "jane doe"):
        call.say(words)
    assert call.said[-1] == "Did you say Jane Doe?"
    return call


@pytest.mark.parametrize(
    "words",
    ["what was that", "who are you", "we talked about this", "the weather is nice", "hello", "blue elephants",
     "um what", "one moment", "let me think", "can you repeat it"],
)  # fmt: skip
def test_a_sentence_is_no_correction_of_a_name(words):
    call = asked_for_a_name()
    assert call.say(words)[-1] == "Did you say Jane Doe?"
    assert len(call.said) == 2  # not understood, and the same question again
    call.say("yes")
    call.say("twelve high street")
    call.say("yes")
    assert ordered(call)["who"] == "Jane Doe"


@pytest.mark.parametrize(
    ("words", "name"),
    [("no, jane dow", "Jane Dow"), ("jane dow", "Jane Dow"), ("no my name is peter", "Peter"),
     ("d o e", "Doe"), ("my name is peter", "Peter"), ("no, I said peter parker", "Peter Parker")],
)  # fmt: skip
def test_a_name_corrects_a_name(words, name):
    call = asked_for_a_name()
    assert call.say(words) == [f"Did you say {name}?"]


@pytest.mark.parametrize("words", ["no", "no that's wrong", "that's not right", "no it isn't"])
def test_a_denial_alone_asks_for_the_name_again(words):
    call = asked_for_a_name()
    assert call.say(words)[-1] == "What is the name?"


def test_free_text_is_corrected_by_what_denies_or_resembles_it():
    call = asked_for_a_name()
    call.say("yes")
    assert call.say("twelve high street") == ["Did you say twelve high street?"]
    assert call.say("there is somebody at the door")[-1] == "Did you say twelve high street?"
    assert call.say("twenty high street") == ["Did you say twenty high street?"]
    assert call.say("no, the old mill") == ["Did you say the old mill?"]


def test_a_choice_denied_in_one_breath_with_the_right_one():
    call = open_call()
    assert call.say("prices", confidence=0.2) == ["Did you say prices?"]
    assert call.say("no a pizza please")[-1] == "Small or large?"


def test_a_step_overrides_only_what_it_names():
    own = PLAN.replace(
        "globals:",
        """defaults:
  no_input: { timeout: 5s, retries: 1, say: "Nothing heard." }
  no_match: { retries: 1, say: "Not understood." }
  budget: { filler_after: 600ms, filler: "Wait." }
globals:""",
        1,
    ).replace(
        '''        help: "Say order or prices."''',
        """        help: "Say order or prices."
        no_input: { timeout: 9s }
        no_match: { say: "What?" }
        budget: { response_onset: 500ms }""",
    )
    plan = load_dialplan(own)
    waiting = plan.blocks["main"][0].waiting
    assert waiting.no_input_ms == 9000
    assert (waiting.no_input.retries, waiting.no_match.retries) == (1, 1)
    assert (waiting.patience.filler_after_ms, waiting.patience.response_onset_ms) == (600, 500)
    call = TextCall(Conversation(plan, FACTS), lambda c: None)
    call.start()
    assert call.wait()[0] == "Nothing heard."
    assert call.say("xyzzy plugh qux", confidence=1.0)[0] != "Not understood."


def test_a_global_says_its_words_before_it_does_anything():
    own = PLAN.replace("do: go_back }", 'do: go_back, say: "Back we go." }')
    call = TextCall(Conversation(load_dialplan(own), FACTS), lambda c: None)
    call.start()
    call.say("i want a pizza")
    call.say("large")
    assert call.say("go back") == ["Back we go.", "Small or large?"]


@pytest.mark.parametrize(
    ("way", "words"),
    [("digits", "One two three four five six seven eight."),
     ("grouped", "One two three four, five six seven eight."),
     ("value", "One two three four, five six seven eight.")],
)  # fmt: skip
def test_digits_are_read_back_one_by_one_or_in_groups(way, words):
    own = PLAN.replace(
        "  street: {",
        f'  id: {{ type: digits, length: 8, ask: "Number?", read_back: {way} }}\n  street: {{',
    ).replace("collect: [size, count]", "collect: [id, size, count]")
    call = TextCall(Conversation(load_dialplan(own), FACTS), lambda c: None)
    call.start()
    call.say("i want a pizza")
    assert call.say("one two three four five six seven eight")[0] == words
