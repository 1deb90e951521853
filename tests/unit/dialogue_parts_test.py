"""Expressions, templates, hours, digits and phrases."""

import datetime as dt

import pytest

from voicebot.core.errors import DialplanError
from voicebot.dialogue import load_dialplan
from voicebot.dialogue.expressions import ExpressionError, parse_expression, parse_template
from voicebot.dialogue.hours import WeeklyHours, parse_days, parse_span
from voicebot.dialogue.matching import PhraseMatcher
from voicebot.dialogue.plan_tests import run_plan_tests
from voicebot.dialogue.rendering import FILTERS, render_value


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 == 3", True),
        ("not hours.open", True),
        ("amount > 40 and amount <= 42.10", True),
        ("name == 'Ann' or missing", True),
        ("missing.deep == none", True),
        ("'a' in letters", True),
        ("amount > 'text'", False),
        ("(1 - 3) < 0", True),
        ("not not true", True),
        ("date < '2026-12-01'", True),
    ],
)
def test_expressions(source, value):
    names = {
        "hours": {"open": False},
        "amount": "42.10 GBP",
        "name": "Ann",
        "letters": ["a"],
        "date": "2026-11-23",
    }
    assert bool(parse_expression(source).value(names)) is value


@pytest.mark.parametrize(
    "source",
    [
        "",
        "1 +",
        "(1",
        "a b",
        "f(1)",
        "a[0]",
        "__import__('os')",
        "a ** 2",
        "(" * 30 + "1" + ")" * 30,
        "x" * 600,
    ],
)
def test_what_is_not_in_the_language_is_refused(source):
    with pytest.raises(ExpressionError):
        parse_expression(source)


def test_names_that_python_has_are_nothing_special():
    assert parse_expression("a.__class__").value({"a": "text"}) is None


def test_templates_name_their_filters_and_names():
    template = parse_template("Hello {{ name }}, {{ amount | money }}.", FILTERS)
    assert template.names == {"name", "amount"}
    said = template.render({"name": "Ann", "amount": "1 GBP"}, lambda v, f: render_value(v, f, "en-GB"))
    assert said == "Hello Ann, one pound."
    for bad in ("{{ a | shout }}", "{{ a", "a }}", "{{ a b }}"):
        with pytest.raises(ExpressionError):
            parse_template(bad, FILTERS)


def local(day, hour, minute):
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=dt.UTC)


def test_hours_with_a_span_past_midnight_and_a_closed_day():
    spans = [[] for _ in range(7)]
    for day in parse_days("mon-fri"):
        spans[day].append(parse_span("22:00-02:00"))
    hours = WeeklyHours(tuple(map(tuple, spans)), {"2026-11-25": ()})
    assert hours.is_open(local(23, 23, 0))
    assert hours.is_open(local(24, 1, 59))
    assert not hours.is_open(local(24, 2, 0))
    assert not hours.is_open(local(25, 23, 0))
    assert not hours.is_open(local(26, 1, 0))


def test_holidays_of_every_year_and_days_with_other_hours():
    plan = load_dialplan("""
version: 1
name: t
timezone: Europe/London
routes: [ { match: { to: "*" }, flow: main } ]
hours:
  open:
    weekly: { mon-sun: "08:00-20:00" }
    closed_on: ["12-25", "2026-12-24"]
    special: { "12-31": "08:00-12:00", "12-24": ["08:00-10:00", "11:00-12:00"], "2027-12-25": "10:00-11:00" }
flows: { main: [ { hangup: done } ] }
""")

    def is_open(text):
        return plan.hours["open"].is_open(dt.datetime.fromisoformat(text))

    assert is_open("2026-12-23T10:00")
    assert not is_open("2026-12-25T10:00")
    assert not is_open("2031-12-25T10:00")
    assert is_open("2027-12-25T10:30")
    assert not is_open("2026-12-24T09:00")
    assert is_open("2028-12-24T09:00")
    assert not is_open("2028-12-24T10:30")
    assert not is_open("2026-12-31T12:00")


@pytest.mark.parametrize("text", ["8:00-20:00", "08:00", "25:00-26:00", "08:00-08:00"])
def test_a_bad_span_is_refused(text):
    with pytest.raises(ValueError, match="span"):
        parse_span(text)


def test_phrases_inside_longer_utterances_and_overlap():
    matcher = PhraseMatcher(
        {
            "balance": ["my balance", "how much money have i got"],
            "block_card": ["block my card", "lost my card"],
            "card_balance": ["balance of my card"],
        }
    )
    assert matcher.best("My balance, please!").intent == "balance"
    assert matcher.best("um i would like to block my card now").intent == "block_card"
    assert matcher.best("how much money do i have").intent == "balance"
    assert matcher.best("the balance of my card").intent == "card_balance"
    assert matcher.best("the weather in paris") is None
    assert matcher.best("") is None


PLAN = """
version: 1
name: t
routes: [ { match: { to: "x" }, flow: main } ]
flows:
  main:
    - say: "Hello"
    - goto: %s
"""


def test_a_mistake_is_reported_at_its_place():
    with pytest.raises(DialplanError) as caught:
        load_dialplan(PLAN % "nowhere", file="p.yaml")
    assert str(caught.value) == "p.yaml:8:7: flows.main[1].goto: unknown flow 'nowhere'; there are: main"


def test_a_plan_that_loops_ends_the_call_with_an_apology():
    from tests.scenario.dialogue_bank_test import FACTS
    from voicebot.dialogue import Conversation
    from voicebot.dialogue.actions import HangUp, Speak

    plan = load_dialplan((PLAN % "main").replace('"x"', '"*"'))
    actions = Conversation(plan, FACTS).start()
    assert isinstance(actions[-1], HangUp)
    assert actions[-1].reason == "loop"
    assert next(a for a in reversed(actions) if isinstance(a, Speak)).text.endswith("Goodbye.")


def test_a_caller_whom_nobody_could_take_four_times_hears_a_goodbye():
    """Before, the line went dead after the music."""
    from tests.scenario.dialogue_bank_test import FACTS
    from voicebot.dialogue import Conversation
    from voicebot.dialogue.actions import HangUp, Speak, TransferCall
    from voicebot.dialogue.events import PromptFinished, TransferFinished

    plan = load_dialplan(
        "version: 1\nname: t\nroutes: [{ match: { to: ['*'] }, flow: main }]\n"
        "queues: { desk: { sip: 'sip:1@127.0.0.1' } }\n"
        "handoff: { say: '', return: { say: 'Nobody is free.', goto: main } }\n"
        "flows: { main: [{ handoff: desk, reason: asked }] }\n"
    )
    conversation = Conversation(plan, FACTS)
    actions = conversation.start()
    for _ in range(4):
        transfer = actions[-1]
        assert isinstance(transfer, TransferCall)
        actions = conversation.handle(TransferFinished(request=transfer.request, outcome="failed"))
        for speak in [a for a in actions if isinstance(a, Speak)] * (not conversation.over):
            actions = conversation.handle(PromptFinished(utterance=speak.utterance))
    assert isinstance(actions[-1], HangUp)
    assert [a.text for a in actions if isinstance(a, Speak)] == [
        "I'm sorry I could not help you. Goodbye."
    ]


def test_a_failing_plan_test_says_what_was_said():
    text = (PLAN % "main").replace("- goto: main", "- hangup: done") + (
        "tests:\n  - { name: wrong, to: x, turns: [ { bot: Good morning } ] }\n"
    )
    (result,) = run_plan_tests(load_dialplan(text))
    assert result.problem == "expected the bot to say 'Good morning', it said 'Hello'"


ROUTES = """
version: 1
name: t
routes:
  - match: { trunk: ["10.1.0.0/16", "media-streams"], headers: { X-Brand: "red" } }
    flow: red
  - match: { trunk: "10.1.2.3" }
    flow: one
  - match: { from: ["+44 20 7123 4567"], to: "shop" }
    flow: known
flows:
  red: [ { hangup: red } ]
  one: [ { hangup: one } ]
  known: [ { hangup: known } ]
tests:
  - { name: red, trunk: "10.1.9.9", headers: { x-brand: "red" }, turns: [ { ends: red } ] }
  - { name: carrier, trunk: media-streams, headers: { X-Brand: "red" }, turns: [ { ends: red } ] }
  - { name: address, trunk: "10.1.2.3", turns: [ { ends: one } ] }
  - { name: caller, to: "shop", caller: "+442071234567", trunk: "10.1.9.9", turns: [ { ends: known } ] }
"""


def test_routes_by_trunk_header_and_caller():
    assert [(r.name, r.problem) for r in run_plan_tests(load_dialplan(ROUTES))] == [
        (name, "") for name in ("red", "carrier", "address", "caller")
    ]


def test_a_call_that_no_route_takes_is_named():
    own = ROUTES.replace('trunk: "10.1.9.9", headers: { x-brand: "red" }', 'trunk: "10.2.0.1"', 1)
    assert run_plan_tests(load_dialplan(own))[0].problem.startswith("no route")
