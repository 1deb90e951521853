"""Mistakes of the ways through a plan: unreachable, endless, dead ends, clashing keys and examples."""

import re

from voicebot.config.located_yaml import YamlPath
from voicebot.dialogue import model_steps
from voicebot.dialogue.findings import Findings
from voicebot.dialogue.matching import normalise
from voicebot.dialogue.plan_walk import always_leaves, leaves, silent_gotos


class FlowChecks(Findings):
    """Checks where steps lead."""

    def _check_reachable_flows(self) -> None:
        plan = self._plan
        reached = {r.flow for r in plan.routes}
        reached |= {r.goto for r in plan.globals if isinstance(r.goto, str)}
        reached |= {plan.handoff.return_.goto} if plan.handoff.return_.goto else set()
        reached |= {t for p in self._places if not p.flow for _, t in self._targets(p)}
        waiting = list(reached)
        while waiting:
            new = self._ways.get(waiting.pop(), set()) - reached
            reached |= new
            waiting += new
        for flow in plan.flows:
            if flow not in reached:
                self._add(("flows", flow), "no step leads to this flow", "warning")

    def _check_dead_steps(self) -> None:
        for path, steps in self._lists():
            for index, step in enumerate(steps[:-1]):
                if leaves(step):
                    self._add((*path, index + 1), "is never reached: the step before goes elsewhere")
                    break

    def _check_silent_loops(self) -> None:
        edges = {f: silent_gotos(steps, ("flows", f))[0] for f, steps in self._plan.flows.items()}
        for flow in edges:
            seen: set[str] = set()
            waiting = [flow]
            while waiting:
                for target, path in edges.get(waiting.pop(), {}).items():
                    if target == flow:
                        self._add(path, f"may come back to {flow!r} for ever without asking the caller")
                        waiting = []
                        break
                    if target not in seen:
                        seen.add(target)
                        waiting.append(target)

    def _check_falling_off(self) -> None:
        required = {
            flow
            for p in self._places
            if isinstance(p.step, model_steps.RequireStep)
            for flow in p.step.require.values()
        }
        for flow, steps in self._plan.flows.items():
            if flow in required:
                continue
            if not steps:
                self._add(("flows", flow), "has no steps")
            elif not always_leaves(steps):
                self._add(
                    ("flows", flow, len(steps) - 1),
                    "the flow ends here and the bot hangs up without a word; add goto or hangup",
                    "warning",
                )

    def _check_menus(self) -> None:
        spoken = {normalise(e): g.intent for g in self._plan.globals for e in g.examples}
        keys = {g.dtmf: g.intent for g in self._plan.globals if g.dtmf}
        for place in self._places:
            if not isinstance(place.step, model_steps.MenuStep):
                continue
            heard: dict[str, str] = {}
            for index, choice in enumerate(place.step.menu.choices):
                path: YamlPath = (*place.path, "menu", "choices", index)
                if not choice.examples and choice.dtmf is None and choice.intent not in {"yes", "no"}:
                    self._add(path, "has neither examples nor a key, so it is hardly ever chosen")
                if choice.dtmf in keys and keys[choice.dtmf] != choice.intent:
                    self._add((*path, "dtmf"), f"key {choice.dtmf} is the global {keys[choice.dtmf]!r}")
                for number, example in enumerate(choice.examples):
                    self._check_example(example, (*path, "examples", number))
                    phrase = normalise(example)
                    other = heard.get(phrase) or spoken.get(phrase)
                    if other is not None and other != choice.intent:
                        self._add((*path, "examples", number), f"is an example of {other!r} as well")
                    heard[phrase] = choice.intent
            if not place.step.menu.help:
                self._add(
                    (*place.path, "menu"), "has no help for callers who are not understood", "warning"
                )

    def _check_example(self, example: str, path: YamlPath) -> None:
        if re.search(r"[0-9]", example):
            self._add(path, "write numbers as words: the recogniser knows no digits", "warning")

    def _check_globals(self) -> None:
        for index, rule in enumerate(self._plan.globals):
            if not rule.examples and rule.dtmf is None:
                self._add(("globals", index), "has neither examples nor a key")
            for number, example in enumerate(rule.examples):
                self._check_example(example, ("globals", index, "examples", number))

    def _check_dead_ends(self) -> None:
        waits = [
            p for p in self._places if isinstance(p.step, model_steps.MenuStep | model_steps.CollectStep)
        ]
        for kind, words in (("no_input", "says nothing"), ("no_match", "is not understood")):
            if getattr(self._plan.defaults, kind).then is not None:
                continue
            for place in waits:
                options = place.step.menu if isinstance(place.step, model_steps.MenuStep) else place.step
                own = getattr(options, kind)
                failing = isinstance(place.step, model_steps.CollectStep) and all(
                    s in self._plan.slots and self._plan.slots[s].fail for s in place.step.collect
                )
                if (own is None or own.then is None) and not (kind == "no_match" and failing):
                    self._add(
                        place.path,
                        f"a caller who {words} is hung up on: add 'then' to {kind}, here or in defaults",
                    )
