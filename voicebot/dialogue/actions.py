"""What a conversation wants done. The worker does it; nothing here touches the outside."""

import msgspec

from voicebot.core.delivery import PLAIN_DELIVERY, Delivery
from voicebot.core.expectation import Expectation
from voicebot.dialogue.events import JsonValue


class _Action(msgspec.Struct, frozen=True, tag_field="action", kw_only=True):
    pass


class Speak(_Action, frozen=True, tag="speak"):
    """Say ``text`` (words; typed values are already rendered) after what is queued.

    ``speech_barge_in`` and ``dtmf_barge_in`` tell whether the caller may cut it; it takes ``min_words``
    words. ``sensitive`` text is neither logged nor stored.
    """

    utterance: str
    text: str
    speech_barge_in: bool = True
    dtmf_barge_in: bool = True
    min_words: int = 1
    delivery: Delivery = PLAIN_DELIVERY
    sensitive: bool = False


class Listen(_Action, frozen=True, tag="listen"):
    """From now on the caller's words are an answer to this; replaces the ``Listen`` before.

    ``no_input_ms`` counts from the end of all queued prompts; None waits for ever. An
    answer later than ``response_onset_ms`` after the caller is over budget. ``sensitive`` speech
    is neither logged, stored nor recorded.
    """

    expectation: Expectation
    no_input_ms: int | None = None
    response_onset_ms: int | None = None
    sensitive: bool = False


class StopListening(_Action, frozen=True, tag="stop_listening"):
    """The caller's words are no answer for now."""


class ClearPrompts(_Action, frozen=True, tag="clear_prompts"):
    """Throw away what is being said and queued (after a key press that cuts in)."""


class StartTimer(_Action, frozen=True, tag="start_timer"):
    """Deliver ``TimerExpired`` after this time; a timer of the same name is replaced.

    With ``of_silence`` the time is what the caller hears nothing: it counts from the last sound of
    either side, stands still while the bot speaks, and ends early enough for what is then said.
    """

    timer: str
    after_ms: int
    of_silence: bool = False


class CancelTimer(_Action, frozen=True, tag="cancel_timer"):
    """Forget a timer; unknown names are ignored."""

    timer: str


class CallTool(_Action, frozen=True, tag="call_tool"):
    """Run a tool of the dialplan; ``idempotency_key`` is the same after a takeover."""

    request: str
    tool: str
    arguments: dict[str, JsonValue]
    idempotency_key: str


class AskRouter(_Action, frozen=True, tag="ask_router"):
    """Let the language model choose among ``intents`` for ``text``; answered by ``RouteFinished``."""

    request: str
    text: str
    intents: tuple[str, ...]
    deadline_ms: int


class TransferCall(_Action, frozen=True, tag="transfer_call"):
    """Hand the caller to ``uri`` of ``queue`` (from the dialplan, never from a caller or a model)."""

    request: str
    uri: str
    queue: str = ""
    mode: str = "blind"
    reason: str = ""
    headers: dict[str, str] = {}


class PauseRecording(_Action, frozen=True, tag="pause_recording"):
    """Keep sensitive parts out of the recording."""

    paused: bool


class StoreTurn(_Action, frozen=True, tag="store_turn"):
    """One finished turn for the durable record; ``turn`` counts from 0 within the session.

    ``who`` is caller or bot; ``routed_by`` tells who chose the intent of spoken words: ``local``
    (phrases and classifier) or ``model``. Sensitive text arrives as ``[redacted]``.
    """

    turn: int
    who: str
    text: str
    step: str = ""
    intent: str = ""
    slots: dict[str, str] = {}
    confidence: float = 1.0
    by: str = "speech"
    routed_by: str = ""


class HangUp(_Action, frozen=True, tag="hang_up"):
    """End the call after what is queued has been heard."""

    reason: str


Action = (
    Speak
    | Listen
    | StopListening
    | ClearPrompts
    | StartTimer
    | CancelTimer
    | CallTool
    | AskRouter
    | TransferCall
    | PauseRecording
    | StoreTurn
    | HangUp
)
