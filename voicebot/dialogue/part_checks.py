"""Mistakes of tools, hours, routes, queues, keys and tests."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

from voicebot.config.located_yaml import YamlPath
from voicebot.dialogue import model_steps
from voicebot.dialogue.hours import parse_days
from voicebot.dialogue.model_types import Outcome
from voicebot.dialogue.name_checks import NameChecks
from voicebot.dialogue.plan_walk import names_of
from voicebot.dialogue.tool_values import typed_values
from voicebot.tts.build import BUILT_IN_VOICES

_OUTCOMES = get_args(Outcome)
_SIP_URI = re.compile(r"sips?:[^\s@]+@[A-Za-z0-9.-]+(:[0-9]{1,5})?(;[^\s]*)?\Z")

# Nobody is transferred there by a machine: emergency, premium and shared-cost numbers, satellite
# networks, and North American numbers that cost as much as foreign ones.
_COSTLY = (
    (re.compile(r"(?:112|911|999|000|110|119)\Z"), "an emergency number"),
    (
        re.compile(r"(?:\+|00)?(?:1900|1976|449|4487|49900|33899?)[0-9]{5,}\Z|09[0-9]{8,}\Z"),
        "a premium number",
    ),
    (re.compile(r"(?:\+|00)(?:870|881|882|883|979)[0-9]{4,}\Z"), "a satellite or shared-cost number"),
    (
        re.compile(
            r"(?:\+|00)?1(?:242|246|264|268|284|345|441|473|649|664|721|758|767|784|809|829|849|868|869|876)[0-9]{7}\Z"
        ),
        "a number that looks national and is charged as foreign",
    ),
)


def costly_number(user: str) -> str:
    """What is wrong with a destination's number; empty for extensions and ordinary numbers."""
    number = re.sub(r"[ ().-]", "", user)
    return next((words for pattern, words in _COSTLY if pattern.match(number)), "")


class PartChecks(NameChecks):
    """Checks tools, hours, routes, queues, keys and tests."""

    def _check_tools(self) -> None:
        for place in self._places:
            if (
                not isinstance(place.step, model_steps.CallStep)
                or place.step.call not in self._plan.tools
            ):
                continue
            tool = self._plan.tools[place.step.call]
            if "error" not in place.step.result and self._plan.defaults.on_error.then is None:
                self._add(
                    (*place.path, "call"), "has no 'error' branch, and defaults.on_error has no 'then'"
                )
            if "ok" not in place.step.result and tool.returns and not self._used & set(tool.returns):
                message = "nothing is done with what the tool returns"
                self._add((*place.path, "call"), message, "warning")
        for name, tool in self._plan.tools.items():
            url = tool.post or tool.get
            if url is not None and not re.match(r"https?://[A-Za-z0-9.\-\[\]:]+(/|\Z)", url):
                key = "post" if tool.post else "get"
                self._add(("tools", name, key), "is no http or https address")
            for row, sample in enumerate(self._plan.fixtures.get(tool.fixture or "", ())):
                if sample.outcome == "ok" and tool.answer_from is None:
                    path = ("fixtures", tool.fixture or "", row, "values")
                    self._check_values(name, sample.values, path)

    def _check_values(self, tool: str, values: Mapping[str, Any], path: YamlPath) -> None:
        """Sample answers are like real ones: every value that the tool returns, of its type."""
        try:
            typed_values(values, self._plan.tools[tool].returns)
        except ValueError as error:
            self._add(path, f"{error}, as {tool!r} returns it")

    def _check_unused(self) -> None:
        collected = {
            s
            for p in self._places
            if isinstance(p.step, model_steps.CollectStep)
            for s in p.step.collect
        }
        called = {p.step.call for p in self._places if isinstance(p.step, model_steps.CallStep)}
        called |= {s.validate_.webhook or "" for s in self._plan.slots.values() if s.validate_}
        queues = {
            p.step.handoff
            for p in self._places
            if isinstance(p.step, model_steps.SimpleStep) and p.step.handoff
        }
        for section, used in (("slots", collected), ("tools", called), ("queues", queues)):
            for name in getattr(self._plan, section):
                if name not in used:
                    self._add((section, name), "is used nowhere", "warning")

    def _check_hours(self) -> None:
        used = {
            name
            for place in self._places
            if isinstance(place.step, model_steps.IfStep)
            for name in names_of(place.step.if_, template=False)
        } | {f"hours.{queue.hours}" for queue in self._plan.queues.values()}
        for name, hours in self._plan.hours.items():
            if f"hours.{name}" not in used:
                self._add(
                    ("hours", name),
                    f"no step asks 'hours.{name}': callers outside them get no answer of their own",
                )
            days: Counter[int] = Counter()
            for key in hours.weekly:
                try:
                    numbers = parse_days(key)
                except ValueError:
                    continue
                days.update(numbers)
                for number in numbers:
                    if days[number] == 2:
                        self._add(
                            ("hours", name, "weekly", key), "names a day that another line names too"
                        )
                        break
            if days and len(days) < 5:
                self._add(
                    ("hours", name, "weekly"), f"only {len(days)} days of the week are open", "warning"
                )

    def _check_routes(self) -> None:
        for index, route in enumerate(self._plan.routes[:-1]):
            match = route.match
            catch_all = match.to is None or "*" in match.to
            if catch_all and not (match.from_ or match.trunk or match.headers):
                message = "is never reached: the route before takes every call"
                self._add(("routes", index + 1), message)
                break
        seen: dict[str, int] = {}
        for index, route in enumerate(self._plan.routes):
            if route.match.from_ or route.match.trunk or route.match.headers:
                continue
            for number, to in enumerate(route.match.to or []):
                if to in seen and seen[to] != index:
                    self._add(
                        ("routes", index, "match", "to", number), f"{to!r} belongs to an earlier route"
                    )
                seen.setdefault(to, index)

    def _check_queues(self) -> None:
        for name, queue in self._plan.queues.items():
            places = [("sip",), *(("also", number) for number in range(len(queue.also)))]
            for place, uri in zip(places, queue.targets, strict=True):
                if not _SIP_URI.match(uri):
                    self._add(("queues", name, *place), "is no SIP address; write sip:2000@pbx.example")
                    continue
                kind = costly_number(uri.partition(":")[2].partition("@")[0])
                if kind:
                    self._add(("queues", name, *place), f"callers must not be handed to {kind}")

    def _check_voices(self) -> None:
        """A voice that is not there is replaced in silence: say so before a caller hears it."""
        speech = self._plan.speech
        choices: list[tuple[YamlPath, str | None]] = [(("speech", "voice"), speech.voice)]
        for language, own in speech.languages.items():
            choices.append((("speech", "languages", language, "voice"), own.voice))
        for place in self._places:
            match place.step:
                case model_steps.SimpleStep(voice=voice) | model_steps.CollectStep(voice=voice):
                    choices.append(((*place.path, "voice"), voice))
                case model_steps.MenuStep(menu=menu):
                    choices.append(((*place.path, "menu", "voice"), menu.voice))
        known = (*BUILT_IN_VOICES, "coqui")
        for path, voice in choices:
            if voice is not None and voice not in known:
                self._add(path, f"no voice is called {voice!r}; there are: {', '.join(known)}")

    def _check_keys(self) -> None:
        dtmf = self._plan.defaults.dtmf
        if dtmf.terminator == dtmf.cancel:
            self._add(("defaults", "dtmf", "cancel"), "is the terminator too")
        for name, slot in self._plan.slots.items():
            if slot.type == "digits" and {dtmf.terminator, dtmf.cancel} & set("0123456789"):
                self._add(
                    ("slots", name, "type"), "digits cannot be keyed in: a digit ends or cancels them"
                )
                break

    def _check_tests(self) -> None:
        names = Counter(t.name for t in self._plan.tests)
        for index, test in enumerate(self._plan.tests):
            if names[test.name] > 1:
                self._add(("tests", index, "name"), "another test has this name", "warning")
            for tool, answer in test.stub.items():
                place: YamlPath = ("tests", index, "stub", tool)
                if tool not in self._plan.tools:
                    self._add(place, "no such tool")
                elif isinstance(answer, dict):
                    self._check_values(tool, answer, place)
                elif answer not in _OUTCOMES:
                    self._add(place, f"is none of {', '.join(_OUTCOMES)}, and no values")
            for number, turn in enumerate(test.turns):
                if turn.hands_to is not None and turn.hands_to not in self._plan.queues:
                    self._add(("tests", index, "turns", number, "hands_to"), "no such queue")
        if not self._plan.tests:
            self._add((), "has no tests", "warning")
