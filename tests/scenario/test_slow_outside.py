"""However slow the language model or a tool is, the caller never hears nothing for more than 0.9 s."""

import datetime as dt

import numpy as np
import pytest

from tests.scenario.virtual_callers import HearsTheCaller, LineWithoutEcho, ScriptedCaller, engines
from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.dialogue import CallFacts, Conversation, load_dialplan
from voicebot.dialogue.events import RouteFinished, ToolFinished
from voicebot.link.messages import Start
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import BudgetOverspent
from voicebot.worker.virtual_call import VirtualCall

START = Start(call_id="c1", session_id="s1", called="bank", edge_monotonic_us=1)
FACTS = CallFacts(session_id="s1", called="bank", now=dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC))
LIMIT_MS = 900
PLAN = """
version: 1
name: slow
locale: en-GB
timezone: Europe/London
routes: [ { match: { to: "*" }, flow: main } ]
router: { llm: { deadline: 5s } }
tools:
  look_up: { fixture: accounts, timeout: 8s }
fixtures:
  accounts: [ { outcome: ok } ]
flows:
  main:
    - menu:
        ask: "What would you like?"
        choices:
          - { intent: balance, dtmf: "1", examples: ["balance", "my balance"], goto: balance }
          - { intent: hours, dtmf: "2", examples: ["when are you open"], goto: hours }
  balance:
    - call: look_up
    - say: "You have forty pounds."
    - hangup: done
  hours:
    - say: "We are open all day."
    - hangup: done
"""


def silences_ms(record):
    """(start, length) of the stretches in which the caller heard nothing."""
    heard = np.frombuffer(bytes(record.bot_audio), np.uint8).reshape(-1, 160)
    quiet = (heard == 0xFF).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], quiet.astype(int), [0]))))
    return [(int(a) * 20, int(b - a) * 20) for a, b in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("said", ["balance", "hm the thing with the stuff"])
@pytest.mark.parametrize("slow_ms", [700, 3000, 4800])
def test_no_silence_is_longer_than_the_plan_allows(said, slow_ms):
    conversation = Conversation(load_dialplan(PLAN), FACTS)
    caller = ScriptedCaller(("listen",), ("say", 800))
    core = CallCore(
        TurnSettings(), BudgetSettings(), HearsTheCaller(), lambda start: conversation, LineWithoutEcho()
    )
    slow = engines(
        said,
        tool_ms=slow_ms,
        call_tool=lambda c: ToolFinished(request=c.request, outcome="ok"),
        ask_router=lambda a: RouteFinished(request=a.request, intent="hours", confidence=1.0),
    )
    record = VirtualCall(core, slow, caller).run(START)
    answer = "You have forty pounds." if said == "balance" else "We are open all day."
    assert record.spoken[-1] == answer
    spoke_ms = max(caller.spoken_ms) + 20
    answered_ms = record.ended_ms - 40
    waits = [
        start + length - max(start, spoke_ms)
        for start, length in silences_ms(record)
        if spoke_ms < start + length < answered_ms
    ]
    assert max(waits) <= LIMIT_MS
    acted = record.of(BudgetOverspent)
    assert {a.action for a in acted} == {"filler"}
    assert {a.stage for a in acted} == {"tool" if said == "balance" else "llm"}
    assert ("I am still working on it." in record.spoken) == (slow_ms >= 3000)
