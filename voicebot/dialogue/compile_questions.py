"""Menus and slots to be asked for: prompts, escalation, and what may be said."""

from collections.abc import Sequence
from typing import Any, Literal

from voicebot.asr.spoken import DIGITS
from voicebot.config.located_yaml import YamlPath
from voicebot.core.expectation import Expectation
from voicebot.dialogue import model_steps, program
from voicebot.dialogue.compile_parts import PartCompiler
from voicebot.dialogue.compiling import GAVE_UP
from voicebot.dialogue.intent_router import IntentRouter
from voicebot.dialogue.manner import prompting_of
from voicebot.dialogue.matching import NO_PHRASES, YES_PHRASES, normalise
from voicebot.dialogue.model_types import inherited

DIGIT_WORDS = (*DIGITS, "oh", "double", "triple")


def _implied(intent: str) -> tuple[str, ...]:
    match intent:
        case "yes":
            return YES_PHRASES
        case "no":
            return NO_PHRASES
        case _:
            return ()


class QuestionCompiler(PartCompiler):
    """Compiles steps that wait for the caller."""

    def _reprompt(
        self,
        kind: Literal["no_input", "no_match"],
        options: model_steps.StepOptions,
        path: YamlPath,
        label: str,
    ) -> program.Reprompt:
        """What follows an answer that is missing: the step's own words and ways, else the plan's."""
        common, own = getattr(self._defaults, kind), getattr(options, kind)
        shared: YamlPath = ("defaults", kind)
        rule = inherited(own, common)
        place = (*path, kind) if own is not None and "say" in own.model_fields_set else shared
        block = self._branch(common.then, (*shared, "then"), f"<default {kind} {label}>", GAVE_UP)
        if own is not None:
            block = self._branch(own.then, (*path, kind, "then"), f"{label}.{kind}", block)
        return program.Reprompt(rule.retries, self._templates(rule.say, (*place, "say")), block)

    def _waiting(
        self,
        ask: Sequence[str],
        help_text: str,
        options: model_steps.StepOptions,
        paths: tuple[YamlPath, YamlPath],
        label: str,
    ) -> program.Waiting:
        text_path, path = paths
        defaults = self._defaults
        barge_in = inherited(options.barge_in, defaults.barge_in)
        low = inherited(options.low_confidence, defaults.low_confidence)
        low_path: YamlPath = (
            (*path, "low_confidence") if options.low_confidence else ("defaults", "low_confidence")
        )
        return program.Waiting(
            ask=self._templates(ask, (*text_path, "ask")),
            help=self._template(help_text, (*text_path, "help")) if help_text else None,
            prompting=prompting_of(options, barge_in),
            patience=self._patience(options.budget, path),
            no_input_ms=inherited(options.no_input, defaults.no_input).timeout,
            no_input=self._reprompt("no_input", options, path, label),
            no_match=self._reprompt("no_match", options, path, label),
            low_confidence=low.below,
            when_low=low.do,
            confirm=self._template(low.say, (*low_path, "say")),
            confirm_keyed=self._template(low.say_keyed, (*low_path, "say_keyed")),
        )

    def _patience(
        self, own: model_steps.Budget | None, path: YamlPath, filler: str | None = None
    ) -> program.Patience:
        budget = inherited(own, self._defaults.budget)
        at: YamlPath = (*path, "budget") if own else ("defaults", "budget")
        place = (*at, "filler") if filler is None else (*path, "filler")
        return program.Patience(
            budget.response_onset,
            budget.filler_after,
            self._template(budget.filler if filler is None else filler, place),
            self._template(budget.filler_again, (*at, "filler_again")),
        )

    def _menu(self, menu: model_steps.Menu, path: YamlPath, label: str) -> program.AskMenu:
        branches: dict[str, str] = {}
        keys: dict[str, str] = {}
        for index, choice in enumerate(menu.choices):
            place: YamlPath = (*path, "choices", index)
            if choice.intent in branches:
                self._problem((*place, "intent"), f"intent {choice.intent!r} stands in this menu twice")
            if (choice.goto is None) == (choice.then is None):
                self._problem(place, "needs exactly one of 'goto' and 'then'")
            if choice.goto is not None:
                self._known(choice.goto, self._source.flows, "flow", (*place, "goto"))
                name = f"{label}.{choice.intent}"
                self._blocks[name] = (program.Goto(choice.goto),)
                branches[choice.intent] = name
            else:
                branches[choice.intent] = self._branch(
                    choice.then, (*place, "then"), f"{label}.{choice.intent}"
                )
            if choice.dtmf is not None:
                if choice.dtmf in keys:
                    self._problem(
                        (*place, "dtmf"), f"key {choice.dtmf} is {keys[choice.dtmf]!r} already"
                    )
                keys[choice.dtmf] = choice.intent
        examples = {c.intent: tuple(c.examples) + _implied(c.intent) for c in menu.choices}
        rules = self._source.router
        router = IntentRouter(
            {**self._global_examples, **examples},
            out_of_scope=rules.out_of_scope,
            accept=rules.fast.accept,
            confirm=rules.fast.confirm,
        )
        phrases = [p for texts in examples.values() for p in texts]
        return program.AskMenu(
            waiting=self._waiting(menu.ask, menu.help, menu, (path, path), label),
            branches=branches,
            keys=keys,
            router=router,
            expectation=self._closed(
                "menu", (*phrases, *(c.intent.replace("_", " ") for c in menu.choices))
            ),
        )

    def _closed(self, kind: Any, phrases: Sequence[str]) -> Expectation:
        """What may be said: the phrases and the globals; each of them whole ends the turn early."""
        own = tuple(dict.fromkeys(p for p in (normalise(p) for p in phrases) if p))
        everything = tuple(dict.fromkeys((*own, *self._global_phrases)))
        # a phrase that another one goes on from must wait: "balance" before "balance of my card"
        complete = frozenset(p for p in everything if not any(q.startswith(f"{p} ") for q in everything))
        return Expectation(kind=kind, phrases=everything, complete=complete)

    def _collect(
        self, name: str, step: model_steps.CollectStep, path: YamlPath, label: str
    ) -> program.CollectSlot:
        slot = self._source.slots[name]
        text_path: YamlPath = ("slots", name)
        options: model_steps.StepOptions = step
        if slot.fail is not None or slot.retries is not None:
            default = inherited(step.no_match, self._defaults.no_match)
            retries = default.retries if slot.retries is None else slot.retries
            options = step.model_copy(
                update={
                    "no_match": default.model_copy(
                        update={"retries": retries, "then": slot.fail or default.then}
                    )
                }
            )
        waiting = self._waiting(slot.ask, slot.help, options, (text_path, path), label)
        match slot.type:
            case "digits":
                low, high = slot.digit_range
                expectation = Expectation(
                    kind="digits",
                    phrases=(*DIGIT_WORDS, *self._global_phrases),
                    complete=frozenset(self._global_phrases),
                    min_digits=low,
                    max_digits=high,
                )
            case "yes_no":
                expectation = self._closed("yes_no", (*YES_PHRASES, *NO_PHRASES))
            case "choice":
                texts = [p for o, ps in slot.options.items() for p in (*ps, o.replace("_", " "))]
                expectation = self._closed("choice", texts)
            case "number" | "money" | "date" | "time" as kind:
                # the recogniser has the words of these kinds; what is added are the globals
                expectation = Expectation(
                    kind=kind, phrases=self._global_phrases, complete=frozenset(self._global_phrases)
                )
            case "phone":
                low, high = slot.digit_range
                expectation = Expectation(
                    kind="digits",
                    phrases=(*DIGIT_WORDS, "plus", *self._global_phrases),
                    complete=frozenset(self._global_phrases),
                    min_digits=low,
                    max_digits=high,
                )
            case _:
                expectation = Expectation(kind="free", complete=frozenset(self._global_phrases))
        if "speech" not in slot.input:
            expectation = Expectation(
                kind="menu", phrases=self._global_phrases, complete=frozenset(self._global_phrases)
            )
        return program.CollectSlot(name, waiting, expectation)
