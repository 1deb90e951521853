"""The JSON messages of the Media Streams compatible dialect, as they are on the wire.

    call side to bot: connected, start, media, dtmf, mark, stop
    bot to call side: media, mark, clear

Audio is G.711 mu-law at 8 kHz in base64, in messages of any length. Numbers travel as text; both are
read. Unknown events and fields are ignored: the dialect has many speakers.
"""

from typing import Final

import msgspec

from voicebot.core.errors import LinkProtocolError

MAX_TEXT_CHARS: Final = 256
MAX_PARAMETERS: Final = 32
ENCODING: Final = "audio/x-mulaw"


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pass


class MediaFormat(_Wire, frozen=True, omit_defaults=False):
    """What the audio is."""

    encoding: str = ENCODING
    sample_rate: int = 8000
    channels: int = 1


class StartBody(_Wire, frozen=True):
    """Who calls; ``custom_parameters`` are the call side's own."""

    account_sid: str = ""
    stream_sid: str = ""
    call_sid: str = ""
    tracks: tuple[str, ...] = ()
    media_format: MediaFormat = MediaFormat()
    custom_parameters: dict[str, object] = {}


class MediaBody(_Wire, frozen=True):
    """A piece of audio; ``timestamp`` is milliseconds since the start of the stream."""

    payload: bytes
    track: str = ""
    chunk: str | int = ""
    timestamp: str | int = ""


class DtmfBody(_Wire, frozen=True):
    """One key."""

    digit: str
    track: str = ""


class MarkBody(_Wire, frozen=True):
    """A name that comes back when the audio before it has been played."""

    name: str


class StopBody(_Wire, frozen=True):
    """The end of the call."""

    account_sid: str = ""
    call_sid: str = ""


class Message(_Wire, frozen=True):
    """Any message; which body is there follows from ``event``."""

    event: str
    sequence_number: str | int = ""
    stream_sid: str = ""
    protocol: str = ""
    version: str = ""
    start: StartBody | None = None
    media: MediaBody | None = None
    dtmf: DtmfBody | None = None
    mark: MarkBody | None = None
    stop: StopBody | None = None


class _EventOnly(msgspec.Struct, frozen=True):
    event: str


_KNOWN: Final = frozenset(("connected", "start", "media", "dtmf", "mark", "stop", "clear"))
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)
_event_decoder = msgspec.json.Decoder(_EventOnly)


def encode(message: Message) -> bytes:
    """One WebSocket text message.

    Raises:
        LinkProtocolError: A text cannot be written as UTF-8.
    """
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError as error:
        raise LinkProtocolError(f"{message.event} cannot be written: {error}") from error


def decode(data: bytes) -> Message | None:
    """Read one message; None when its event is none of the dialect's.

    Raises:
        LinkProtocolError: No JSON object with an event, or a body that does not fit its event.
    """
    try:
        message = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        if _unknown_event(data):
            return None
        raise LinkProtocolError(f"media-streams message refused: {error}") from error
    if message.event not in _KNOWN:
        return None
    if message.event in ("start", "media", "dtmf", "mark") and getattr(message, message.event) is None:
        raise LinkProtocolError(f"{message.event} without its body")
    return message


def clean(text: object) -> str:
    """A parameter of a peer as text that can be logged and stored."""
    words = "" if text is None else str(text)[:MAX_TEXT_CHARS]
    return "".join(c for c in words if c.isprintable())


def _unknown_event(data: bytes) -> bool:
    try:
        return _event_decoder.decode(data).event not in _KNOWN
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
