"""Every message of the link between an edge and a worker, dialect ``voicebot.v1``.

One WebSocket per call leg; the edge connects. Control messages are JSON text with a ``type`` tag;
audio is binary (``binary_media.py``). Units are in the names. ``utterance`` is an id given by the
worker, at most 32 ASCII characters; ``generation`` grows by one at each ``Clear``, and the edge drops
audio of an older generation. docs/link-protocol.md shows the order of messages in a call.
"""

from typing import Literal

import msgspec

from voicebot.core.sip_step import SipStep

DIALECT_VOICEBOT_V1 = "voicebot.v1"
DIALECT_MEDIA_STREAMS = "media-streams"
NO_CALL_SLOT = "no free call slot"
"""Reason of a ``Result`` with 503 when nothing was sent to the far end."""

DtmfSource = Literal["rfc4733", "info", "link"]
EndedBy = Literal["caller", "bot", "edge", "worker"]


class _Message(msgspec.Struct, frozen=True, tag_field="type", kw_only=True, omit_defaults=True):
    pass


# ---------------------------------------------------------------- edge to worker


class UtteranceProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Where an utterance stands at the edge. ``complete``: its ``EndUtterance`` has come.

    ``received_samples`` is how much of its audio has reached the edge: a worker that says the rest
    renders the text again and leaves so much out.
    """

    utterance: str
    played_ms: int
    complete: bool
    finished: bool
    received_samples: int = 0


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker needs to take over a call under way.

    ``utterances`` are the latest ones that the edge knows: what is not complete there is said to its
    end. ``acknowledged_keys`` counts the key presses of the call that are in the stored state; later
    ones are sent again, each at its place among the replayed frames. ``talk_ms`` is the time since the
    answer. ``silent``: the worker before was left for its silence, so it may still live.
    """

    session_id: str
    last_utterance: str = ""
    last_utterance_played_ms: int = 0
    acknowledged_frame: int = -1
    acknowledged_keys: int = 0
    talk_ms: int = 0
    silent: bool = False
    generation: int = 0
    lease: int = 0
    utterances: tuple[UtteranceProgress, ...] = ()


class Start(_Message, frozen=True, tag="start"):
    """A call leg wants a worker. First message of a link; the SIP dialog is not answered yet.

    ``caller`` and ``called`` are the user parts of From and the Request-URI, cleaned. ``headers`` holds
    the SIP headers that may matter to a dialplan (X-*, User-to-User, Diversion, P-Asserted-Identity),
    cleaned, names in lower case. ``recording`` is where the edge will put the stereo recording,
    empty when recording is off. ``edge`` is the edge's SIP address (``host:port``): whose calls they
    were when it dies. ``originated`` is the worker's order when we called somebody: the dialog is
    answered, and ``caller`` is who was called.
    """

    call_id: str
    session_id: str
    edge: str = ""
    sip_call_id: str = ""
    caller: str = ""
    caller_name: str = ""
    called: str = ""
    source_address: str = ""
    trunk: str = ""
    headers: dict[str, str] = {}
    codec: str = "PCMU"
    recording: str = ""
    edge_monotonic_us: int = 0
    answered: bool = False
    originated: "Originate | None" = None
    resume: Resume | None = None


class Dtmf(_Message, frozen=True, tag="dtmf"):
    """One press of a key, delivered exactly once."""

    digit: str
    duration_ms: int = 0
    source: DtmfSource = "rfc4733"


class Played(_Message, frozen=True, tag="played"):
    """How much of an utterance has left for the caller; each 100 ms and at its end.

    ``edge_us`` is the edge clock at the end of the last packet counted: the first packet of the
    utterance left at ``edge_us`` minus ``played_ms``.
    """

    utterance: str
    played_ms: int
    edge_us: int = 0
    finished: bool = False


class ClearedUtterance(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard and what was thrown away of one utterance."""

    utterance: str
    played_ms: int
    dropped_ms: int


class Cleared(_Message, frozen=True, tag="cleared"):
    """Answer to ``Clear``."""

    generation: int
    utterances: tuple[ClearedUtterance, ...] = ()


class Stats(_Message, frozen=True, tag="stats"):
    """Line quality, each 5 s. Counts are since the start of the call."""

    received_packets: int = 0
    lost_packets: int = 0
    late_packets: int = 0
    duplicate_packets: int = 0
    foreign_packets: int = 0
    malformed_packets: int = 0
    jitter_ms: float = 0.0
    target_delay_ms: float = 0.0
    concealed_ms: int = 0
    sent_packets: int = 0
    queue_ms: int = 0
    dropped_queue_ms: int = 0


class Result(_Message, frozen=True, tag="result"):
    """Outcome of the request with the same ``request`` id; ``code`` is a SIP status where one exists."""

    request: str
    ok: bool
    code: int = 0
    reason: str = ""


class TransferProgress(_Message, frozen=True, tag="transfer_progress"):
    """A NOTIFY of a REFER, or a provisional response of a dialled leg."""

    request: str
    code: int
    reason: str = ""
    final: bool = False


class LegEnded(_Message, frozen=True, tag="leg_ended"):
    """A leg that the worker dialled is gone."""

    leg: str
    code: int = 0
    reason: str = ""


class LegDtmf(_Message, frozen=True, tag="leg_dtmf"):
    """A key that a dialled leg pressed; while it is bridged the caller hears it too."""

    leg: str
    digit: str


class LegPlayed(_Message, frozen=True, tag="leg_played"):
    """An utterance of ``LegAudio`` was sent to its end."""

    leg: str
    utterance: str


class Held(_Message, frozen=True, tag="held"):
    """The caller put us on hold, or took us back."""

    held: bool


class Stop(_Message, frozen=True, tag="stop"):
    """The call leg is over; last message of the edge.

    ``recording_partial``: there should be a recording, and audio is missing in it. ``sip``: the dialog
    in short, at most 64 messages.
    """

    reason: str
    ended_by: EndedBy = "caller"
    sip_code: int = 0
    stats: Stats | None = None
    recording_partial: bool = False
    sip: tuple[SipStep, ...] = ()


class Heartbeat(_Message, frozen=True, tag="heartbeat"):
    """Sent by both sides when nothing else was.

    ``load`` is how busy a worker is, 0 to 1 and more: an edge gives the next call to the least busy one.
    """

    monotonic_us: int = 0
    load: float = 0.0


# ---------------------------------------------------------------- worker to edge


class Originate(_Message, frozen=True, tag="originate"):
    """Call somebody who asked for it; sent on a link that waits for a call, which becomes this one's.

    When the far end answers ``Start`` follows with this message in it; else a ``Result`` with the same
    ``request`` and its final status, and the link is closed. ``caller`` is who is called and ``called``
    the number of ours that he had called: what ``Start`` will say. ``queue`` is where he waited.
    """

    request: str
    uri: str
    caller: str
    called: str = ""
    queue: str = ""
    headers: dict[str, str] = {}
    timeout_s: float = 30.0


class Answer(_Message, frozen=True, tag="answer"):
    """Answer the SIP call with 200."""

    request: str
    headers: dict[str, str] = {}


class Reject(_Message, frozen=True, tag="reject"):
    """Refuse the SIP call with a final status of 300 to 699."""

    request: str
    code: int
    reason: str = ""
    headers: dict[str, str] = {}


class EndUtterance(_Message, frozen=True, tag="end_utterance"):
    """No more audio of this utterance will come; ``Played.finished`` follows once it has been sent."""

    utterance: str


class Pause(_Message, frozen=True, tag="pause"):
    """Stop playing after a ramp, keep what is queued."""

    ramp_ms: int = 20


class Unpause(_Message, frozen=True, tag="resume"):
    """Go on from the sample at which ``Pause`` took effect."""


class Clear(_Message, frozen=True, tag="clear"):
    """Throw away all queued audio; ``generation`` becomes the current one."""

    generation: int
    ramp_ms: int = 5


class Transfer(_Message, frozen=True, tag="transfer"):
    """Transfer by REFER: blind to ``uri``, or attended to an answered ``leg`` (Replaces, RFC 3891)."""

    request: str
    uri: str
    headers: dict[str, str] = {}
    leg: str = ""


class Dial(_Message, frozen=True, tag="dial"):
    """Call somebody as a further leg of this call."""

    request: str
    leg: str
    uri: str
    headers: dict[str, str] = {}
    timeout_s: float = 30.0


class LegAudio(_Message, frozen=True, tag="leg_audio"):
    """Speech for a dialled leg: G.711 mu-law at 8 kHz, base64 in JSON, at most four seconds a message.

    ``last`` ends the utterance; ``LegPlayed`` follows once it has been sent.
    """

    leg: str
    utterance: str
    payload: bytes = b""
    last: bool = False


class Bridge(_Message, frozen=True, tag="bridge"):
    """Connect caller and leg until ``Unbridge``.

    What the bot says meanwhile, to the caller or to the leg, is mixed into what they hear of each other:
    three in one conversation. What was queued for the leg before is thrown away.
    """

    request: str
    leg: str


class Unbridge(_Message, frozen=True, tag="unbridge"):
    """Take caller and leg apart again; ``hang_up_leg`` ends the leg too."""

    request: str
    leg: str
    hang_up_leg: bool = True


class Hold(_Message, frozen=True, tag="hold"):
    """Put the caller on hold by re-INVITE, or take back."""

    request: str
    held: bool


class SendDtmf(_Message, frozen=True, tag="send_dtmf"):
    """Send key presses to the far end (RFC 4733, or INFO when not negotiated)."""

    request: str
    digits: str


class Record(_Message, frozen=True, tag="record"):
    """Pause the recording (silence on both channels) or go on."""

    paused: bool


class Hangup(_Message, frozen=True, tag="hangup"):
    """End the call after what is queued when ``drain``, else at once."""

    request: str
    drain: bool = True
    reason: str = ""
    headers: dict[str, str] = {}


class Acknowledge(_Message, frozen=True, tag="ack"):
    """Caller audio up to and including ``frame`` is in the durable record or no longer needed.

    So are the first ``keys`` key presses of the call; None: those that came before ``frame``.
    """

    frame: int
    keys: int | None = None


EdgeMessage = (
    Start
    | Dtmf
    | Played
    | Cleared
    | Stats
    | Result
    | TransferProgress
    | LegEnded
    | LegDtmf
    | LegPlayed
    | Held
    | Stop
    | Heartbeat
)
WorkerMessage = (
    Originate
    | Answer
    | Reject
    | EndUtterance
    | Pause
    | Unpause
    | Clear
    | Transfer
    | Dial
    | LegAudio
    | Bridge
    | Unbridge
    | Hold
    | SendDtmf
    | Record
    | Hangup
    | Acknowledge
    | Heartbeat
)
