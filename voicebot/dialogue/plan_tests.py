"""Runs the tests that stand in a dialplan file, without audio, network or clock."""

import datetime as dt
from dataclasses import dataclass

from voicebot.dialogue.actions import CallTool
from voicebot.dialogue.events import ToolFinished
from voicebot.dialogue.fixtures import FixtureTools
from voicebot.dialogue.matching import words_of
from voicebot.dialogue.model import PlanTest, TestTurn
from voicebot.dialogue.opening import open_conversation
from voicebot.dialogue.program import CompiledDialplan
from voicebot.dialogue.routes import NoRoute
from voicebot.dialogue.state import CallFacts
from voicebot.dialogue.text_call import TextCall
from voicebot.tts.text_normalizer import normalize


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one test: ``problem`` is empty when it passed; ``script`` shows the whole call."""

    __test__ = False  # not a test class for pytest

    name: str
    problem: str
    script: tuple[str, ...]


class StubTools:
    """Answers tools from a test's ``stub`` block, then from the plan's fixtures."""

    def __init__(self, plan: CompiledDialplan, test: PlanTest) -> None:
        self._fixtures = FixtureTools(plan.source)
        self._stub = test.stub

    def __call__(self, call: CallTool) -> ToolFinished:
        """An outcome's name, or a mapping of values (outcome ok)."""
        match self._stub.get(call.tool):
            case str(outcome):
                return ToolFinished(request=call.request, outcome=outcome)
            case dict(values):
                return ToolFinished(request=call.request, outcome="ok", values=dict(values))
            case _ if self._fixtures.knows(call.tool):
                return self._fixtures.run(call)
        return ToolFinished(request=call.request, outcome="error")


def run_plan_tests(plan: CompiledDialplan) -> list[TestResult]:
    """Every test of the file, in order."""
    return [run_plan_test(plan, test) for test in plan.source.tests]


def run_plan_test(plan: CompiledDialplan, test: PlanTest) -> TestResult:
    """One test."""
    moment = dt.datetime.fromisoformat(test.at)
    first = (plan.source.routes[0].match.to or ["*"])[0]
    facts = CallFacts(
        session_id="test",
        called=test.to or first,
        caller=test.caller,
        trunk=test.trunk,
        headers=test.headers,
        now=moment if moment.tzinfo else moment.replace(tzinfo=plan.timezone),
    )
    conversation = open_conversation(plan, facts)
    if isinstance(conversation, NoRoute):
        return TestResult(test.name, f"no route for {facts.called!r}", ())
    call = TextCall(conversation, StubTools(plan, test))
    heard = call.start()
    script = [f"bot: {t}" for t in heard]
    for turn in test.turns:
        problem = _check(plan, call, heard, turn)
        if problem:
            return TestResult(test.name, problem, tuple(script))
        if turn.caller is not None or turn.dtmf is not None or turn.silence:
            script.append(_describe(turn))
            heard = _act(call, turn)
            script += [f"bot: {t}" for t in heard]
    return TestResult(test.name, "", tuple(script))


def _act(call: TextCall, turn: TestTurn) -> list[str]:
    if turn.caller is not None:
        return call.say(turn.caller, turn.confidence)
    if turn.dtmf is not None:
        return call.press(turn.dtmf)
    return call.wait()


def _describe(turn: TestTurn) -> str:
    if turn.caller is not None:
        return f"caller: {turn.caller}"
    return f"keys: {turn.dtmf}" if turn.dtmf is not None else "caller says nothing"


def _check(plan: CompiledDialplan, call: TextCall, heard: list[str], turn: TestTurn) -> str:
    said = _plain(" ".join(heard), plan)
    if turn.bot is not None and _plain(turn.bot, plan) not in said:
        return f"expected the bot to say {turn.bot!r}, it said {' '.join(heard)!r}"
    if turn.hears_not is not None and _plain(turn.hears_not, plan) in said:
        return f"the bot must not say {turn.hears_not!r}, it said {' '.join(heard)!r}"
    if turn.ends is not None and call.ended != turn.ends:
        return f"expected the call to end with {turn.ends!r}, not {call.ended or 'at all'!r}"
    if turn.hands_to is not None:
        queue = plan.source.queues.get(turn.hands_to)
        if queue is None or queue.sip not in [t.uri for t in call.transfers]:
            return f"expected a transfer to {turn.hands_to!r}"
    return ""


def _plain(text: str, plan: CompiledDialplan) -> str:
    return " ".join(words_of(normalize(text, plan.locale)))
