"""A dialplan compiled for running: immutable, every name resolved, every text and condition parsed.

CompiledDialplan ─► blocks: name ─► (Op, Op, …)        a flow is a block; so is each branch
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from voicebot.core.delivery import Delivery
from voicebot.core.expectation import Expectation
from voicebot.dialogue.expressions import Expression, Template
from voicebot.dialogue.hours import WeeklyHours
from voicebot.dialogue.intent_router import IntentRouter
from voicebot.dialogue.manner import Manner, Prompting
from voicebot.dialogue.matching import PhraseMatcher
from voicebot.dialogue.model import Dialplan
from voicebot.tts.lexicon import Lexicon
from voicebot.tts.number_words import Locale

BlockName = str


@dataclass(frozen=True, slots=True)
class Reprompt:
    """What is said when an answer is missing: one text per try, then ``then``."""

    retries: int
    say: tuple[Template, ...]
    then: BlockName


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the caller may wait in silence, and what he hears then."""

    response_onset_ms: int
    filler_after_ms: int
    filler: Template
    filler_again: Template


@dataclass(frozen=True, slots=True)
class Waiting:
    """How a step waits for the caller, defaults filled in."""

    ask: tuple[Template, ...]
    help: Template | None
    prompting: Prompting
    patience: Patience
    no_input_ms: int
    no_input: Reprompt
    no_match: Reprompt
    low_confidence: float
    when_low: str
    confirm: Template
    confirm_keyed: Template


@dataclass(frozen=True, slots=True)
class Say:
    """Say texts."""

    texts: tuple[Template, ...]
    prompting: Prompting


@dataclass(frozen=True, slots=True)
class UseLanguage:
    """From here on the call goes on in another language."""

    locale: Locale


@dataclass(frozen=True, slots=True)
class Set:
    """Set variables, each to a constant or to the value of an expression."""

    values: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget slots, so that they are asked for again."""

    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class If:
    """Go into one of two blocks."""

    condition: Expression
    then: BlockName
    otherwise: BlockName | None


@dataclass(frozen=True, slots=True)
class AskMenu:
    """A question with named answers."""

    waiting: Waiting
    branches: Mapping[str, BlockName]
    keys: Mapping[str, str]
    router: IntentRouter
    expectation: Expectation


@dataclass(frozen=True, slots=True)
class CollectSlot:
    """Fill one slot."""

    slot: str
    waiting: Waiting
    expectation: Expectation


@dataclass(frozen=True, slots=True)
class RunTool:
    """Run a tool, branch on its outcome."""

    tool: str
    patience: Patience
    branches: Mapping[str, BlockName]


@dataclass(frozen=True, slots=True)
class Require:
    """Run ``flow`` unless ``variable`` is true; ``fail`` when it is not true afterwards either."""

    variable: str
    flow: BlockName
    fail: BlockName


@dataclass(frozen=True, slots=True)
class Goto:
    """Leave this flow for another."""

    flow: BlockName


@dataclass(frozen=True, slots=True)
class Retry:
    """Forget a slot and go back to where it is asked for."""

    slot: str
    block: BlockName
    index: int
    exhausted: BlockName


@dataclass(frozen=True, slots=True)
class HandOff:
    """Hand the caller to a queue."""

    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """Hang up after what is queued."""

    reason: str


@dataclass(frozen=True, slots=True)
class TakeUp:
    """Remember what an earlier call of this caller knew, but none of its ``gates``."""

    gates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequireAgain:
    """Run a ``Require`` that the earlier call had passed."""

    gate: Require


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go to where the earlier call was, unless one of ``gates`` that it had passed is shut."""

    gates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartAnew:
    """Forget the earlier call."""


Op = (
    Say
    | UseLanguage
    | Set
    | Clear
    | If
    | AskMenu
    | CollectSlot
    | RunTool
    | Require
    | Goto
    | Retry
    | HandOff
    | End
    | TakeUp
    | RequireAgain
    | GoOn
    | StartAnew
)


@dataclass(frozen=True, slots=True)
class SlotRules:
    """One slot, ready for use."""

    name: str
    type: str
    sensitive: bool
    min_digits: int
    max_digits: int
    low: str
    high: str
    past: bool
    currency: str
    locale: Locale
    speech: bool
    dtmf: bool
    keyed: tuple[int, int] | None
    keys: Mapping[str, str]
    options: tuple[str, ...]
    matcher: PhraseMatcher
    read_back: str
    confirm: str
    tool: str | None
    tool_fail: Template | None


@dataclass(frozen=True, slots=True)
class GlobalRule:
    """One intent that is heard everywhere: it either does something or goes somewhere."""

    intent: str
    do: str | None
    block: BlockName | None
    say: Template | None


@dataclass(frozen=True, slots=True)
class CompiledDialplan:
    """Everything a conversation needs; shared by all calls of one version of the file."""

    source: Dialplan
    name: str
    locale: Locale
    timezone: ZoneInfo
    manners: Mapping[str, Manner]
    lexicon: Lexicon
    blocks: Mapping[BlockName, tuple[Op, ...]]
    slots: Mapping[str, SlotRules]
    flow_slots: Mapping[str, frozenset[str]]
    collected: Mapping[tuple[BlockName, str], int]
    globals: Mapping[str, GlobalRule]
    global_keys: Mapping[str, str]
    global_matcher: PhraseMatcher
    hours: Mapping[str, WeeklyHours]
    yes_no: Expectation
    on_error: BlockName
    handoff_return: BlockName
    callbacks: Mapping[str, BlockName]
    handoff_say: Template | None
    handoff_ended: Template | None

    def delivery(self, manner: Manner, locale: Locale) -> Delivery:
        """How a step's text is spoken in this language."""
        plain = self.manners.get(locale, self.manners[""])
        return manner.over(plain).delivery(locale)
