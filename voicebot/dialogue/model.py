"""What may stand in a dialplan file: one model per thing, unknown keys refused.

The models only check the shape; ``compiler`` checks that names exist, ``checker`` that the plan makes
sense. Nothing here knows files or lines: ``loader`` puts the place to each error.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from voicebot.dialogue.model_steps import Branch, Defaults, SimpleStep, Speech, Step
from voicebot.dialogue.model_types import (
    DurationMs,
    Key,
    Model,
    Name,
    OneOrMany,
    Outcome,
    Texts,
    ValueType,
    as_list,
)


class RouteMatch(Model):
    """Every key given must match; a list means any of it.

    ``trunk`` is an address or network that the call comes from, or ``media-streams``.
    """

    to: Annotated[list[str], BeforeValidator(as_list), OneOrMany()] | None = None
    from_: Annotated[list[str], BeforeValidator(as_list), OneOrMany()] | None = Field(None, alias="from")
    trunk: Annotated[list[str], BeforeValidator(as_list), OneOrMany()] | None = None
    headers: dict[str, str] = Field(default_factory=dict)


class Route(Model):
    """Which flow answers which call; the first match wins.

    ``recogniser`` names the model of ``asr.models`` that hears the call; empty: by the plan's locale.
    """

    match: RouteMatch
    flow: Name
    recogniser: str = ""
    vars: dict[Name, JsonValue] = Field(default_factory=dict)


class Hours(Model):
    """Weekly opening hours, closed days and days with other hours, in the plan's time zone.

    A day is ``2026-12-25``, or ``12-25`` for every year; the first comes before the second.
    """

    weekly: dict[str, str | list[str]]
    closed_on: list[str] = Field(default_factory=list)
    special: dict[str, str | list[str]] = Field(default_factory=dict)


class GlobalIntent(Model):
    """Heard at any step."""

    intent: Name
    examples: list[str] = Field(default_factory=list)
    dtmf: Key | None = None
    do: Literal["repeat", "help", "go_back", "cancel"] | None = None
    goto: "Name | SimpleStep | None" = None
    say: str = ""


class Validation(Model):
    """What a value must be; ``webhook`` is a tool that says whether it is acceptable.

    ``min`` and ``max`` hold for number, money, date and time; a date may also be ``today``.
    """

    webhook: Name | None = None
    min: str | int | float | None = None
    max: str | int | float | None = None
    fail: str = "I can't find that."


SlotType = Literal[
    "digits",
    "number",
    "money",
    "date",
    "time",
    "choice",
    "name",
    "spelling",
    "phone",
    "yes_no",
    "text",
]


InputWay = Literal["speech", "dtmf"]


def _both_ways() -> list[InputWay]:
    return ["speech", "dtmf"]


class Slot(Model):
    """One typed piece of information."""

    type: SlotType
    ask: Texts
    help: str = ""
    length: int | None = Field(None, ge=1, le=32)
    min_length: int | None = Field(None, ge=1, le=32)
    max_length: int | None = Field(None, ge=1, le=32)
    options: dict[Name, list[str]] = Field(default_factory=dict)
    dtmf: dict[Key, Name] = Field(default_factory=dict)
    currency: str = ""
    past: bool = False
    sensitive: bool = False
    input: list[InputWay] = Field(default_factory=_both_ways)
    read_back: Literal["none", "grouped", "digits", "value"] = "none"
    confirm: Literal["low", "always", "never"] = "low"
    retries: int | None = Field(None, ge=0, le=9)
    fail: "Branch | None" = None
    validate_: Validation | None = Field(None, alias="validate")

    @property
    def digit_range(self) -> tuple[int, int]:
        """Fewest and most digits (or letters) of a value."""
        if self.length is not None:
            return self.length, self.length
        low = self.min_length or (7 if self.type == "phone" else 1)
        return low, self.max_length or max(low, 15 if self.type == "phone" else 20)


class Tool(Model):
    """Something outside that answers a question or does something.

    ``answer_from`` lets the language model answer the question in the first slot of ``send``, out of
    these texts only; each sentence is checked and said as soon as it is there. ``fixture`` answers where
    there is no address, in tests and ``chat``, when the host of the address is not in the installation's
    list of allowed hosts, and where an answer out of texts has no language model.
    """

    post: str | None = None
    get: str | None = None
    fixture: Name | None = None
    answer_from: Annotated[list[str], BeforeValidator(as_list), OneOrMany()] | None = None
    timeout: DurationMs = Field(3000, ge=50, le=30_000)
    retries: int = Field(0, ge=0, le=3)
    send: list[Name] = Field(default_factory=list)
    secret: str | None = None
    idempotency: Literal["call_id"] | None = None
    returns: dict[Name, ValueType] = Field(default_factory=dict)


class FixtureRow(Model):
    """One answer of a fixture, when all values of ``when`` are equal to what is sent."""

    when: dict[Name, JsonValue] = Field(default_factory=dict)
    outcome: Outcome = "ok"
    values: dict[Name, JsonValue] = Field(default_factory=dict)


class QueueAnnouncement(Model):
    """What a waiting caller hears about the queue, and how often."""

    position: bool = True
    wait: bool = True
    every: DurationMs | None = None


class Queue(Model):
    """Where callers are handed to.

    ``also`` ring together with ``sip``. ``hours`` names opening hours outside of which nobody is asked;
    ``skills`` what a colleague at the console must have. A caller who waited for ``overflow_after``, or
    finds ``max_waiting`` before him, goes on to ``overflow``, without one back to the bot.
    """

    sip: str
    also: list[str] = Field(default_factory=list, max_length=2)
    ring: DurationMs = 25_000
    mode: Literal["blind", "warm", "attended"] = "blind"
    priority: Literal["low", "normal", "high"] = "normal"
    announce: QueueAnnouncement = Field(default_factory=QueueAnnouncement)
    hours: Name | None = None
    skills: list[Name] = Field(default_factory=list)
    callback_after: DurationMs | None = None
    overflow: Name | None = None
    overflow_after: DurationMs | None = None
    max_waiting: int = Field(100, ge=1)

    @property
    def targets(self) -> tuple[str, ...]:
        """All that ring together."""
        return (self.sip, *self.also)


class HandoffReturn(Model):
    """What happens when nobody took the call."""

    say: str = "Nobody is free just now."
    goto: Name | None = None
    offer: list[Literal["wait", "callback", "continue"]] = Field(default_factory=list)


class CallBack(Model):
    """What somebody hears whom the bot calls back; without a yes or the key 1 nobody is put through."""

    say: str = "Hello. You asked us to call you back. Press 1 and I connect you with a colleague."
    again: str = "To speak with a colleague now, press 1. If you no longer need us, press 2."
    declined: str = "All right. Goodbye."


class HandoffSlots(Model):
    """Which slots a colleague is shown; without a list all that are not sensitive."""

    slots: list[Name] | None = None


class HandoffAccept(Model):
    """How a colleague takes a call, where it differs from the installation's settings."""

    digit: str | None = Field(None, pattern=r"^[0-9*#]$")
    timeout: DurationMs | None = Field(None, ge=1000, le=120_000)


class HandoffOutcomes(Model):
    """What follows when a queue's targets are busy; whatever else ends a try gives the caller back."""

    busy: Literal["return", "next_queue", "wait"] = "return"


class HandoffRules(Model):
    """How callers are handed over."""

    say: str = ""
    ended: str = "The conversation has ended. Goodbye."
    return_: HandoffReturn = Field(default_factory=HandoffReturn, alias="return")
    callback: CallBack = Field(default_factory=CallBack)
    context: HandoffSlots = Field(default_factory=HandoffSlots)
    accept: HandoffAccept = Field(default_factory=HandoffAccept)
    outcomes: HandoffOutcomes = Field(default_factory=HandoffOutcomes)


class FastRules(Model):
    """Probabilities of the local classifier."""

    accept: float = Field(0.45, ge=0, le=1)
    confirm: float = Field(0.2, ge=0, le=1)


class LlmRules(Model):
    """When and for what the language model is asked; without this section it never is."""

    deadline: DurationMs = Field(350, ge=50, le=5000)
    allow: list[Name] = Field(default_factory=list)
    on_timeout: Literal["fast", "no_match"] = "fast"


class RouterRules(Model):
    """How utterances are mapped to intents."""

    fast: FastRules = Field(default_factory=FastRules)
    llm: LlmRules | None = None
    out_of_scope: list[str] = Field(default_factory=list)


class TestTurn(Model):
    """One line of a test: one thing that the caller does, or what must be true of the bot's answer."""

    bot: str | None = None
    caller: str | None = None
    confidence: float = 1.0
    dtmf: str | None = None
    silence: bool | None = None
    hears_not: str | None = None
    ends: str | None = None
    hands_to: Name | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> "TestTurn":
        done = self.model_fields_set & {"caller", "dtmf", "silence"}
        expected = self.model_fields_set & {"bot", "hears_not", "ends", "hands_to"}
        if len(done) > 1 or (done and expected) or not (done or expected):
            raise ValueError(
                "a turn is one of caller, dtmf and silence, or what is expected: bot, hears_not, ends, "
                "hands_to"
            )
        if "confidence" in self.model_fields_set and self.caller is None:
            raise ValueError("only a turn of the caller has a confidence")
        if self.silence is False:
            raise ValueError("silence is true or left out")
        return self


class PlanTest(Model):
    """A test of the plan, run without any network."""

    name: str
    at: str = "2026-11-23T10:00"
    to: str | None = None
    caller: str = "+442071234567"
    trunk: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    stub: dict[Name, JsonValue] = Field(default_factory=dict)
    turns: list[TestTurn]

    @field_validator("at")
    @classmethod
    def _is_a_moment(cls, value: str) -> str:
        try:
            dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError('not a date and time; write "2026-11-23T10:00"') from error
        return value


class Dialplan(Model):
    """One application."""

    version: Literal[1]
    name: str
    locale: str = "en-GB"
    timezone: str = "UTC"
    speech: Speech = Field(default_factory=Speech)
    lexicon: dict[str, str] = Field(default_factory=dict)
    routes: list[Route] = Field(min_length=1)
    hours: dict[Name, Hours] = Field(default_factory=dict)
    defaults: Defaults = Field(default_factory=Defaults)
    globals: list[GlobalIntent] = Field(default_factory=list)
    slots: dict[Name, Slot] = Field(default_factory=dict)
    tools: dict[Name, Tool] = Field(default_factory=dict)
    fixtures: dict[Name, list[FixtureRow]] = Field(default_factory=dict)
    router: RouterRules = Field(default_factory=RouterRules)
    queues: dict[Name, Queue] = Field(default_factory=dict)
    handoff: HandoffRules = Field(default_factory=HandoffRules)
    flows: dict[Name, list[Step]] = Field(min_length=1)
    tests: list[PlanTest] = Field(default_factory=list)


def model_path(location: tuple[Any, ...], data: object) -> tuple[str | int, ...]:
    """The path in the file for a place in the model: union tags and list wrapping are no keys."""
    path: list[str | int] = []
    here = data
    for part in location:
        if isinstance(here, Mapping):
            there = part in here
        else:
            there = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if there:
            path.append(part)
            here = here[part]  # type: ignore[index]  # one of the two containers, just checked
    return tuple(path)
