"""The edge's end of the Media Streams compatible dialect: an existing bot answers our caller.

The call is answered at once (the dialect has no ringing). The bot's audio comes in bursts of any size;
the edge keeps the clock. A mark comes back when the audio before it has been played, or was cleared. The
bot hangs up by closing the WebSocket: what is queued is still played.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from voicebot.core.errors import LinkProtocolError
from voicebot.link import media_streams_wire as wire
from voicebot.link.binary_media import MAX_PAYLOAD_BYTES, BotAudio, CallerAudio
from voicebot.link.codec import FromEdge, FromWorker, Step, WireMessage
from voicebot.link.messages import (
    DIALECT_MEDIA_STREAMS,
    Answer,
    Clear,
    Cleared,
    Dtmf,
    EndUtterance,
    Hangup,
    Played,
    Start,
    Stop,
)

_ACCOUNT_SID: Final = "AC" + "0" * 32
MAX_PENDING_MARKS: Final = 1000
MAX_MARK_CHARS: Final = 1024


@dataclass(frozen=True, slots=True)
class _Marks:
    """Marks that come back together, when an utterance of this generation was played or cleared."""

    generation: int
    names: list[str]


class MediaStreamsEdge:
    """One link whose far end is a bot."""

    dialect = DIALECT_MEDIA_STREAMS
    heartbeats = False

    def __init__(self) -> None:
        self._start: Start | None = None
        self._stopped = False
        self._sequence = 0
        self._chunk = 0
        self._first_frame: int | None = None
        self._generation = 0
        self._link_number = 0
        self._utterances = 0
        self._open_utterance = ""
        self._marks: dict[str, _Marks] = {}

    # ------------------------------------------------------------------ from the edge

    def send(self, message: FromEdge, now_us: int) -> Step[FromWorker]:  # noqa: ARG002 - Codec protocol
        """See ``Codec``."""
        match message:
            case CallerAudio():
                return self._send_audio(message)
            case Start():
                return self._send_start(message)
            case Dtmf():
                body = wire.DtmfBody(digit=message.digit, track="inbound_track")
                return Step((self._wire(wire.Message(event="dtmf", dtmf=body)),))
            case Played(finished=True):
                marks = self._marks.pop(message.utterance, None)
                return self._return_marks(marks.names if marks else [])
            case Cleared():
                return self._return_cleared_marks(message.generation)
            case Stop():
                self._stopped = True
                body_of_stop = wire.StopBody(account_sid=_ACCOUNT_SID, call_sid=self._sid("CA"))
                return Step((self._wire(wire.Message(event="stop", stop=body_of_stop)),))
            case _:
                return Step()  # Played so far, Stats, Result, ...: the dialect has no word for them

    def _send_start(self, start: Start) -> Step[FromWorker]:
        if self._start is not None:
            raise LinkProtocolError("a second start")
        self._start = start
        if start.resume is not None:
            self._generation = start.resume.generation
            self._link_number = start.resume.lease
        own = {
            "call_id": start.call_id,
            "session_id": start.session_id,
            "sip_call_id": start.sip_call_id,
            "caller": start.caller,
            "caller_name": start.caller_name,
            "called": start.called,
        }
        parameters = {name: value for name, value in {**start.headers, **own}.items() if value}
        body = wire.StartBody(
            account_sid=_ACCOUNT_SID,
            stream_sid=self._sid("MZ"),
            call_sid=self._sid("CA"),
            tracks=("inbound",),
            media_format=wire.MediaFormat(encoding=wire.ENCODING, sample_rate=8000, channels=1),
            custom_parameters={wire.clean(n): wire.clean(v) for n, v in parameters.items()},
        )
        connected = wire.Message(event="connected", protocol="Call", version="1.0.0")
        messages = (
            WireMessage(wire.encode(connected), text=True),
            self._wire(wire.Message(event="start", start=body)),
        )
        return Step(messages, () if start.answered else (Answer(request="media-streams-answer"),))

    def _send_audio(self, audio: CallerAudio) -> Step[FromWorker]:
        if self._first_frame is None:
            self._first_frame = audio.frame
        self._chunk += 1
        body = wire.MediaBody(
            payload=audio.payload,
            track="inbound",
            chunk=str(self._chunk),
            timestamp=str((audio.frame - self._first_frame) * 20),
        )
        return Step((self._wire(wire.Message(event="media", media=body)),))

    def _return_marks(self, names: list[str]) -> Step[FromWorker]:
        return Step(
            tuple(self._wire(wire.Message(event="mark", mark=wire.MarkBody(name=n))) for n in names)
        )

    def _return_cleared_marks(self, generation: int) -> Step[FromWorker]:
        old = [u for u, marks in self._marks.items() if marks.generation < generation]
        return self._return_marks([name for u in old for name in self._marks.pop(u).names])

    def _wire(self, message: wire.Message) -> WireMessage:
        if self._start is None:
            raise LinkProtocolError(f"{message.event} before start")
        self._sequence += 1
        numbered = wire.Message(
            event=message.event,
            sequence_number=str(self._sequence),
            stream_sid=self._sid("MZ"),
            start=message.start,
            media=message.media,
            dtmf=message.dtmf,
            mark=message.mark,
            stop=message.stop,
        )
        return WireMessage(wire.encode(numbered), text=True)

    def _sid(self, prefix: str) -> str:
        call_id = self._start.call_id if self._start else ""
        return prefix + hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:32]

    # ------------------------------------------------------------------ from the bot

    def receive(self, data: bytes, now_us: int) -> Step[FromWorker]:  # noqa: ARG002 - Codec protocol
        """See ``Codec``."""
        message = wire.decode(data)
        if message is None or self._stopped:
            return Step()
        match message.event:
            case "media" if message.media is not None:
                return Step((), self._bot_audio(message.media.payload))
            case "mark" if message.mark is not None:
                return self._mark(message.mark.name)
            case "clear":
                self._generation += 1
                self._open_utterance = ""
                return Step((), (Clear(generation=self._generation),))
            case _:
                return Step()

    def closed(self, *, clean: bool) -> Step[FromWorker]:
        """See ``Codec``. A clean close hangs up after what is queued; else the bot was lost."""
        if not clean or self._stopped:
            return Step()
        return Step((), (Hangup(request="media-streams-closed", drain=True, reason="bot closed"),))

    def _bot_audio(self, payload: bytes) -> tuple[BotAudio, ...]:
        if not payload:
            return ()
        if not self._open_utterance:
            self._utterances += 1
            self._open_utterance = f"m{self._link_number}-{self._utterances}"
        return tuple(
            BotAudio(self._generation, self._open_utterance, payload[at : at + MAX_PAYLOAD_BYTES])
            for at in range(0, len(payload), MAX_PAYLOAD_BYTES)
        )

    def _mark(self, name: str) -> Step[FromWorker]:
        pending = sum(len(marks.names) for marks in self._marks.values())
        if len(name) > MAX_MARK_CHARS or pending >= MAX_PENDING_MARKS:
            raise LinkProtocolError("a mark name that is too long, or too many marks")
        if self._open_utterance:
            utterance, self._open_utterance = self._open_utterance, ""
            self._marks[utterance] = _Marks(self._generation, [name])
            return Step((), (EndUtterance(utterance=utterance),))
        if self._marks:
            next(reversed(self._marks.values())).names.append(name)
            return Step()
        return self._return_marks([name])
