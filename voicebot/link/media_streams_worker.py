"""The worker's end of the Media Streams compatible dialect: a carrier's stream looks like our edge.

What the dialect cannot say is answered here: ``Answer`` succeeds (the carrier has answered), requests
of call control fail with 501, ``Record`` and ``Acknowledge`` do nothing. How far playing has come is
estimated, its end is a mark. ``Pause`` is ``clear``, and ``Unpause`` sends again what was not played.
``Hangup`` closes the WebSocket.
"""

from typing import Final

from voicebot.core.errors import LinkProtocolError
from voicebot.core.ids import new_call_id, new_session_id
from voicebot.link import media_streams_wire as wire
from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.codec import FromEdge, FromWorker, Step, WireMessage
from voicebot.link.media_streams_playout import PlayoutEstimate, Progress
from voicebot.link.messages import (
    DIALECT_MEDIA_STREAMS,
    Answer,
    Bridge,
    Clear,
    Cleared,
    ClearedUtterance,
    Dial,
    Dtmf,
    EndUtterance,
    Hangup,
    Hold,
    Pause,
    Played,
    Reject,
    Result,
    SendDtmf,
    Start,
    Stop,
    Transfer,
    Unbridge,
    Unpause,
)

FRAME_BYTES: Final = 160
PIECE_BYTES: Final = 8000
PROGRESS_US: Final = 100_000
MARK_GRACE_US: Final = 2_000_000
HANGUP_MARK: Final = "voicebot-hangup"
_OWN_PARAMETERS: Final = ("sip_call_id", "caller", "caller_name", "called", "call_id", "session_id")


class MediaStreamsWorker:
    """One link whose far end is a carrier, or any call side that speaks the dialect."""

    dialect = DIALECT_MEDIA_STREAMS
    heartbeats = False

    def __init__(self) -> None:
        self._stream_sid = ""
        self._started = False
        self._stopped = False
        self._generation = 0
        self._frame = 0
        self._rest = b""
        self._playout = PlayoutEstimate()
        self._pauses = 0
        self._progress_us = 0
        self._hangup: Hangup | None = None

    # ------------------------------------------------------------------ from the worker

    def send(self, message: FromWorker, now_us: int) -> Step[FromEdge]:
        """See ``Codec``."""
        match message:
            case BotAudio():
                return self._send_audio(message, now_us)
            case EndUtterance():
                self._playout.end(message.utterance)
                return Step() if self._playout.paused else self._wire(self._end_mark(message.utterance))
            case Pause():
                return self._pause(now_us)
            case Unpause():
                return self._unpause(now_us)
            case Clear():
                return self._clear(message, now_us)
            case Answer():
                return Step((), (Result(request=message.request, ok=True, code=200),))
            case Reject():
                result = Result(request=message.request, ok=True, code=message.code)
                return self._end((result,), message.reason or "rejected")
            case Hangup():
                return self._hang_up(message, now_us)
            case Transfer() | Dial() | Bridge() | Unbridge() | Hold() | SendDtmf():
                reason = f"not possible in dialect {DIALECT_MEDIA_STREAMS}"
                return Step((), (Result(request=message.request, ok=False, code=501, reason=reason),))
            case _:
                return Step()  # Record, Acknowledge, Heartbeat: no word for them

    def _send_audio(self, audio: BotAudio, now_us: int) -> Step[FromEdge]:
        if audio.generation < self._generation or not audio.payload:
            return Step()
        self._playout.add(audio.utterance, audio.payload, now_us)
        return Step() if self._playout.paused else self._wire(*_media_of(audio.payload))

    def _end_mark(self, utterance: str) -> wire.Message:
        """The mark behind an utterance. One from before a pause comes back cleared, not played."""
        name = f"{utterance}~{self._pauses}" if self._pauses else utterance
        return wire.Message(event="mark", mark=wire.MarkBody(name=name))

    def _pause(self, now_us: int) -> Step[FromEdge]:
        if self._playout.paused:
            return Step()
        self._playout.pause(now_us)
        self._pauses += 1
        return self._wire(wire.Message(event="clear"))

    def _unpause(self, now_us: int) -> Step[FromEdge]:
        if not self._playout.paused:
            return Step()
        messages: list[wire.Message] = []
        for unplayed in self._playout.resume(now_us):
            messages += _media_of(unplayed.audio)
            if unplayed.ended:
                messages.append(self._end_mark(unplayed.utterance))
        return self._wire(*messages)

    def _clear(self, clear: Clear, now_us: int) -> Step[FromEdge]:
        self._generation = clear.generation
        cleared = tuple(
            ClearedUtterance(
                utterance=p.utterance, played_ms=p.played_ms, dropped_ms=p.length_ms - p.played_ms
            )
            for p in self._playout.clear(now_us)
        )
        step = self._wire(wire.Message(event="clear"))
        return Step(step.to_peer, (Cleared(generation=clear.generation, utterances=cleared),))

    def _hang_up(self, hangup: Hangup, now_us: int) -> Step[FromEdge]:
        result = Result(request=hangup.request, ok=True, code=200)
        if not hangup.drain or self._playout.done_us <= now_us:
            return self._end((result,), hangup.reason or "hangup")
        self._hangup = hangup
        step = self._wire(wire.Message(event="mark", mark=wire.MarkBody(name=HANGUP_MARK)))
        return Step(step.to_peer, (result,))

    def _end(self, before: tuple[FromEdge, ...], reason: str) -> Step[FromEdge]:
        if self._stopped:
            return Step((), before, close=True)
        self._stopped = True
        return Step((), (*before, Stop(reason=reason, ended_by="bot")), close=True)

    def _wire(self, *messages: wire.Message) -> Step[FromEdge]:
        if not self._started:
            raise LinkProtocolError("nothing can be sent before the stream has started")
        return Step(
            tuple(WireMessage(wire.encode(_with_sid(m, self._stream_sid)), text=True) for m in messages)
        )

    # ------------------------------------------------------------------ from the carrier

    def receive(self, data: bytes, now_us: int) -> Step[FromEdge]:
        """See ``Codec``."""
        message = wire.decode(data)
        if message is None or message.event in ("connected", "clear") or self._stopped:
            return Step()
        if message.start is not None and message.event == "start":
            return self._start(message, message.start, now_us)
        if not self._started:
            raise LinkProtocolError(f"{message.event} before start")
        due = self._due(now_us)
        if due.close:
            return due
        match message.event:
            case "media" if message.media is not None:
                return Step(due.to_peer, due.to_owner + self._media(message.media, now_us))
            case "dtmf" if message.dtmf is not None:
                digit = message.dtmf.digit
                if len(digit) != 1 or digit not in "0123456789*#ABCD":
                    raise LinkProtocolError("dtmf with something that is no key")
                return Step((), (*due.to_owner, Dtmf(digit=digit, source="link")))
            case "mark" if message.mark is not None:
                return self._mark(message.mark.name, due.to_owner, now_us)
            case _:
                self._stopped = True
                return Step((), (*due.to_owner, Stop(reason="stop", ended_by="caller")))

    def closed(self, *, clean: bool) -> Step[FromEdge]:
        """See ``Codec``. A clean close is the end of the call, anything else a lost link."""
        if not clean or self._stopped or not self._started:
            return Step()
        self._stopped = True
        return Step((), (Stop(reason="closed", ended_by="caller"),))

    def _start(self, message: wire.Message, start: wire.StartBody, now_us: int) -> Step[FromEdge]:
        if self._started:
            raise LinkProtocolError("a second start")
        if start.media_format != wire.MediaFormat():
            raise LinkProtocolError(f"media format {start.media_format} is not mu-law at 8 kHz, mono")
        self._started = True
        self._stream_sid = message.stream_sid or start.stream_sid
        given = list(start.custom_parameters.items())[: wire.MAX_PARAMETERS]
        parameters = {wire.clean(name).lower(): wire.clean(value) for name, value in given}
        return Step(
            (),
            (
                Start(
                    call_id=new_call_id(),  # never a peer's: it names files and records
                    session_id=new_session_id(),
                    sip_call_id=parameters.get("sip_call_id", "") or wire.clean(start.call_sid),
                    caller=parameters.get("caller", ""),
                    caller_name=parameters.get("caller_name", ""),
                    called=parameters.get("called", ""),
                    trunk=DIALECT_MEDIA_STREAMS,
                    headers={n: v for n, v in parameters.items() if n not in _OWN_PARAMETERS},
                    edge_monotonic_us=now_us,
                    answered=True,
                ),
            ),
        )

    def _media(self, media: wire.MediaBody, now_us: int) -> tuple[CallerAudio, ...]:
        if media.track not in ("", "inbound"):
            return ()
        audio = self._rest + media.payload
        first_byte = _number(media.timestamp, self._frame * 20) * 8 - len(self._rest)
        whole = len(audio) - len(audio) % FRAME_BYTES
        self._rest = audio[whole:]
        frames = tuple(
            CallerAudio(
                frame=self._frame + n,
                rtp_timestamp=max(first_byte + at, 0),
                edge_us=now_us,
                position_samples=max(first_byte + at + FRAME_BYTES, 0),
                payload=audio[at : at + FRAME_BYTES],
                generation=self._generation,
            )
            for n, at in enumerate(range(0, whole, FRAME_BYTES))
        )
        self._frame += len(frames)
        return frames

    def _mark(self, name: str, before: tuple[FromEdge, ...], now_us: int) -> Step[FromEdge]:
        if self._hangup is not None and name == HANGUP_MARK:
            return self._end(before, self._hangup.reason or "hangup")
        utterance, _, pauses = name.partition("~")
        if self._playout.paused or pauses != (str(self._pauses) if self._pauses else ""):
            return Step((), before)
        finished = self._playout.finish(utterance)
        return Step((), before + (() if finished is None else (_played(finished, now_us, True),)))

    def _due(self, now_us: int) -> Step[FromEdge]:
        """What follows from the time: progress, and marks that never came back."""
        messages: list[FromEdge] = []
        for utterance in self._playout.overdue(now_us, MARK_GRACE_US):
            finished = self._playout.finish(utterance)
            if finished is not None:
                messages.append(_played(finished, now_us, True))
        if self._hangup is not None and now_us > self._playout.done_us + MARK_GRACE_US:
            return self._end(tuple(messages), self._hangup.reason or "hangup")
        if now_us - self._progress_us >= PROGRESS_US:
            self._progress_us = now_us
            playing = self._playout.playing(now_us)
            if playing is not None:
                messages.append(_played(playing, now_us, False))
        return Step((), tuple(messages))


def _media_of(payload: bytes) -> list[wire.Message]:
    """Audio in messages of a second."""
    pieces = (payload[at : at + PIECE_BYTES] for at in range(0, len(payload), PIECE_BYTES))
    return [wire.Message(event="media", media=wire.MediaBody(payload=piece)) for piece in pieces]


def _played(progress: Progress, now_us: int, finished: bool) -> Played:
    return Played(
        utterance=progress.utterance,
        played_ms=progress.played_ms,
        edge_us=now_us,
        finished=finished,
    )


def _with_sid(message: wire.Message, stream_sid: str) -> wire.Message:
    return wire.Message(
        event=message.event, stream_sid=stream_sid, media=message.media, mark=message.mark
    )


def _number(text: str | int, default: int) -> int:
    if isinstance(text, int):
        return text if 0 <= text < 1 << 50 else default
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else default
