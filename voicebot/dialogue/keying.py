"""Keys: menu choices, globals, confirmation, and values keyed in digit by digit."""

from voicebot.dialogue import program
from voicebot.dialogue.actions import (
    CancelTimer,
    StartTimer,
)
from voicebot.dialogue.answers import (
    complete,
    in_range,
    keyed_answer,
)
from voicebot.dialogue.events import (
    CallerSaid,
)
from voicebot.dialogue.filling import Filling
from voicebot.dialogue.state import Wait
from voicebot.dialogue.talking import INTER_DIGIT

CONFIRMED_WHEN_KEYED = frozenset(["date", "time", "money"])  # what the keys mean is easily mistaken


class Keying(Filling):
    """Takes keys."""

    def _digit(self, digit: str) -> None:
        state = self._state
        if state.swallow == digit:
            state.swallow = ""
            self._say_interrupted()
            return
        state.swallow = ""
        wait, op = state.wait, self._op()
        if wait is None or wait.kind not in {"menu", "slot"}:
            return
        if wait.candidate and digit in "12":
            said = CallerSaid(text="yes" if digit == "1" else "no")
            self._confirmed(said, digit == "1")
            return
        if isinstance(op, program.AskMenu) and digit in op.keys:
            intent = op.keys[digit]
            self._record(digit, by="dtmf", intent=intent)
            wait.candidate = ""
            self._accept(intent, by="dtmf")
            return
        if isinstance(op, program.CollectSlot):
            rules = self._slot(op.slot)
            if rules.keyed is not None and rules.dtmf:
                self._collect_key(digit, rules, wait)
                return
            value = rules.keys.get(digit, "")
            if rules.type == "yes_no" and rules.dtmf:
                value = {"1": "true", "2": "false"}.get(digit, "")
            if value:
                self._record(digit, by="dtmf", value=value)
                if rules.confirm == "always":
                    wait.candidate_by = "dtmf"
                    wait.candidate = value
                    self._confirm()
                else:
                    self._fill(op, value, "dtmf")
                return
        if digit in self._plan.global_keys:
            intent = self._plan.global_keys[digit]
            self._record(digit, by="dtmf", intent=intent)
            self._do_global(intent)
            return
        self._record(digit, by="dtmf")
        self._no_match()

    def _collect_key(self, digit: str, rules: program.SlotRules, wait: Wait) -> None:
        dtmf = self._plan.source.defaults.dtmf
        if digit == dtmf.cancel:
            self._out.append(CancelTimer(timer=INTER_DIGIT))
            wait.buffer = ""
            wait.candidate = ""
            self._ask_again()
        elif digit == dtmf.terminator:
            self._out.append(CancelTimer(timer=INTER_DIGIT))
            self._digits_complete(rules, wait)
        elif digit.isdigit():
            wait.candidate = ""
            wait.buffer += digit
            assert rules.keyed is not None
            if len(wait.buffer) >= rules.keyed[1]:
                self._out.append(CancelTimer(timer=INTER_DIGIT))
                self._state.swallow = dtmf.terminator
                self._digits_complete(rules, wait)
            else:
                self._out.append(StartTimer(timer=INTER_DIGIT, after_ms=dtmf.inter_digit))

    def _digits_complete(self, rules: program.SlotRules, wait: Wait) -> None:
        digits, wait.buffer = wait.buffer, ""
        op = self._op()
        assert isinstance(op, program.CollectSlot)
        value = keyed_answer(rules, digits, self._today) or ""
        if digits in self._plan.global_keys and not (value and complete(rules, value)):
            intent = self._plan.global_keys[digits]  # "0" alone where eight digits are wanted
            self._record(digits, by="dtmf", intent=intent)
            self._do_global(intent)
            return
        self._record(digits, by="dtmf", value=value)
        if not value or not complete(rules, value):
            self._no_match()
        elif not in_range(rules, value, self._today):
            self._refused(rules)
        elif rules.confirm == "always" or (rules.type in CONFIRMED_WHEN_KEYED and not rules.sensitive):
            wait.candidate_by = "dtmf"
            wait.candidate = value
            self._confirm()
        else:
            self._fill(op, value, "dtmf")
