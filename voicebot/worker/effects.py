"""What the pure core of a call takes in and what it wants done.

``CallCore`` is handed link messages and the results below, each with the time; it returns effects. The
live shell (``call_session.py``) carries them out with real engines, tests and offline replay with
engines on virtual time.
"""

from dataclasses import dataclass, field

import msgspec

from voicebot.core.delivery import PLAIN_DELIVERY, Delivery
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import AskRouter, CallTool, Speak, StoreTurn, TransferCall
from voicebot.dialogue.events import JsonValue
from voicebot.handoff.context import ContextMemory, HandoffContext
from voicebot.handoff.handoff import Place
from voicebot.link.binary_media import BotAudio
from voicebot.link.messages import Stop, WorkerMessage


class OpenHandoff(msgspec.Struct, frozen=True, kw_only=True):
    """A handoff that is under way: who asked for it, where it stands, and what the caller was told."""

    handoff_id: str
    action: TransferCall
    place: Place
    callback_offered: bool = False


class CallState(msgspec.Struct, frozen=True, kw_only=True):
    """What another worker needs to go on with a call.

    ``conversation`` is the dialogue's snapshot; ``speaks`` is what has not been heard to its end,
    without what is sensitive; ``context`` is what a colleague would get to know; ``leaving`` is why the
    call ends once that is said, when the dialogue does not know of it. ``heard_frame`` and
    ``keys`` say how far into the caller's audio and key presses the conversation is: the edge may not
    have been told, and sends again what has been answered.
    """

    conversation: dict[str, JsonValue]
    speaks: tuple[Speak, ...] = ()
    context: ContextMemory = ContextMemory()
    handoff: OpenHandoff | None = None
    leaving: str = ""
    heard_frame: int = -1
    keys: int = 0


# ---------------------------------------------------------------- results that come in


@dataclass(frozen=True, slots=True)
class Heard:
    """The recogniser's view of caller turn ``turn``; ``confidence`` is 0 to 1."""

    turn: int
    text: str
    confidence: float
    final: bool
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecognitionFailed:
    """The recogniser gave up on a turn."""

    turn: int
    reason: str


@dataclass(frozen=True, slots=True)
class SpeechAudio:
    """A piece of an utterance: G.711 mu-law at 8 kHz."""

    utterance: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class SpeechDone:
    """All audio of an utterance is there; ``error`` says why when a voice failed."""

    utterance: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The edge is gone without a ``Stop``."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConsoleCommand:
    """Somebody outside the call wants something of it; ``audio`` is 20 ms of mu-law or more."""

    command: str
    uri: str = ""
    agent: str = ""
    audio: bytes = b""
    position: int = 0
    wait_s: int | None = None
    text: str = ""


# ---------------------------------------------------------------- effects that go out


@dataclass(frozen=True, slots=True)
class ToEdge:
    """Send this to the edge, in order."""

    message: WorkerMessage | BotAudio


@dataclass(frozen=True, slots=True)
class BeginRecognition:
    """A caller turn began; what is expected becomes the recogniser's grammar. Audio follows."""

    turn: int
    expectation: Expectation


@dataclass(frozen=True, slots=True)
class FeedRecognition:
    """Audio of the turn: G.711 mu-law at 8 kHz."""

    turn: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class EndRecognition:
    """The turn is over: force the final result."""

    turn: int


@dataclass(frozen=True, slots=True)
class CancelRecognition:
    """The turn does not count: throw the recogniser away."""

    turn: int


@dataclass(frozen=True, slots=True)
class BeginSynthesis:
    """Render this text; audio comes back as ``SpeechAudio`` and ``SpeechDone``."""

    utterance: str
    text: str
    delivery: Delivery = PLAIN_DELIVERY


@dataclass(frozen=True, slots=True)
class CancelSynthesis:
    """The utterance is no longer wanted."""

    utterance: str


@dataclass(frozen=True, slots=True)
class RenderAhead:
    """Render this text into the cache: it may be said in a moment, or never."""

    text: str
    delivery: Delivery = PLAIN_DELIVERY


@dataclass(frozen=True, slots=True)
class AskAhead:
    """Ask the router now; the same question asked in earnest gets this answer."""

    ask: AskRouter


@dataclass(frozen=True, slots=True)
class Persist:
    """Write a turn to the durable record before anything that follows in the list is done."""

    turn: StoreTurn


@dataclass(frozen=True, slots=True)
class SaveState:
    """Keep what another worker needs to go on from here; ``version`` grows with each."""

    version: int
    state: CallState


@dataclass(frozen=True, slots=True)
class TurnMeasured:
    """A turn has been answered: its hop times and what was decided, for the ``turn`` log event."""

    turn: int = -1
    text: str = ""
    intent: str = ""
    confidence: float = 1.0
    by: str = "speech"
    routed_by: str = ""
    end_reason: str = ""
    hold_ms: int = 0
    speculation: str = "none"
    overspent: tuple[str, ...] = ()
    hops_ms: dict[str, float] = field(default_factory=dict)
    stages_ms: dict[str, float] = field(default_factory=dict)
    response_onset_ms: float | None = None


@dataclass(frozen=True, slots=True)
class BudgetOverspent:
    """A stage took too long, and this was done about it; for the log.

    ``stage`` is asr, llm or tool. ``action`` is last_partial (answer what was heard so far),
    filler (say that we are still there) or gave_up (decide without the language model, and ask back; say
    that the tool cannot be reached).
    """

    stage: str
    action: str


@dataclass(frozen=True, slots=True)
class LegSpeech:
    """Render this text and send it to a dialled leg as ``LegAudio``."""

    leg: str
    utterance: str
    text: str


@dataclass(frozen=True, slots=True)
class HandoffNews:
    """Where a handoff stands, for the queue's record, the console and the webhook.

    ``stage`` is begin (with ``context``), a ``Stage``'s value, moved (``detail`` is the new queue),
    callback (``detail`` is the number), or end (with ``outcome`` and ``code``).
    """

    handoff_id: str
    stage: str
    detail: str = ""
    outcome: str = ""
    code: int = 0
    context: HandoffContext | None = None
    priority: str = "normal"
    skills: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndCall:
    """The call is over; ``stop`` is what the edge said last, None when the link broke."""

    reason: str
    stop: Stop | None


Input = Heard | RecognitionFailed | SpeechAudio | SpeechDone | LinkLost | ConsoleCommand
Effect = (
    ToEdge
    | BeginRecognition
    | FeedRecognition
    | EndRecognition
    | CancelRecognition
    | BeginSynthesis
    | CancelSynthesis
    | RenderAhead
    | AskAhead
    | CallTool
    | AskRouter
    | Persist
    | SaveState
    | TurnMeasured
    | BudgetOverspent
    | LegSpeech
    | HandoffNews
    | EndCall
)
