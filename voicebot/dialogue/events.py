"""What happens to a conversation. ``at_ms`` is the call's own clock: milliseconds since the answer."""

from typing import Any

import msgspec

from voicebot.turn.caller_manner import CALM, Manner

JsonValue = Any  # what JSON can hold: null, bool, number, text, list, object


class _Event(msgspec.Struct, frozen=True, tag_field="event", kw_only=True):
    at_ms: int = 0


class CallerSaid(_Event, frozen=True, tag="caller_said"):
    """The caller's turn is over. ``confidence`` is 0 to 1; ``alternatives`` are further readings.

    ``manner`` is how it was said: in a hurry, hesitating, loud.
    """

    text: str
    confidence: float = 1.0
    alternatives: tuple[str, ...] = ()
    manner: Manner = CALM


class DigitPressed(_Event, frozen=True, tag="digit_pressed"):
    """One key: 0-9, *, #, A-D."""

    digit: str


class NoInput(_Event, frozen=True, tag="no_input"):
    """Prompts were heard to their end and the time of the last ``Listen`` passed in silence."""


class PromptFinished(_Event, frozen=True, tag="prompt_finished"):
    """An utterance was sent to its end."""

    utterance: str


class PromptInterrupted(_Event, frozen=True, tag="prompt_interrupted"):
    """An utterance was cut by the caller; ``played_ms`` of it, about the words ``heard``, were heard."""

    utterance: str
    played_ms: int
    heard: str = ""


class TimerExpired(_Event, frozen=True, tag="timer_expired"):
    """A timer that the conversation started ran out."""

    timer: str


class ToolFinished(_Event, frozen=True, tag="tool_finished"):
    """Result of ``CallTool``: ``outcome`` is ok, denied, error or timeout."""

    request: str
    outcome: str
    values: dict[str, JsonValue] = {}


class ToolSaid(_Event, frozen=True, tag="tool_said"):
    """A sentence of the answer of a tool that still runs, checked and ready to be said."""

    request: str
    text: str


class RouteFinished(_Event, frozen=True, tag="route_finished"):
    """Result of ``AskRouter``: an allowed intent, or None when the router does not know."""

    request: str
    intent: str | None
    confidence: float = 0.0
    slots: dict[str, str] = {}


class TransferFinished(_Event, frozen=True, tag="transfer_finished"):
    """Outcome of ``TransferCall``: bridged, returned, voicemail or failed."""

    request: str
    outcome: str
    sip_code: int = 0
    reason: str = ""


class CallerHungUp(_Event, frozen=True, tag="caller_hung_up"):
    """The call is over; nothing can be said any more."""


Event = (
    CallerSaid
    | DigitPressed
    | NoInput
    | PromptFinished
    | PromptInterrupted
    | TimerExpired
    | ToolSaid
    | ToolFinished
    | RouteFinished
    | TransferFinished
    | CallerHungUp
)
