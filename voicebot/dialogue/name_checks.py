"""Mistakes of names and secrets: what nothing sets, what must not be said, sent or shown."""

import re

from voicebot.config.located_yaml import YamlPath
from voicebot.dialogue import model_steps
from voicebot.dialogue.flow_checks import FlowChecks
from voicebot.dialogue.plan_walk import _TEMPLATE, names_of

BUILT_IN = frozenset(["caller", "called", "call", "hours", "step", "summary"])


class NameChecks(FlowChecks):
    """Checks what is read and where it goes."""

    def _known_names(self) -> set[str]:
        plan = self._plan
        names = set(BUILT_IN) | set(plan.slots)
        for route in plan.routes:
            names |= set(route.vars)
        for tool in plan.tools.values():
            names |= set(tool.returns)
            if not tool.returns:
                rows = plan.fixtures.get(tool.fixture or "", [])
                names |= {name for row in rows for name in row.values}
        for place in self._places:
            if isinstance(place.step, model_steps.SimpleStep) and place.step.set:
                names |= set(place.step.set)
        return names

    def _check_names(self) -> None:
        known = self._known_names()
        for path, text in self._texts():
            if _TEMPLATE.search(text):
                more = {"answer"} if "low_confidence" in path else set()
                self._check_used(path, names_of(text, template=True), known | more)
        for place in self._places:
            if isinstance(place.step, model_steps.IfStep):
                path = (*place.path, "if")
                self._check_used(path, names_of(place.step.if_, template=False), known)
            elif isinstance(place.step, model_steps.SimpleStep):
                for name, value in (place.step.set or {}).items():
                    if isinstance(value, str) and _TEMPLATE.search(value):
                        path = (*place.path, "set", name)
                        self._check_used(path, names_of(value, template=True), known)
        for name, tool in self._plan.tools.items():
            for index, field in enumerate(tool.send):
                if field not in known:
                    self._add(("tools", name, "send", index), f"nothing is called {field!r}")

    @property
    def _used(self) -> set[str]:
        """Names that texts, conditions or tools read."""
        names = {f for tool in self._plan.tools.values() for f in tool.send}
        for _, text in self._texts():
            names |= {n.partition(".")[0] for n in names_of(text, template=True)}
        for place in self._places:
            if isinstance(place.step, model_steps.IfStep):
                names |= {n.partition(".")[0] for n in names_of(place.step.if_, template=False)}
        return names

    def _check_used(self, path: YamlPath, names: frozenset[str], known: set[str]) -> None:
        for name in sorted(names):
            first, _, rest = name.partition(".")
            if first not in known:
                self._add(path, f"nothing is called {first!r}")
            elif first == "hours" and rest not in self._plan.hours:
                there = ", ".join(self._plan.hours) or "none"
                self._add(path, f"no hours are called {rest!r}; there are: {there}")

    def _check_secrets(self) -> None:
        intents = {g.intent for g in self._plan.globals}
        intents |= {
            choice.intent
            for place in self._places
            if isinstance(place.step, model_steps.MenuStep)
            for choice in place.step.menu.choices
        }
        for path, text in self._texts():
            for name in names_of(text, template=True) & self._sensitive:
                self._add(path, f"says the sensitive slot {name!r} aloud")
        for place in self._places:
            if isinstance(place.step, model_steps.SimpleStep):
                for variable, value in (place.step.set or {}).items():
                    if isinstance(value, str):
                        for name in names_of(value, template=True) & self._sensitive:
                            self._add(
                                (*place.path, "set", variable),
                                f"copies the sensitive slot {name!r} into a variable that is stored",
                            )
        for index, value in enumerate(self._plan.handoff.context.slots or ()):
            path = ("handoff", "context", "slots", index)
            if value not in self._plan.slots:
                self._add(path, f"no slot is called {value!r}")
            elif value in self._sensitive:
                self._add(path, f"hands the sensitive slot {value!r} to another system")
        llm = self._plan.router.llm
        for index, value in enumerate(llm.allow if llm else ()):
            if value not in intents:
                self._add(("router", "llm", "allow", index), f"no menu has the intent {value!r}")
        for name, tool in self._plan.tools.items():
            url = tool.post or tool.get or ""
            plain = url.startswith("http://") and not re.match(r"http://(127\.|localhost|\[::1\])", url)
            for index, field in enumerate(tool.send):
                if field in self._sensitive and tool.answer_from is not None:
                    self._add(
                        ("tools", name, "send", index),
                        f"shows the sensitive slot {field!r} to the language model",
                    )
                if field in self._sensitive and plain:
                    self._add(
                        ("tools", name, "send", index),
                        f"sends the sensitive slot {field!r} unencrypted; use https",
                    )
                if field in self._sensitive and tool.get is not None:
                    self._add(
                        ("tools", name, "send", index),
                        f"puts the sensitive slot {field!r} into an address; use post",
                    )

    def _check_requirements(self) -> None:
        for place in self._places:
            if not isinstance(place.step, model_steps.RequireStep):
                continue
            for variable, flow in place.step.require.items():
                reached = self._closure(flow)
                sets = {
                    name
                    for p in self._places
                    if p.flow in reached and isinstance(p.step, model_steps.SimpleStep) and p.step.set
                    for name in p.step.set
                }
                returned = {
                    name
                    for p in self._places
                    if p.flow in reached
                    and isinstance(p.step, model_steps.CallStep)
                    and p.step.call in self._plan.tools
                    for name in self._plan.tools[p.step.call].returns
                }
                if flow in self._plan.flows and variable not in sets | returned:
                    self._add(
                        (*place.path, "require", variable), f"flow {flow!r} never sets {variable!r}"
                    )

    def _returns(self, tool: str) -> list[str]:
        return list(self._plan.tools[tool].returns) if tool in self._plan.tools else []

    def _closure(self, flow: str) -> set[str]:
        reached = {flow}
        waiting = [flow]
        while waiting:
            new = self._ways.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        return reached
