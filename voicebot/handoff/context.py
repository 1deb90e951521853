"""What a colleague gets to know about the caller, and what not.

    turns, slots, tools ─► ContextBuilder.build ─► HandoffContext ─► webhook, GET, console, brief

Slots that the dialplan calls sensitive never enter: their turns arrive as ``[redacted]``, their values
are dropped by name and by content, and card numbers are masked everywhere (``session.redaction``).
"""

from typing import Final, Literal

import msgspec

from voicebot.session.redaction import REDACTED, redact_text

MAX_TURNS: Final = 10
MAX_TEXT_CHARS: Final = 500
Urgency = Literal["low", "normal", "high"]

_URGENT_REASONS: Final = frozenset({"auth_failed", "fraud", "error", "emergency", "stolen"})
_URGENT_WORDS: Final = frozenset({"stolen", "fraud", "urgent", "emergency", "hacked", "scam", "robbed"})


class ContextTurn(msgspec.Struct, frozen=True, kw_only=True):
    """One thing said, ``at_ms`` after the answer."""

    who: str
    text: str
    at_ms: int = 0


class ActionDone(msgspec.Struct, frozen=True, kw_only=True):
    """One tool that was run for the caller, with its outcome."""

    tool: str
    outcome: str
    at_ms: int = 0


class HandoffContext(msgspec.Struct, frozen=True, kw_only=True):
    """All that goes with a handed-over call; ``created_at`` is UTC text."""

    handoff_id: str
    call_id: str
    session_id: str = ""
    caller: str = ""
    caller_name: str = ""
    called: str = ""
    queue: str = ""
    reason: str = ""
    intent: str = ""
    verified: str = "no"
    urgency: Urgency = "normal"
    summary: str = ""
    turns: tuple[ContextTurn, ...] = ()
    slots: dict[str, str] = {}
    actions: tuple[ActionDone, ...] = ()
    created_at: str = ""


class ContextMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What was collected of a call, for the worker that takes it over; clean as the context is."""

    turns: tuple[ContextTurn, ...] = ()
    slots: dict[str, str] = {}
    actions: tuple[ActionDone, ...] = ()
    intent: str = ""


def memory_of(context: HandoffContext, *, verified_by: frozenset[str]) -> ContextMemory:
    """What another call of the same person begins with; who picks up there is not identified yet."""
    return ContextMemory(
        turns=context.turns,
        slots=context.slots,
        actions=tuple(a for a in context.actions if a.tool not in verified_by),
        intent=context.intent,
    )


class ContextBuilder:
    """Collects a call as it goes on.

    Args:
        sensitive: Names of slots that must not leave the bot.
        shown: Names of slots that a colleague is shown; None: all but the sensitive ones.
        verified_by: Tools whose success means that the caller is who they say.
    """

    def __init__(
        self,
        *,
        sensitive: frozenset[str] = frozenset(),
        shown: frozenset[str] | None = None,
        verified_by: frozenset[str] = frozenset(),
    ) -> None:
        self._sensitive = sensitive
        self._shown = shown
        self._verified_by = verified_by
        self._secrets: set[str] = set()
        self._turns: list[ContextTurn] = []
        self._numbers: list[int] = []
        self._slots: dict[str, str] = {}
        self._actions: list[ActionDone] = []
        self._intent = ""

    def turn(
        self,
        who: str,
        text: str,
        at_ms: int,
        *,
        intent: str = "",
        slots: dict[str, str],
        number: int = -1,
    ) -> None:
        """Something was said; ``slots`` is what it filled.

        A ``number`` that was there before takes the place of that turn and of all after it: the caller
        went on speaking, and they were taken back.
        """
        while number >= 0 and self._numbers and self._numbers[-1] >= number:
            self._numbers.pop()
            self._turns.pop()
        self._numbers.append(number)
        for name, value in slots.items():
            if name in self._sensitive:
                self._secrets.add(value)
            elif value != REDACTED and (self._shown is None or name in self._shown):
                self._slots[name] = value
        if intent:
            self._intent = intent
        self._turns.append(ContextTurn(who=who, text=text, at_ms=at_ms))

    def secret(self, value: str) -> None:
        """A value that must appear nowhere."""
        self._secrets.add(value)

    def action(self, tool: str, outcome: str, at_ms: int) -> None:
        """A tool was run."""
        self._actions.append(ActionDone(tool=tool, outcome=outcome, at_ms=at_ms))

    def memory(self) -> ContextMemory:
        """What another worker needs to build the same."""
        return ContextMemory(
            turns=self._last_turns(),
            slots={name: self._clean(value) for name, value in self._slots.items()},
            actions=tuple(self._actions),
            intent=self._intent,
        )

    def remember(self, memory: ContextMemory) -> None:
        """Go on from what another worker collected."""
        self._turns = list(memory.turns)
        self._numbers = [-1] * len(self._turns)
        self._slots = dict(memory.slots)
        self._actions = list(memory.actions)
        self._intent = memory.intent

    def build(self, base: HandoffContext, *, priority: Urgency = "normal") -> HandoffContext:
        """``base`` (ids, numbers, queue, reason) with everything that was collected, clean."""
        verified = any(a.outcome == "ok" and a.tool in self._verified_by for a in self._actions)
        context = msgspec.structs.replace(
            base,
            caller_name=self._clean(base.caller_name),
            intent=base.intent or self._intent,
            verified="yes" if verified else "no",
            turns=self._last_turns(),
            slots={name: self._clean(value) for name, value in self._slots.items()},
            actions=tuple(self._actions),
        )
        return msgspec.structs.replace(
            context, urgency=_urgency(context, priority), summary=self._clean(summarise(context))
        )

    def _last_turns(self) -> tuple[ContextTurn, ...]:
        return tuple(
            msgspec.structs.replace(turn, text=self._clean(turn.text))
            for turn in self._turns[-MAX_TURNS:]
        )

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            if secret and secret != REDACTED:
                text = text.replace(secret, REDACTED)
        return redact_text(text)[:MAX_TEXT_CHARS]


def _urgency(context: HandoffContext, priority: Urgency) -> Urgency:
    if priority == "high" or context.reason in _URGENT_REASONS:
        return "high"
    said = {w.strip(".,!?") for t in context.turns if t.who == "caller" for w in t.text.lower().split()}
    return "high" if said & _URGENT_WORDS else priority


_REASONS: Final = {
    "asked": "The caller asked for a person",
    "no_input": "The caller could not be heard",
    "no_match": "The caller was not understood",
    "error": "Something failed on our side",
    "auth_failed": "Identification failed",
    "auth_down": "The identification service is down",
    "core_down": "The account service is down",
}


def summarise(context: HandoffContext) -> str:
    """Two or three plain sentences from reason, intent, slots and tools; no model is needed."""
    sentences = [
        _REASONS.get(context.reason, f"Handed over: {_words(context.reason) or 'no reason given'}")
    ]
    if context.intent and context.intent not in {"agent", "yes", "no", "repeat", "help"}:
        sentences.append(f"It is about {_words(context.intent)}")
    if context.slots:
        known = ", ".join(f"{_words(name)} {value}" for name, value in context.slots.items())
        sentences.append(f"Known: {known}")
    if context.verified == "yes":
        sentences.append("The caller is identified")
    done = [_words(a.tool) for a in context.actions if a.outcome == "ok"]
    failed = [_words(a.tool) for a in context.actions if a.outcome not in {"ok", "denied"}]
    if done:
        sentences.append(f"Done: {', '.join(dict.fromkeys(done))}")
    if failed:
        sentences.append(f"Failed: {', '.join(dict.fromkeys(failed))}")
    last = next(
        (t.text for t in reversed(context.turns) if t.who == "caller" and t.text != REDACTED), ""
    )
    if last:
        sentences.append(f'Last words: "{last}"')
    return ". ".join(sentences) + "."


def _words(name: str) -> str:
    return name.replace("_", " ")
