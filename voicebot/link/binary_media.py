"""The binary audio messages of dialect ``voicebot.v1``.

    caller audio, edge to worker                     bot audio, worker to edge
    0  u8   kind = 1                                 0  u8   kind = 2
    1  u8   flags (1 concealed, 2 DTX, 4 replayed,   1  u8   flags (0)
            8 with what was sent)
    2  u32  generation                               2  u32  generation
    6  u64  frame, counts 20 ms frames from 0        6  u8   length of the utterance id
    14 u64  RTP timestamp, extended                  7  utterance id, ASCII
    22 u64  edge clock, microseconds                 .. G.711 mu-law, 8 kHz, any length
    30 u64  position in the outgoing stream, samples
    38 G.711 mu-law, 8 kHz, 160 bytes
    198 with flag 8: what was sent, the same

    what was sent to the caller, edge to worker: the echo reference; silence is left out
    0  u8   kind = 3
    1  u8   flags (0)
    2  u64  position after these samples in the outgoing stream
    10 G.711 mu-law, 8 kHz, 160 bytes

All integers are unsigned and in network order. ``position_samples`` is how many samples the edge had
sent to the caller when this frame was handed on: it aligns the echo reference to the sample. Where
the 20 ms that end there are all that is new of it, as nearly always, they travel in the same message.
"""

import struct

import msgspec

from voicebot.core.errors import LinkProtocolError

CALLER_AUDIO = 1
BOT_AUDIO = 2
SENT_AUDIO = 3
SENT_BYTES = 160
MAX_UTTERANCE_BYTES = 32
MAX_PAYLOAD_BYTES = 80_000  # ten seconds: more in one message is a mistake

_CALLER = struct.Struct("!BBIQQQQ")
_BOT = struct.Struct("!BBIB")
_SENT = struct.Struct("!BBQ")


class CallerAudio(msgspec.Struct, frozen=True, gc=False):
    """20 ms of the caller: 160 bytes of G.711 mu-law at 8 kHz, in order.

    ``concealed`` frames were lost and are a guess; ``dtx`` frames stand for silence that was not sent.
    ``sent`` is what went to the caller in the 20 ms that end at ``position_samples``, 160 bytes; empty
    for silence, and where it came before in a message of its own.
    """

    frame: int
    rtp_timestamp: int
    edge_us: int
    position_samples: int
    payload: bytes
    generation: int = 0
    concealed: bool = False
    dtx: bool = False
    replayed: bool = False
    sent: bytes = b""


class BotAudio(msgspec.Struct, frozen=True, gc=False):
    """Audio of one utterance: G.711 mu-law at 8 kHz, any length."""

    generation: int
    utterance: str
    payload: bytes


class SentAudio(msgspec.Struct, frozen=True, gc=False):
    """20 ms that really went out: 160 bytes of G.711 mu-law that end at ``position_samples``."""

    position_samples: int
    payload: bytes


def encode_sent_audio(audio: SentAudio) -> bytes:
    """Lay out one frame of the echo reference."""
    return _SENT.pack(SENT_AUDIO, 0, audio.position_samples) + audio.payload


def encode_caller_audio(audio: CallerAudio) -> bytes:
    """Lay out one caller frame."""
    flags = audio.concealed | audio.dtx << 1 | audio.replayed << 2 | bool(audio.sent) << 3
    head = _CALLER.pack(
        CALLER_AUDIO,
        flags,
        audio.generation,
        audio.frame,
        audio.rtp_timestamp,
        audio.edge_us,
        audio.position_samples,
    )
    return head + audio.payload + audio.sent


def encode_bot_audio(audio: BotAudio) -> bytes:
    """Lay out one piece of an utterance.

    Raises:
        LinkProtocolError: The utterance id is empty, too long or not ASCII.
    """
    try:
        name = audio.utterance.encode("ascii")
    except UnicodeEncodeError as error:
        raise LinkProtocolError("utterance id is not ASCII") from error
    if not 0 < len(name) <= MAX_UTTERANCE_BYTES:
        raise LinkProtocolError(f"utterance id has {len(name)} bytes, 1 to 32 are allowed")
    return _BOT.pack(BOT_AUDIO, 0, audio.generation, len(name)) + name + audio.payload


def decode_media(message: bytes) -> CallerAudio | BotAudio | SentAudio:
    """Read a binary message of either direction.

    Raises:
        LinkProtocolError: The message is too short, too long or of an unknown kind.
    """
    if len(message) > MAX_PAYLOAD_BYTES + _CALLER.size:
        raise LinkProtocolError(f"media message of {len(message)} bytes")
    kind = message[0] if message else None
    if kind == CALLER_AUDIO:
        if len(message) < _CALLER.size:
            raise LinkProtocolError(f"caller audio of {len(message)} bytes has no full header")
        _, flags, generation, frame, timestamp, edge_us, position = _CALLER.unpack_from(message)
        end = len(message) - SENT_BYTES if flags & 8 else len(message)
        if end < _CALLER.size:
            raise LinkProtocolError(f"caller audio of {len(message)} bytes lacks what was sent")
        return CallerAudio(
            frame=frame,
            rtp_timestamp=timestamp,
            edge_us=edge_us,
            position_samples=position,
            payload=message[_CALLER.size : end],
            generation=generation,
            concealed=bool(flags & 1),
            dtx=bool(flags & 2),
            replayed=bool(flags & 4),
            sent=message[end:],
        )
    if kind == SENT_AUDIO:
        if len(message) < _SENT.size:
            raise LinkProtocolError(f"sent audio of {len(message)} bytes has no full header")
        _, _, position = _SENT.unpack_from(message)
        return SentAudio(position_samples=position, payload=message[_SENT.size :])
    if kind == BOT_AUDIO:
        if len(message) < _BOT.size:
            raise LinkProtocolError(f"bot audio of {len(message)} bytes has no full header")
        _, _, generation, length = _BOT.unpack_from(message)
        end = _BOT.size + length
        name = message[_BOT.size : end]
        if not 0 < length <= MAX_UTTERANCE_BYTES or len(name) < length or not name.isascii():
            raise LinkProtocolError("bot audio has no proper utterance id")
        return BotAudio(generation=generation, utterance=name.decode("ascii"), payload=message[end:])
    raise LinkProtocolError(f"unknown media kind {kind}")
