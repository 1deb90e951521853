"""Hours, globals, slots and tools of a plan, compiled."""

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from voicebot.config.located_yaml import YamlPath
from voicebot.core.errors import SynthesisError
from voicebot.dialogue import model, program
from voicebot.dialogue.compiling import GOODBYE, Compiling
from voicebot.dialogue.hours import WeeklyHours, parse_day, parse_days, parse_span
from voicebot.dialogue.matching import PhraseMatcher
from voicebot.dialogue.rendering import speech_locale
from voicebot.dialogue.slot_keys import KEYABLE, useless_keys
from voicebot.tts.lexicon import Lexicon

_KEYED = {"number": (1, 9), "money": (1, 7), "date": (4, 8), "time": (4, 4)}


class PartCompiler(Compiling):
    """Compiles what stands outside the flows."""

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self._source.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._problem(("timezone",), "unknown time zone; write a name such as Europe/London")
            return ZoneInfo("UTC")

    def _lexicon(self) -> Lexicon:
        good = {}
        for written, spoken in self._source.lexicon.items():
            try:
                Lexicon({written: spoken})
            except SynthesisError:
                self._problem(("lexicon", written), "respell it with plain letters, as IVR: eye vee are")
            else:
                good[written] = spoken
        return Lexicon(good)

    def _hours(self, name: str, hours: model.Hours) -> WeeklyHours:
        spans: list[list[tuple[int, int]]] = [[] for _ in range(7)]
        for days, texts in hours.weekly.items():
            path: YamlPath = ("hours", name, "weekly", days)
            try:
                for day in parse_days(days):
                    spans[day] += [parse_span(t) for t in ([texts] if isinstance(texts, str) else texts)]
            except ValueError as error:
                self._problem(path, str(error))
        special: dict[str, tuple[tuple[int, int], ...]] = {}
        for index, text in enumerate(hours.closed_on):
            try:
                special[parse_day(text)] = ()
            except ValueError as error:
                self._problem(("hours", name, "closed_on", index), str(error))
        for text, own in hours.special.items():
            path = ("hours", name, "special", text)
            try:
                date = parse_day(text)
                parsed = tuple(parse_span(t) for t in ([own] if isinstance(own, str) else own))
            except ValueError as error:
                self._problem(path, str(error))
                continue
            if date in special:
                self._problem(path, "is in closed_on too")
            special[date] = parsed
        return WeeklyHours(tuple(tuple(s) for s in spans), special)

    def _global(self, index: int, rule: model.GlobalIntent) -> program.GlobalRule:
        path: YamlPath = ("globals", index)
        if (rule.do is None) == (rule.goto is None):
            self._problem(path, "needs exactly one of 'do' and 'goto'")
        block = None
        if isinstance(rule.goto, str):
            self._known(rule.goto, self._source.flows, "flow", (*path, "goto"))
            block = rule.goto
        elif rule.goto is not None:
            block = self._branch([rule.goto], (*path, "goto"), f"<global {rule.intent}>", GOODBYE)
        say = self._template(rule.say, (*path, "say")) if rule.say else None
        return program.GlobalRule(rule.intent, rule.do, block, say)

    def _global_keys(self) -> dict[str, str]:
        keys: dict[str, str] = {}
        for index, rule in enumerate(self._source.globals):
            if rule.dtmf is not None:
                if rule.dtmf in keys:
                    self._problem(
                        ("globals", index, "dtmf"), f"key {rule.dtmf} is {keys[rule.dtmf]!r} already"
                    )
                keys[rule.dtmf] = rule.intent
        return keys

    def _slot(self, name: str, slot: model.Slot) -> program.SlotRules:
        path: YamlPath = ("slots", name)
        low, high = slot.digit_range
        if low > high:
            self._problem((*path, "min_length"), "is larger than max_length")
        if slot.type == "choice" and not slot.options:
            self._problem((*path, "type"), "a choice needs 'options'")
        for key, option in slot.dtmf.items():
            self._known(option, slot.options, "option", (*path, "dtmf", key))
        for key, reason in useless_keys(slot):
            self._problem((*path, key), reason)
        if slot.sensitive and "speech" in slot.input:
            self._problem((*path, "sensitive"), "a sensitive slot must be keyed in: add 'input: [dtmf]'")
        tool = slot.validate_.webhook if slot.validate_ else None
        if tool is not None:
            self._known(tool, self._source.tools, "tool", (*path, "validate", "webhook"))
        return program.SlotRules(
            name=name,
            type=slot.type,
            sensitive=slot.sensitive,
            min_digits=low,
            max_digits=high,
            low=self._bound(slot, "min", path),
            high=self._bound(slot, "max", path),
            past=slot.past,
            currency=slot.currency or ("USD" if self._source.locale == "en-US" else "GBP"),
            locale=speech_locale(self._source.locale),
            speech="speech" in slot.input,
            dtmf="dtmf" in slot.input,
            keyed=_KEYED.get(slot.type, (low, high)) if slot.type in KEYABLE else None,
            keys=dict(slot.dtmf),
            options=tuple(slot.options),
            matcher=PhraseMatcher(slot.options),
            read_back=slot.read_back,
            confirm=slot.confirm,
            tool=tool,
            tool_fail=self._template(slot.validate_.fail, (*path, "validate", "fail"))
            if slot.validate_
            else None,
        )

    def _bound(self, slot: model.Slot, which: str, path: YamlPath) -> str:
        value = getattr(slot.validate_, which) if slot.validate_ is not None else None
        if value is None:
            return ""
        text = str(value)
        shapes = {
            "number": r"-?[0-9]+(\.[0-9]+)?",
            "money": r"[0-9]+(\.[0-9]+)?( [A-Z]{3})?",
            "date": r"today|[12][0-9]{3}-[01][0-9]-[0-3][0-9]",
            "time": r"[0-2][0-9]:[0-5][0-9]",
        }
        shape = shapes.get(slot.type)
        if shape is None:
            self._problem((*path, "validate", which), f"a {slot.type} has no {which}")
        elif not re.fullmatch(shape, text):
            self._problem((*path, "validate", which), f"{text!r} is no {slot.type}")
        return text

    def _tool(self, name: str, tool: model.Tool) -> None:
        path: YamlPath = ("tools", name)
        if tool.post is not None and tool.get is not None:
            self._problem((*path, "get"), "only one of 'post' and 'get' can be done")
        ways = [tool.post, tool.get, tool.fixture, tool.answer_from]
        if all(way is None for way in ways):
            self._problem(path, "needs 'post' or 'get' with an address, 'answer_from' or a 'fixture'")
        if tool.answer_from is not None:
            if tool.post is not None or tool.get is not None:
                self._problem((*path, "answer_from"), "a tool with an address answers by itself")
            if not tool.send:
                self._problem((*path, "answer_from"), "needs the slot with the question in 'send'")
            if tool.returns:
                self._problem((*path, "returns"), "'answer_from' says its answer itself; leave this out")
        if tool.fixture is not None:
            self._known(tool.fixture, self._source.fixtures, "fixture", (*path, "fixture"))
