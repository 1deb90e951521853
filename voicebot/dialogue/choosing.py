"""Answers to menus, globals, confirmation, and what happens without an answer.

words ─► global? ─► being confirmed? ─► menu: sure ─► branch
unsure ─► "Did you say …?", or the language model
none ───► escalating prompts, then the plan's way out
"""

from abc import abstractmethod

import msgspec

from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    AskRouter,
    CancelTimer,
    PauseRecording,
    StartTimer,
)
from voicebot.dialogue.answers import (
    describe,
)
from voicebot.dialogue.events import (
    CallerSaid,
)
from voicebot.dialogue.intent_router import Decision
from voicebot.dialogue.manner import OPEN
from voicebot.dialogue.running import Running

FILLER = "filler"
ROUTER = "router"
ROUTER_GRACE_MS = 150
MIN_WORDS_FOR_MODEL = 2
MODEL_SURE = 0.6  # a model's choice below this is asked back
GLOBAL_MATCH = 0.8
LOCAL, MODEL = "local", "model"


class Choosing(Running):
    """Takes choices."""

    def _said_global(self, said: CallerSaid, op: program.Op | None) -> bool:
        found = self._plan.global_matcher.best(said.text)
        if found is None or found.score < GLOBAL_MATCH or self._is_own(found.intent):
            return False
        if isinstance(op, program.AskMenu):
            own = op.router.matcher.best(said.text)
            if own is None or own.intent != found.intent:
                return False
        self._record_choice(said.text, said.confidence, found.intent, LOCAL)
        self._do_global(found.intent)
        return True

    def _menu_said(self, said: CallerSaid, op: program.AskMenu) -> None:
        decision = op.router.decide(said.text)
        intent = decision.intent
        if self._ask_model(said, op, decision):
            return
        self._record_choice(said.text, said.confidence, intent, LOCAL)
        if intent is None:
            self._no_match()
            return
        self._state.further = [i for i in decision.further if i not in self._plan.globals]
        self._state.heard = said.text
        if intent in self._plan.globals and decision.sure:
            self._do_global(intent)
        else:
            self._offer(intent, said.confidence, not decision.sure, op.waiting)

    def _record_choice(self, text: str, confidence: float, intent: str | None, routed_by: str) -> None:
        self._record(text, by="speech", confidence=confidence, intent=intent or "", routed_by=routed_by)

    def _ask_model(self, said: CallerSaid, op: program.AskMenu, decision: Decision) -> bool:
        """Leave an unsure utterance to the language model, where the plan allows that."""
        state = self._state
        rules, wait = self._plan.source.router.llm, state.wait
        few = len(said.text.split()) < MIN_WORDS_FOR_MODEL
        if rules is None or decision.sure or wait is None or few:
            return False
        offered = [*op.branches, *(g for g in self._plan.globals if g not in op.branches)]
        intents = tuple(i for i in offered if not rules.allow or i in rules.allow)
        if not intents:
            return False
        state.requests += 1
        state.heard = said.text
        wait.kind = "router"
        wait.request = f"r{state.requests}"
        wait.candidate = decision.intent or ""
        wait.candidate_confidence = said.confidence
        self._out += [
            AskRouter(request=wait.request, text=said.text, intents=intents, deadline_ms=rules.deadline),
            StartTimer(timer=ROUTER, after_ms=rules.deadline + ROUTER_GRACE_MS),
            self._filler_timer(op.waiting.patience),
        ]
        return True

    @staticmethod
    def _filler_timer(patience: program.Patience) -> StartTimer:
        """The caller shall not hear nothing for longer than the plan allows."""
        return StartTimer(timer=FILLER, after_ms=patience.filler_after_ms, of_silence=True)

    def _routed(self, intent: str | None, confidence: float) -> None:
        """The language model has chosen, or not in time."""
        state, wait, op = self._state, self._state.wait, self._op()
        if wait is None or wait.kind != "router" or not isinstance(op, program.AskMenu):
            return
        self._out += [CancelTimer(timer=ROUTER), CancelTimer(timer=FILLER)]
        guess, wait.candidate, wait.kind, wait.request = wait.candidate, "", "menu", ""
        wait.fillers = 0
        rules = self._plan.source.router.llm
        allowed = (
            intent is not None
            and (intent in op.branches or intent in self._plan.globals)
            and (rules is None or not rules.allow or intent in rules.allow)
        )
        heard = state.heard
        if not allowed:
            intent = guess if rules is None or rules.on_timeout == "fast" else None
        self._record_choice(heard, wait.candidate_confidence, intent, MODEL if allowed else LOCAL)
        state.heard = heard
        if not intent:
            self._no_match()
        elif allowed and intent in self._plan.globals and intent not in op.branches:
            self._do_global(intent)
        else:
            doubtful = not allowed or confidence < MODEL_SURE
            self._offer(intent, wait.candidate_confidence, doubtful, op.waiting)

    def _is_own(self, intent: str) -> bool:
        op = self._op()
        return isinstance(op, program.AskMenu) and intent in op.branches

    def _offer(
        self, value: str, confidence: float, doubtful: bool, waiting: program.Waiting, mode: str = "low"
    ) -> None:
        """Take an answer, or ask back when it is not sure."""
        wait = self._state.wait
        assert wait is not None
        low = confidence < waiting.low_confidence and waiting.when_low != "accept" and mode != "never"
        if low and waiting.when_low == "no_match":
            self._no_match()
        elif mode == "always" or low or (doubtful and mode != "never"):
            wait.candidate = value
            wait.candidate_confidence = confidence
            self._confirm()
        else:
            self._accept(value, by="speech")

    def _confirm(self) -> None:
        wait, op, waiting = self._state.wait, self._op(), self._waiting()
        assert wait is not None
        assert waiting is not None
        if isinstance(op, program.AskMenu):
            words = op.router.matcher.label(wait.candidate)
        else:
            words = describe(self._slot(wait.slot), wait.candidate)
        template = waiting.confirm_keyed if wait.candidate_by == "dtmf" else waiting.confirm
        self._say(
            self._text(template, answer=words),
            waiting.prompting,
            sensitive=bool(wait.slot) and self._sensitive(wait.slot),
        )
        self._listen()

    def _accept(self, value: str, *, by: str) -> None:
        op, wait = self._op(), self._state.wait
        assert wait is not None
        if isinstance(op, program.AskMenu):
            if value in op.branches:
                self._enter(op.branches[value])
            else:
                self._do_global(value)
        elif isinstance(op, program.CollectSlot):
            self._fill(op, value, by)

    def _no_input(self) -> None:
        wait, waiting = self._state.wait, self._waiting()
        if wait is None or waiting is None or wait.kind not in {"menu", "slot"}:
            return
        if wait.buffer:
            if self._slot(wait.slot).min_digits > len(wait.buffer):
                wait.buffer = ""
                self._no_match()
            return
        wait.no_inputs += 1
        self._reprompt(waiting.no_input, wait.no_inputs, waiting)

    def _no_match(self) -> None:
        wait, waiting = self._state.wait, self._waiting()
        assert wait is not None
        assert waiting is not None
        wait.no_matches += 1
        self._reprompt(waiting.no_match, wait.no_matches, waiting)

    def _reprompt(self, rule: program.Reprompt, count: int, waiting: program.Waiting) -> None:
        wait = self._state.wait
        assert wait is not None
        if count > rule.retries:
            wait.candidate = ""
            self._jump_out(rule.then)
            return
        text = None
        if rule.say:
            text = rule.say[min(count, len(rule.say)) - 1]
            self._speak(text, waiting.prompting)
        if wait.candidate:
            self._confirm()
        elif text is not None and "step.help" in text.names and waiting.help is not None:
            self._listen()
        else:
            self._ask(waiting)

    def _do_global(self, intent: str) -> None:
        rule = self._plan.globals[intent]
        waiting = self._waiting()
        if rule.say and rule.do != "cancel":
            self._speak(rule.say, OPEN)
        match rule.do:
            case None:
                assert rule.block is not None
                self._jump(rule.block)
            case "help" if waiting is not None and waiting.help is not None:
                self._speak(waiting.help, waiting.prompting)
                self._listen()
            case "go_back" if self._state.last_slot and self._return_to(self._state.last_slot):
                if self._sensitive(self._state.last_slot):
                    self._out.append(PauseRecording(paused=True))
                self._ask_again()
            case "cancel" if self._state.menu_frames:
                self._leave_wait()
                state = self._state
                state.frames = [msgspec.structs.replace(f) for f in state.menu_frames]
                state.further = []
                if rule.say:
                    self._speak(rule.say, OPEN)
                self._run()
            case _:
                self._ask_again()

    @abstractmethod
    def _fill(self, op: program.CollectSlot, value: str, by: str) -> None: ...

    @abstractmethod
    def _return_to(self, slot: str) -> bool: ...
