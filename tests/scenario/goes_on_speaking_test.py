"""A caller stops, and goes on at any moment after: what he said is one turn, and nobody falls silent.

Found by the wild calls: the bot stayed paused for the rest of the call, waited for ever for the end of a
prompt whose name the edge had seen before, or forgot who had spoken while the recogniser was at work.
"""

import datetime as dt

import pytest

from tests.scenario.virtual_callers import HearsTheCaller, LineWithoutEcho, ScriptedCaller, engines
from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.dialogue.actions import AskRouter
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.events import RouteFinished
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.state import CallFacts
from voicebot.link.messages import Hangup, Record, Start
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import Persist, ToEdge
from voicebot.worker.virtual_call import VirtualCall

FACTS = CallFacts(session_id="s1", called="bank", now=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC))
HEAD = "version: 1\nname: t\nroutes: [{ match: { to: ['*'] }, flow: main }]\n"
PLAN = load_dialplan(
    HEAD
    + """
defaults:
  no_input: { timeout: 2s, retries: 0, then: { say: "Goodbye then.", hangup: silent } }
  no_match: { retries: 5, say: "Sorry?" }
flows:
  main:
    - menu:
        ask: "How can I help you today?"
        choices:
          - { intent: balance, examples: ["balance"], then: { say: "Forty two.", goto: main } }
"""
)


def played(plan, caller, *texts, limit_ms=20_000, **options):
    core = CallCore(
        TurnSettings(),
        BudgetSettings(),
        HearsTheCaller(),
        lambda start: Conversation(plan, FACTS),
        LineWithoutEcho(),
    )
    return VirtualCall(core, engines(*texts, **options), caller).run(
        Start(call_id="c1", session_id="s1", called="bank"), limit_ms=limit_ms
    )


def caller_turns(record):
    """As they stand in the store: what was taken back was written over."""
    turns = {p.turn.turn: p.turn for p in record.of(Persist)}
    return [turn.text for turn in turns.values() if turn.who == "caller"]


@pytest.mark.parametrize("asr_final_ms", [0, 300])
@pytest.mark.parametrize("texts", [("weather", "report"), ("weather", "")])
def test_a_caller_who_goes_on_at_any_moment_and_then_is_silent_is_spoken_to(texts, asr_final_ms):
    """Whenever it is, the bot answers, waits for an answer, and ends the call when none comes."""
    hanging, lost = [], []
    for pause_ms in range(60, 2600, 90):
        caller = ScriptedCaller(("listen",), ("say", 600), ("wait", pause_ms), ("say", 700))
        record = played(PLAN, caller, *texts, asr_final_ms=asr_final_ms)
        if not any(isinstance(e.message, Hangup) for e in record.of(ToEdge)):
            hanging.append(pause_ms)
        if " ".join(caller_turns(record)).split()[:1] != ["weather"]:
            lost.append((pause_ms, caller_turns(record)))
    assert (hanging, lost) == ([], [])


def test_a_key_instead_of_more_words_leaves_the_words_behind():
    """What was taken back does not turn up before an answer that comes much later."""
    caller = ScriptedCaller(
        ("listen",), ("say", 600), ("wait", 900), ("say", 200), ("key", "7"), ("listen",), ("say", 600)
    )
    record = played(PLAN, caller, "weather", "", "balance")
    assert caller_turns(record)[-1] == "balance"


SECRET = load_dialplan(
    HEAD
    + """
slots:
  passcode: { type: digits, length: 4, sensitive: true, input: [dtmf], ask: "Your passcode, please." }
defaults:
  no_match: { retries: 0, then: { say: "I am sorry that this did not work at all today.", goto: out } }
flows:
  main: [{ collect: passcode }]
  out: [{ menu: { ask: "What else?", choices: [{ intent: bye, examples: ["bye"], goto: main }] } }]
"""
)


def test_a_secret_that_is_asked_for_after_all_is_not_recorded():
    """The bot had given up the question; the caller goes on, so it stands again."""
    caller = ScriptedCaller(("listen",), ("say", 600), ("wait", 870), ("say", 3000))
    record = played(SECRET, caller, "well", "you", limit_ms=6000)
    at = [
        (at_ms, e.message.paused)
        for at_ms, e in record.effects
        if isinstance(getattr(e, "message", 0), Record)
    ]
    assert [paused for _, paused in at][:3] == [True, False, True]


ROUTED = load_dialplan(
    HEAD
    + """
router: { llm: { deadline: 4s } }
flows:
  main:
    - menu:
        ask: "How can I help you today?"
        choices:
          - { intent: balance, examples: ["balance"], goto: end }
          - { intent: block, examples: ["block"], goto: end }
  end: [{ say: "Goodbye.", hangup: done }]
"""
)


def test_an_answer_of_the_language_model_to_half_a_sentence_is_not_taken_for_the_whole():
    asked = []

    def route(ask: AskRouter) -> RouteFinished:
        asked.append(ask.text)
        intent = "balance" if len(asked) == 1 else "block"
        return RouteFinished(request=ask.request, intent=intent, confidence=0.9)

    caller = ScriptedCaller(("listen",), ("say", 600), ("wait", 1800), ("say", 300))
    record = played(
        ROUTED, caller, "how about my", "stolen piece of plastic", ask_router=route, tool_ms=2600
    )
    assert asked == ["how about my", "how about my stolen piece of plastic"]
    turns = {p.turn.turn: p.turn for p in record.of(Persist)}
    assert [t.intent for t in turns.values() if t.who == "caller"] == ["block"]
