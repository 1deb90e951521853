"""What may stand in flows, and the defaults of steps: one model per step."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
)

from voicebot.dialogue.model_types import (
    DurationMs,
    Key,
    Language,
    Model,
    Name,
    OneOrMany,
    Outcome,
    Texts,
    as_list,
)


class ProsodyFactors(Model):
    """How words are said, as factors of what the voice does by itself."""

    rate: float = Field(1.0, ge=0.5, le=2.0)
    pitch: float = Field(1.0, ge=0.7, le=1.4)


ProsodyChoice = Literal["neutral", "calm", "urgent", "slow", "fast"] | ProsodyFactors


class SpeakingOptions(Model):
    """Which voice speaks, and how; what is not given is inherited."""

    voice: str | None = None
    prosody: ProsodyChoice | None = None


class Speech(SpeakingOptions):
    """How the whole plan is spoken, and what is different in one of its languages."""

    languages: dict[Language, SpeakingOptions] = Field(default_factory=dict)


class BargeIn(Model):
    """Whether the caller may cut a prompt."""

    speech: bool = True
    dtmf: bool = True
    min_words: int = Field(1, ge=1, le=10)


class NoInputRule(Model):
    """What happens when the caller says nothing."""

    timeout: DurationMs = Field(6000, ge=500, le=120_000)
    retries: int = Field(2, ge=0, le=9)
    say: Texts = Field(default_factory=lambda: ["Sorry, I didn't hear you."])
    then: "Branch | None" = None


class NoMatchRule(Model):
    """What happens when the answer is not understood."""

    retries: int = Field(2, ge=0, le=9)
    say: Texts = Field(default_factory=lambda: ["Sorry, I didn't catch that.", "{{ step.help }}"])
    then: "Branch | None" = None


class LowConfidence(Model):
    """Below this confidence an answer is confirmed, or treated as not understood.

    ``say`` and ``say_keyed`` ask back what was said or keyed in; ``{{ answer }}`` is its words.
    """

    below: float = Field(0.55, ge=0, le=1)
    do: Literal["confirm", "no_match", "accept"] = "confirm"
    say: str = "Did you say {{ answer }}?"
    say_keyed: str = "I have {{ answer }}. Is that right?"


class DtmfRule(Model):
    """How keys are collected."""

    inter_digit: DurationMs = Field(3000, ge=500, le=30_000)
    terminator: Key = "#"
    cancel: Key = "*"


class Budget(Model):
    """How long the caller waits in silence.

    An answer later than ``response_onset`` is named in the log and the call record; when something
    outside keeps the caller waiting, ``filler`` is said before the caller has heard nothing for
    ``filler_after``, and ``filler_again`` before each further such silence.
    """

    response_onset: DurationMs = 700
    filler_after: DurationMs = 900
    filler: str = "One moment."
    filler_again: str = "I am still working on it."


class OnError(Model):
    """What the caller hears when something on our side fails."""

    say: str = "Something went wrong on our side."
    then: "Branch | None" = None


class RingBackRule(Model):
    """What a caller is offered whose last call was cut off by a fault of ours.

    When he rings again within ``within``, ``say`` asks whether to go on where he was; ``offer: false``
    never asks.
    """

    offer: bool = True
    within: DurationMs = Field(600_000, ge=1000, le=86_400_000)
    say: str = "Your last call was cut off. Shall we go on where we were?"
    help: str = "Say yes, or press 1, to go on. Say no, or press 2, to start again."


class Defaults(Model):
    """Inherited by every step; a step may override."""

    barge_in: BargeIn = Field(default_factory=BargeIn)
    no_input: NoInputRule = Field(default_factory=NoInputRule)
    no_match: NoMatchRule = Field(default_factory=NoMatchRule)
    low_confidence: LowConfidence = Field(default_factory=LowConfidence)
    dtmf: DtmfRule = Field(default_factory=DtmfRule)
    budget: Budget = Field(default_factory=Budget)
    on_error: OnError = Field(default_factory=OnError)
    gave_up: str = "I'm sorry I could not help you. Goodbye."
    ring_back: RingBackRule = Field(default_factory=RingBackRule)


class StepOptions(SpeakingOptions):
    """What a step that waits for the caller may override, key by key."""

    barge_in: BargeIn | None = None
    no_input: NoInputRule | None = None
    no_match: NoMatchRule | None = None
    low_confidence: LowConfidence | None = None
    budget: Budget | None = None


class SimpleStep(SpeakingOptions):
    """``language``, ``say``, ``set``, ``clear``, then at most one way to go on, done in this order.

    ``language`` holds from here to the end of the call.
    """

    language: Language | None = None
    say: Texts | None = None
    barge_in: BargeIn | None = None
    set: dict[Name, JsonValue] | None = None
    clear: Annotated[list[Name], BeforeValidator(as_list), OneOrMany()] | None = None
    retry: Name | None = None
    goto: Name | None = None
    handoff: Name | None = None
    hangup: str | None = None
    reason: str = ""


class IfStep(Model):
    """A condition in the expression language."""

    if_: str = Field(alias="if")
    then: "Branch"
    else_: "Branch | None" = Field(None, alias="else")


class Choice(Model):
    """One answer of a menu."""

    intent: Name
    dtmf: Key | None = None
    examples: list[str] = Field(default_factory=list)
    goto: Name | None = None
    then: "Branch | None" = None


class Menu(StepOptions):
    """A question with named answers."""

    ask: Texts
    help: str = ""
    choices: list[Choice] = Field(min_length=1)


class MenuStep(Model):
    """Ask and branch."""

    menu: Menu


class CollectStep(StepOptions):
    """Fill one slot, or several in order."""

    collect: Annotated[list[Name], BeforeValidator(as_list), OneOrMany()] = Field(min_length=1)


class CallStep(Model):
    """Run a tool and branch on its outcome."""

    call: Name
    filler: str | None = None
    budget: Budget | None = None
    result: dict[Outcome, "Branch"] = Field(default_factory=dict)


class RequireStep(Model):
    """Make sure that a variable is true, running a flow that makes it so."""

    require: dict[Name, Name] = Field(min_length=1)
    fail: "Branch | None" = None


_VERBS = ("menu", "collect", "call", "require", "if")


def _verb(value: object) -> str:
    if isinstance(value, Mapping):
        for verb in _VERBS:
            if verb in value:
                return f"<{verb}>"
    return "<step>"


Step = Annotated[
    Annotated[SimpleStep, Tag("<step>")]
    | Annotated[IfStep, Tag("<if>")]
    | Annotated[MenuStep, Tag("<menu>")]
    | Annotated[CollectStep, Tag("<collect>")]
    | Annotated[CallStep, Tag("<call>")]
    | Annotated[RequireStep, Tag("<require>")],
    Discriminator(_verb),
]


Branch = Annotated[list[Step], BeforeValidator(as_list), OneOrMany()]
