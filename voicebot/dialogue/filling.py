"""Fills slots by speech: one answer, groups of digits, values said before, corrections."""

from abc import abstractmethod
from typing import Any

import msgspec

from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    CancelTimer,
    PauseRecording,
)
from voicebot.dialogue.answers import (
    Answer,
    complete,
    describe,
    extract,
    in_range,
    slot_answer,
    stored_value,
)
from voicebot.dialogue.choosing import Choosing
from voicebot.dialogue.corrections import correction, without_denial
from voicebot.dialogue.events import (
    CallerSaid,
)
from voicebot.dialogue.manner import OPEN
from voicebot.dialogue.state import Wait
from voicebot.dialogue.talking import INTER_DIGIT
from voicebot.tts.number_words import digits_one_by_one

NO_CORRECTION = frozenset(["yes_no", "name", "text"])  # "no, …" is too often the answer itself
GROUPED = frozenset(["digits", "phone", "spelling"])  # said in groups, with pauses between them


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Filling(Choosing):
    """Fills slots."""

    def _corrected(self, said: CallerSaid) -> bool:
        """``No, I said five``: an answer to the question before, given while the next one is asked."""
        state, wait = self._state, self._state.wait
        rest = without_denial(said.text)
        if not state.last_slot or wait is None or wait.slot == state.last_slot:
            return False
        if not rest or rest == said.text.strip() or self._sensitive(state.last_slot):
            return False
        rules = self._slot(state.last_slot)
        if rules.type in NO_CORRECTION:
            return False
        found = slot_answer(rules, rest, self._today) if rules.speech else None
        if found is None or not complete(rules, found.value):
            return False
        if not self._return_to(state.last_slot):
            return False
        self._record(said.text, by="speech", confidence=said.confidence, value=found.value)
        op = self._op()
        assert isinstance(op, program.CollectSlot)
        self._offer(found.value, said.confidence, not found.sure, op.waiting, rules.confirm)
        return True

    def _return_to(self, slot: str) -> bool:
        """Stand at the question for ``slot`` again, if the flow that asked it is still under way."""
        state = self._state
        for depth in range(len(state.frames) - 1, -1, -1):
            target = self._plan.collected.get((state.frames[depth].block, slot))
            if target is not None and target < state.frames[depth].index:
                self._leave_wait()
                del state.frames[depth + 1 :]
                state.frames[depth].index = target + 1
                state.slots.pop(slot, None)
                state.wait = Wait(kind="slot", block=state.frames[depth].block, index=target, slot=slot)
                return True
        return False

    def _confirmed(self, said: CallerSaid, answer: bool | None) -> None:
        wait, op = self._state.wait, self._op()
        assert wait is not None
        candidate = wait.candidate
        if answer is True:
            self._record(said.text, by="speech", confidence=said.confidence)
            self._accept(candidate, by=wait.candidate_by)
            return
        # "no, I said five": the rest of the sentence may already be the right answer
        wait.candidate = ""
        if isinstance(op, program.AskMenu):
            other = self._other_choice(said.text, op, candidate, denied=answer is False)
            if other is not None:
                self._record(said.text, by="speech", confidence=said.confidence, intent=other)
                self._offer(other, said.confidence, False, op.waiting)
                return
        elif isinstance(op, program.CollectSlot):
            rules = self._slot(op.slot)
            found = correction(rules, said.text, candidate, self._today, denied=answer is False)
            if found is not None:
                self._record(said.text, by="speech", confidence=said.confidence, value=found.value)
                self._offer(found.value, said.confidence, False, op.waiting, rules.confirm)
                return
        self._record(said.text, by="speech", confidence=said.confidence)
        if answer is None:
            wait.candidate = candidate
        self._no_match()

    @staticmethod
    def _other_choice(text: str, op: program.AskMenu, candidate: str, *, denied: bool) -> str | None:
        """The choice wished instead: a phrase of the plan, after a "no" also other words for it."""
        named = op.router.matcher.best(text)
        other = None if named is None else named.intent
        rest = without_denial(text)
        if denied and rest and (other is None or other == candidate):
            decision = op.router.decide(rest)
            other = decision.intent if decision.sure else None
        return other if other != candidate and other in op.branches else None

    def _begin_slot(self, op: program.CollectSlot, block: str, index: int) -> None:
        if op.slot in self._state.slots:
            return
        rules = self._slot(op.slot)
        self._state.wait = Wait(kind="slot", block=block, index=index, slot=op.slot)
        if rules.sensitive:
            self._out.append(PauseRecording(paused=True))
        found = self._said_before(rules)
        if found is not None:
            answer, self._state.heard = found
            self._offer(answer.value, 1.0, not answer.sure, op.waiting, rules.confirm)
            return
        self._ask(op.waiting)

    def _said_before(self, rules: program.SlotRules) -> tuple[Answer, str] | None:
        heard = self._state.heard
        if not heard or not rules.speech or rules.sensitive or rules.type == self._state.heard_type:
            return None
        found = extract(rules, heard, self._today)
        return found if found and in_range(rules, found[0].value, self._today) else None

    def _slot_said(self, said: CallerSaid, op: program.CollectSlot) -> None:
        wait = self._state.wait
        assert wait is not None
        rules = self._slot(op.slot)
        found: Answer | None = slot_answer(rules, said.text, self._today) if rules.speech else None
        if found is None:
            self._record(said.text, by="speech", confidence=said.confidence)
            self._no_match()
            return
        if rules.type in GROUPED:
            whole = wait.buffer + found.value
            if complete(rules, found.value) or len(whole) > rules.max_digits:
                whole = found.value
            if len(whole) < rules.min_digits:
                # numbers are said in groups: keep this one and wait for the next
                self._record(said.text, by="speech", confidence=said.confidence, value=whole)
                wait.buffer = whole
                wait.candidate_confidence = min(wait.candidate_confidence, said.confidence)
                self._listen()
                return
            wait.buffer = ""
            found = Answer(whole, found.sure)
        if not complete(rules, found.value) or not in_range(rules, found.value, self._today):
            self._record(said.text, by="speech", confidence=said.confidence)
            self._refused(rules)
            return
        confidence = min(said.confidence, wait.candidate_confidence)
        self._record(said.text, by="speech", confidence=said.confidence, value=found.value)
        if rules.type not in GROUPED:
            self._state.heard = said.text  # "on friday at ten" answers the next question as well
            self._state.heard_type = rules.type
        wait.candidate_by = "speech"
        self._offer(found.value, confidence, not found.sure, op.waiting, rules.confirm)

    def _refused(self, rules: program.SlotRules) -> None:
        """A value that was understood but cannot be: out of range, too long, unknown to the tool."""
        wait, waiting = self._state.wait, self._waiting()
        assert wait is not None
        assert waiting is not None
        if rules.tool_fail is None:
            self._no_match()
            return
        wait.no_matches += 1
        if wait.no_matches > waiting.no_match.retries:
            self._jump_out(waiting.no_match.then)
            return
        self._speak(rules.tool_fail, waiting.prompting)
        self._ask(waiting)

    def _fill(self, op: program.CollectSlot, value: str, by: str) -> None:
        state = self._state
        rules = self._slot(op.slot)
        state.slots[op.slot] = stored_value(rules, value)
        wait = state.wait
        assert wait is not None
        confirmed = bool(wait.candidate)
        if rules.tool is None:
            self._slot_done(rules, by, confirmed=confirmed)
            return
        request = self._begin_tool(rules.tool, op.waiting.patience)
        if wait.buffer:
            self._out.append(CancelTimer(timer=INTER_DIGIT))
        state.wait = msgspec.structs.replace(
            wait, kind="validate", request=request, candidate="", buffer="", candidate_by=by,
            reason="confirmed" if confirmed else "",
        )  # fmt: skip

    def _slot_done(self, rules: program.SlotRules, by: str, *, confirmed: bool) -> None:
        waiting = self._waiting()
        if rules.read_back != "none" and by == "speech" and not confirmed and not rules.sensitive:
            text = _as_text(self._state.slots[rules.name])
            value = digits_one_by_one(text) if rules.read_back == "digits" else describe(rules, text)
            self._say(f"{value[:1].upper()}{value[1:]}.", waiting.prompting if waiting else OPEN)
        self._leave_wait()
        self._state.last_slot = rules.name
        self._run()

    @abstractmethod
    def _begin_tool(self, name: str, patience: program.Patience) -> str: ...
