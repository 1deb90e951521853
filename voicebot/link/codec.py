"""The two dialects, sans-IO: our messages in, WebSocket messages out, and back.

    owner ── send(message) ──► codec ──► Step.to_peer ──► WebSocket
    owner ◄── Step.to_owner ── codec ◄── receive(bytes) ◄── WebSocket

A codec may answer its owner by itself (``Step.to_owner`` after ``send``) where the dialect has no word
for what was asked, so edge and worker need not know which dialect is spoken.
"""

import struct
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from voicebot.core.errors import LinkProtocolError
from voicebot.link.binary_media import (
    BOT_AUDIO,
    CALLER_AUDIO,
    SENT_AUDIO,
    BotAudio,
    CallerAudio,
    SentAudio,
    decode_media,
    encode_bot_audio,
    encode_caller_audio,
    encode_sent_audio,
)
from voicebot.link.messages import DIALECT_VOICEBOT_V1, EdgeMessage, WorkerMessage

MAX_CONTROL_BYTES: Final = 65_536

FromEdge = EdgeMessage | CallerAudio | SentAudio
FromWorker = WorkerMessage | BotAudio

OutT = TypeVar("OutT")
InT = TypeVar("InT")
OutT_contra = TypeVar("OutT_contra", contravariant=True)


class WireMessage(NamedTuple):
    """One WebSocket message; ``text`` selects the opcode."""

    data: bytes
    text: bool


class Step(NamedTuple, Generic[InT]):
    """What follows from one message.

    ``close`` asks for the link to be closed, with ``close_code``, after ``to_peer`` has been sent; it is
    how dialects without a word for it hang up.
    """

    to_peer: tuple[WireMessage, ...] = ()
    to_owner: tuple[InT, ...] = ()
    close: bool = False
    close_code: int = 1000


class Codec(Protocol[OutT_contra, InT]):
    """One end of one link. ``now_us`` is the owner's monotonic clock in microseconds."""

    @property
    def dialect(self) -> str:
        """Name of the dialect."""

    @property
    def heartbeats(self) -> bool:
        """Whether an idle end says so."""

    def send(self, message: OutT_contra, now_us: int) -> Step[InT]:
        """Translate a message of the owner.

        Raises:
            LinkProtocolError: The message cannot be put on the wire.
        """

    def receive(self, data: bytes, now_us: int) -> Step[InT]:
        """Translate one WebSocket message of the peer.

        Raises:
            LinkProtocolError: The message breaks the protocol. The link stays usable.
        """

    def closed(self, *, clean: bool) -> Step[InT]:
        """The WebSocket is gone; ``clean`` when the peer closed it on purpose (1000 or 1001)."""


class _VoicebotV1(Generic[OutT, InT]):
    dialect = DIALECT_VOICEBOT_V1
    heartbeats = True
    _audio_kinds: tuple[int, ...]
    _decoder: msgspec.json.Decoder[InT]

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def send(self, message: OutT, now_us: int) -> Step[InT]:  # noqa: ARG002 - part of the Codec protocol
        try:
            if isinstance(message, CallerAudio):
                return Step((WireMessage(encode_caller_audio(message), text=False),))
            if isinstance(message, SentAudio):
                return Step((WireMessage(encode_sent_audio(message), text=False),))
            if isinstance(message, BotAudio):
                return Step((WireMessage(encode_bot_audio(message), text=False),))
            data = self._encoder.encode(message)
        except (UnicodeEncodeError, TypeError, struct.error) as error:
            raise LinkProtocolError(f"{type(message).__name__} cannot be written: {error}") from error
        if len(data) > MAX_CONTROL_BYTES:
            raise LinkProtocolError(f"{type(message).__name__} of {len(data)} bytes is too long")
        return Step((WireMessage(data, text=True),))

    def receive(self, data: bytes, now_us: int) -> Step[InT]:  # noqa: ARG002 - part of the Codec protocol
        if data[:1] in (b"\x01", b"\x02", b"\x03"):
            if data[0] not in self._audio_kinds:
                raise LinkProtocolError("audio of the wrong direction")
            return Step((), (decode_media(data),))  # type: ignore[arg-type] # kind was checked above
        if len(data) > MAX_CONTROL_BYTES:
            raise LinkProtocolError(f"control message of {len(data)} bytes")
        return Step((), (decode_json(self._decoder, data),))

    def closed(self, *, clean: bool) -> Step[InT]:  # noqa: ARG002 - part of the Codec protocol
        return Step()


class VoicebotV1Edge(_VoicebotV1[FromEdge, FromWorker]):
    """The edge's end of dialect ``voicebot.v1``."""

    _audio_kinds = (BOT_AUDIO,)
    _decoder = msgspec.json.Decoder(WorkerMessage)


class VoicebotV1Worker(_VoicebotV1[FromWorker, FromEdge]):
    """The worker's end of dialect ``voicebot.v1``."""

    _audio_kinds = (CALLER_AUDIO, SENT_AUDIO)
    _decoder = msgspec.json.Decoder(EdgeMessage)


def decode_json(decoder: msgspec.json.Decoder[InT], data: bytes) -> InT:
    """Decode one control message.

    Raises:
        LinkProtocolError: No JSON, wrong types, an unknown ``type``, nested too deep, invalid UTF-8 or a
            lone surrogate.
    """
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise LinkProtocolError(f"control message refused: {error}") from error
