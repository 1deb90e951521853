"""The question that a caller hears whose last call was cut off, and what follows from his answer.

<ring back> ─ yes ─► TakeUp ─► RequireAgain for each gate ─► GoOn
            ─ no, nothing understood ─► StartAnew, and the flow of the route
"""

import dataclasses
from typing import Final

from voicebot.config.located_yaml import YamlPath
from voicebot.dialogue import program
from voicebot.dialogue.compile_steps import StepCompiler
from voicebot.dialogue.compiling import RING_BACK
from voicebot.dialogue.model_steps import Choice, Menu

_YES: Final = f"{RING_BACK}.yes"
_NO: Final = f"{RING_BACK}.no"


class RingBackCompiler(StepCompiler):
    """Compiles the offer to go on; after the flows, because it runs their gates again."""

    def _ring_back(self) -> None:
        rule = self._defaults.ring_back
        if not rule.offer:
            return
        path: YamlPath = ("defaults", "ring_back")
        choices = [Choice(intent="yes", dtmf="1", then=[]), Choice(intent="no", dtmf="2", then=[])]
        menu = self._menu(Menu(ask=[rule.say], help=rule.help, choices=choices), path, RING_BACK)
        # Who does not answer is served as if nothing had been: no step of the plan failed.
        waiting = dataclasses.replace(
            menu.waiting,
            no_input=dataclasses.replace(menu.waiting.no_input, then=_NO),
            no_match=dataclasses.replace(menu.waiting.no_match, then=_NO),
        )
        branches = {"yes": _YES, "no": _NO}
        gates: dict[str, program.Require] = {}
        for block in self._blocks.values():
            for op in block:
                if isinstance(op, program.Require):
                    gates.setdefault(op.variable, op)
        names = tuple(gates)
        self._blocks[RING_BACK] = (dataclasses.replace(menu, waiting=waiting, branches=branches),)
        self._blocks[_YES] = (
            program.TakeUp(names),
            *(program.RequireAgain(gate) for gate in gates.values()),
            program.GoOn(names),
        )
        self._blocks[_NO] = (program.StartAnew(),)
