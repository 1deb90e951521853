"""``voicebot offline``: calls one after the other through standard input and output.

A message is a length (u32, network order, of what follows), a kind (one letter) and its content.

    in   S  JSON: caller, called, headers, codec, event_type, sip_call_id, at (time of day, ISO 8601)
         T  the packets of the next 20 ms, in order: u32 microseconds into them, u16 length, RTP
         H  the caller hangs up
    out  R  JSON, once: protocol, bot                       what this is
         A  JSON, to S: status                              200, or the refusal
         F  160 bytes of mu-law, to T                       what the caller hears in the next 20 ms
         E  JSON, to H, or to T when the bot hangs up: record, heard (base64), transferred_to
         X  JSON, to anything: error                        this call is over, the next may begin

One exchange lasts 20 ms of the call's own time and as long as it takes of ours.
"""

import base64
import datetime as dt
import struct
from hashlib import blake2b
from typing import Annotated, Any, BinaryIO, Final

import msgspec

from voicebot.core.errors import VoicebotError
from voicebot.edge.signalling import Codec
from voicebot.link.messages import Start
from voicebot.offline.engines import OfflineBot
from voicebot.offline.line import OfflineLine
from voicebot.rtp.packet import FRAME_MS

PROTOCOL: Final = 1
MAX_MESSAGE_BYTES: Final = 4_000_000
ANSWER_LIMIT_MS: Final = 5_000
USUAL_AT: Final = dt.datetime(2026, 1, 6, 10, 0, tzinfo=dt.UTC)
"""A Tuesday morning: calls must not depend on the day on which they are replayed."""
_HEAD: Final = struct.Struct("!Ic")
_PACKET: Final = struct.Struct("!IH")


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``S``."""

    sip_call_id: str = "offline"
    caller: str = ""
    called: str = ""
    headers: dict[str, str] = {}
    codec: str = "PCMU"
    event_type: int | None = 101
    at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None


class ClosedPipeError(Exception):
    """The other side went away."""


class BrokenMessageError(Exception):
    """What came is no message of this protocol."""


def read_message(stream: BinaryIO) -> tuple[bytes, bytes]:
    """Kind and content of the next message.

    Raises:
        ClosedPipeError: The stream ended between or in the middle of messages.
        BrokenMessageError: The length is impossible.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise ClosedPipeError
    length, kind = _HEAD.unpack(head)
    if not 1 <= length <= MAX_MESSAGE_BYTES:
        raise BrokenMessageError(f"a message of {length} bytes")
    content = stream.read(length - 1)
    if len(content) < length - 1:
        raise ClosedPipeError
    return kind, content


def write_message(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    """Write one message at once."""
    stream.write(_HEAD.pack(len(content) + 1, kind) + content)
    stream.flush()


def packets_of(content: bytes) -> list[tuple[int, bytes]]:
    """The packets of a ``T``: microseconds into the 20 ms, and the datagram.

    Raises:
        BrokenMessageError: Cut off, or a time outside the 20 ms.
    """
    packets: list[tuple[int, bytes]] = []
    at = 0
    while at < len(content):
        if at + _PACKET.size > len(content):
            raise BrokenMessageError("a packet without its head")
        into_us, length = _PACKET.unpack_from(content, at)
        at += _PACKET.size
        if into_us > FRAME_MS * 1000 or at + length > len(content):
            raise BrokenMessageError("a packet that is cut off or late")
        packets.append((into_us, content[at : at + length]))
        at += length
    return packets


class PipeServer:
    """Serves calls until the other side closes the pipe.

    Args:
        bot: What serves them.
        read: From the harness.
        write: To it.
    """

    def __init__(self, bot: OfflineBot, read: BinaryIO, write: BinaryIO) -> None:
        self._bot = bot
        self._read = read
        self._write = write
        self._line: OfflineLine | None = None
        self._usual_at = bot.settings.dialplan_at or USUAL_AT
        self._call = bot.call(self._usual_at)
        self._tick = 0

    def serve(self) -> None:
        """Serve."""
        self._reply(b"R", {"protocol": PROTOCOL, "bot": self._bot.description})
        while True:
            try:
                kind, content = read_message(self._read)
            except ClosedPipeError:
                return
            except BrokenMessageError as error:
                self._refuse(error)
                return
            if not self.answer(kind, content):
                return

    def answer(self, kind: bytes, content: bytes) -> bool:
        """Answer one message; False when the other side does not keep to the protocol."""
        try:
            self._answer(kind, content)
        except (BrokenMessageError, msgspec.DecodeError, VoicebotError) as error:
            self._refuse(error)
            return not isinstance(error, BrokenMessageError)
        return True

    def _refuse(self, error: Exception) -> None:
        self._line = None
        self._reply(b"X", {"error": f"{type(error).__name__}: {error}"})

    def _answer(self, kind: bytes, content: bytes) -> None:
        line = self._line
        if kind == b"S":
            self._begin(msgspec.json.decode(content, type=Begin))
        elif kind == b"T" and line is not None:
            self._tick += 1
            start_ms = (self._tick - 1) * FRAME_MS
            for into_us, datagram in packets_of(content):
                line.datagram(datagram, start_ms + into_us / 1000)
            frame, over = line.tick(self._tick * FRAME_MS)
            if over:
                self._end(line)
            else:
                write_message(self._write, b"F", frame)
        elif kind == b"H" and line is not None:
            line.hang_up()
            self._end(line)
        else:
            raise BrokenMessageError(f"{kind!r} does not fit here")

    def _begin(self, begin: Begin) -> None:
        # The same call has the same ids each time: whatever depends on them comes out equal.
        name = blake2b(begin.sip_call_id.encode("utf-8", "replace"), digest_size=8).hexdigest()
        self._call = self._bot.call(begin.at or self._usual_at)
        codec: Codec = "PCMA" if begin.codec == "PCMA" else "PCMU"
        line = OfflineLine(self._call, self._bot.settings.rtp, codec, begin.event_type)
        line.begin(
            Start(
                call_id=f"c{name}",
                session_id=f"s{name}",
                sip_call_id=begin.sip_call_id,
                caller=begin.caller,
                called=begin.called,
                headers=begin.headers,
                codec=codec,
            )
        )
        self._tick = 0
        while not line.answered and not line.refused and self._tick * FRAME_MS < ANSWER_LIMIT_MS:
            self._tick += 1
            line.tick(self._tick * FRAME_MS)
        status = line.refused or (200 if line.answered else 503)
        self._line = line if status == 200 else None
        self._reply(b"A", {"status": status})

    def _end(self, line: OfflineLine) -> None:
        self._line = None
        content = {
            "record": line.record(self._bot.plan_name),
            "heard": base64.b64encode(line.heard).decode(),
            "transferred_to": self._call.record.transferred_to,
        }
        self._reply(b"E", content)

    def _reply(self, kind: bytes, content: dict[str, Any]) -> None:
        write_message(self._write, kind, msgspec.json.encode(content))
