"""Turns a checked model into a program, and reports every name that does not exist.

Dialplan (shape is right) ─► names, conditions, templates, hours ─► CompiledDialplan
"""

from voicebot.config.located_yaml import LocatedData, YamlPath
from voicebot.core.errors import DialplanError
from voicebot.dialogue import model, program
from voicebot.dialogue.compile_ring_back import RingBackCompiler
from voicebot.dialogue.compiling import GAVE_UP, GOODBYE, ON_ERROR, RING_BACK
from voicebot.dialogue.manner import BY_KEY_ONLY, OPEN, manners_of
from voicebot.dialogue.matching import NO_PHRASES, YES_PHRASES, PhraseMatcher, normalise
from voicebot.dialogue.model_steps import (
    Choice,
    Menu,
    MenuStep,
    NoInputRule,
    NoMatchRule,
    SimpleStep,
    Step,
)
from voicebot.dialogue.rendering import speech_locale
from voicebot.dialogue.routes import MEDIA_STREAMS, is_trunk_name

RETURN = "<handoff return>"
CALLBACK_DECLINED = "call back declined"


def _callback_block(queue: str) -> str:
    return f"<callback {queue}>"


def compile_dialplan(
    source: model.Dialplan, located: LocatedData
) -> tuple[program.CompiledDialplan, list[DialplanError]]:
    """The program, and what is wrong with the plan; it must not run unless that list is empty."""
    compiler = _Compiler(source, located)
    return compiler.compile(), compiler.problems


def _callback_steps(rules: model.CallBack, queue: str) -> list[MenuStep]:
    # An answering machine neither presses a key nor says yes: the call ends and is tried again.
    unheard: list[Step] = [SimpleStep(hangup="nobody confirmed the call back")]
    again = [rules.again]
    yes: list[Step] = [SimpleStep(handoff=queue, reason="callback")]
    no: list[Step] = [SimpleStep(say=[rules.declined], hangup=CALLBACK_DECLINED)]
    return [
        MenuStep(
            menu=Menu(
                ask=[rules.say],
                help=rules.again,
                no_input=NoInputRule(retries=1, say=again, then=unheard),
                no_match=NoMatchRule(retries=1, say=again, then=unheard),
                choices=[
                    Choice(intent="yes", dtmf="1", then=yes),
                    Choice(intent="no", dtmf="2", then=no),
                ],
            )
        )
    ]


class _Compiler(RingBackCompiler):
    """All of it."""

    def compile(self) -> program.CompiledDialplan:
        source = self._source
        self._blocks[GOODBYE] = (program.End("completed"),)
        sorry = self._template(source.defaults.gave_up, ("defaults", "gave_up"))
        self._blocks[GAVE_UP] = (program.Say((sorry,), BY_KEY_ONLY), program.End("gave_up"))
        self._blocks[ON_ERROR] = ()
        self._flow = ON_ERROR
        error_path: YamlPath = ("defaults", "on_error")
        self._blocks[ON_ERROR] = (
            program.Say(
                (self._template(source.defaults.on_error.say, (*error_path, "say")),), BY_KEY_ONLY
            ),
            program.Goto(
                self._branch(
                    source.defaults.on_error.then, (*error_path, "then"), "<error>.then", GOODBYE
                )
            ),
        )
        examples = {g.intent: tuple(g.examples) for g in source.globals}
        self._global_examples = examples
        self._global_phrases = tuple(dict.fromkeys(normalise(p) for ps in examples.values() for p in ps))
        slots = {name: self._slot(name, slot) for name, slot in source.slots.items()}
        for flow, steps in source.flows.items():
            self._flow = flow
            self._steps(flow, steps, ("flows", flow))
        self._flow = "<globals>"
        rules = {g.intent: self._global(n, g) for n, g in enumerate(source.globals)}
        self._resolve_retries()
        self._flow = RING_BACK
        self._ring_back()
        for index, route in enumerate(source.routes):
            self._known(route.flow, source.flows, "flow", ("routes", index, "flow"))
            for number, trunk in enumerate(route.match.trunk or ()):
                if not is_trunk_name(trunk):
                    self._problem(
                        ("routes", index, "match", "trunk", number),
                        f"{trunk!r} is no address or network, as 10.1.0.0/16, and not {MEDIA_STREAMS}",
                    )
        for name, tool in source.tools.items():
            self._tool(name, tool)
        for name, queue in source.queues.items():
            if queue.hours is not None:
                self._known(queue.hours, source.hours, "opening hours", ("queues", name, "hours"))
            if queue.overflow is not None:
                self._known(queue.overflow, source.queues, "queue", ("queues", name, "overflow"))
        handoff = source.handoff
        goto = handoff.return_.goto
        if goto is not None:
            self._known(goto, source.flows, "flow", ("handoff", "return", "goto"))
        self._blocks[RETURN] = (
            program.Say((self._template(handoff.return_.say, ("handoff", "return", "say")),), OPEN),
            program.Goto(goto) if goto is not None else program.End("nobody_free"),
        )
        for name in source.queues:
            self._steps(_callback_block(name), _callback_steps(handoff.callback, name), ("handoff",))
        return program.CompiledDialplan(
            source=source,
            name=source.name,
            locale=speech_locale(source.locale),
            timezone=self._zone(),
            manners=manners_of(source.speech),
            lexicon=self._lexicon(),
            blocks=self._blocks,
            slots=slots,
            flow_slots={
                flow: frozenset(slot for f, slot in self._collected if f == flow)
                for flow in source.flows
            },
            collected={
                (b, op.slot): n
                for b, ops in self._blocks.items()
                for n, op in enumerate(ops)
                if isinstance(op, program.CollectSlot)
            },
            globals=rules,
            global_keys=self._global_keys(),
            global_matcher=PhraseMatcher(examples),
            hours={name: self._hours(name, hours) for name, hours in source.hours.items()},
            yes_no=self._closed("yes_no", (*YES_PHRASES, *NO_PHRASES)),
            on_error=ON_ERROR,
            handoff_return=RETURN,
            callbacks={name: _callback_block(name) for name in source.queues},
            handoff_say=self._template(handoff.say, ("handoff", "say")) if handoff.say else None,
            handoff_ended=(
                self._template(handoff.ended, ("handoff", "ended")) if handoff.ended else None
            ),
        )
