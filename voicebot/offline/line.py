"""The pretended edge of one offline call: packets in at their arrival times, a frame out every 20 ms."""

from typing import Final

from msgspec.structs import replace

from voicebot.config.settings import RtpSettings
from voicebot.edge.media_session import received_stats
from voicebot.edge.receive_path import HeardFrame, ReceivePath
from voicebot.edge.signalling import Codec, NegotiatedMedia
from voicebot.link.binary_media import CallerAudio
from voicebot.link.messages import Dtmf, EndedBy, Start, Stats, Stop
from voicebot.rtp.packet import FRAME_SAMPLES
from voicebot.rtp.telephone_event import DtmfDeduplicator, DtmfPressed, DtmfReleased
from voicebot.session.call_detail_record import CallDetailRecord, latency_of, transcript_of
from voicebot.session.records import TurnRecord
from voicebot.worker.effects import EndCall, Persist, TurnMeasured
from voicebot.worker.journal import turn_record
from voicebot.worker.virtual_call import VirtualCall

CALLER: Final = ("127.0.0.1", 40_000)
_PAUSED: Final = b"\xff" * FRAME_SAMPLES
MAX_GAP_SAMPLES: Final = 30 * 8000
"""A jump of the caller's clock by more than this starts the heard audio anew behind what is there."""


class OfflineLine:
    """One call.

    Args:
        call: The worker's side.
        settings: Media settings.
        codec: What the caller sends.
        event_type: Payload type of the caller's telephone events, or None.
    """

    def __init__(
        self, call: VirtualCall, settings: RtpSettings, codec: Codec, event_type: int | None
    ) -> None:
        self._call = call
        self._receive = ReceivePath(
            self._on_heard,
            self._on_key,
            jitter_max_ms=settings.jitter_max_ms,
            port_follow_packets=settings.port_follow_packets,
        )
        self._receive.expect(
            NegotiatedMedia(*CALLER, codec=codec, event_receive_payload_type=event_type)
        )
        self._keys = DtmfDeduplicator()
        self._frame = 0
        self._sent = 0
        self._now_ms = 0.0
        self._start = Start(call_id="", session_id="")
        self._heard_from: int | None = None
        self.heard = bytearray()
        """What the bot heard, mu-law on the caller's RTP clock; silence where the recording pauses."""

    def begin(self, start: Start) -> None:
        """The call comes in, at time 0."""
        self._start = start
        self._call.put(0, start)
        self._call.deliver(0)

    @property
    def answered(self) -> bool:
        """Whether the bot took the call."""
        return self._call.record.answered_ms is not None

    @property
    def refused(self) -> int:
        """The status with which the bot refused the call, 0 when it did not."""
        return self._call.record.rejected or 0

    def datagram(self, datagram: bytes, at_ms: float) -> None:
        """A packet of the caller arrives."""
        self._now_ms = at_ms
        self._call.deliver(at_ms)
        self._receive.datagram(datagram, *CALLER, round(at_ms * 1000))

    def tick(self, now_ms: float) -> tuple[bytes, bool]:
        """20 ms are over: the frame that goes out, and whether the call is over."""
        self._now_ms = now_ms
        frame = self._call.send(now_ms)
        self._sent += self.answered
        self._receive.tick(round(now_ms * 1000))
        self._call.deliver(now_ms)
        return frame.payload, self._call.finish_tick(now_ms, self._stop("bot hung up", "bot"))

    def hang_up(self) -> None:
        """The caller hangs up."""
        self._call.put(self._now_ms, self._stop("caller hung up", "caller"))
        self._call.deliver(self._now_ms)

    def record(self, dialplan: str) -> CallDetailRecord:
        """The call record, as a live call's; times of day stay empty."""
        start, record = self._start, self._call.record
        turns: dict[int, TurnRecord] = {}
        answered_ms = record.answered_ms or 0.0
        reason, stop = "", None
        for at_ms, effect in record.effects:
            match effect:
                case Persist(turn=turn):
                    turns[turn.turn] = turn_record(turn, int(at_ms - answered_ms))
                case TurnMeasured() if effect.turn in turns:
                    turns[effect.turn] = replace(
                        turns[effect.turn],
                        stages_ms=effect.stages_ms,
                        response_onset_ms=effect.response_onset_ms,
                    )
                case EndCall():
                    reason, stop = effect.reason, effect.stop
                case _:
                    pass
        stats = self._stats()
        return CallDetailRecord(
            call_id=start.call_id,
            session_id=start.session_id,
            sip_call_id=start.sip_call_id,
            caller=start.caller,
            called=start.called,
            dialplan=dialplan,
            talk_ms=int(self._now_ms - answered_ms),
            ended_by=stop.ended_by if stop is not None else "",
            reason=reason,
            turns=len(turns),
            transcript=transcript_of(turns),
            line={name: getattr(stats, name) for name in stats.__struct_fields__},
            latency=latency_of(turns),
        )

    # ------------------------------------------------------------------ what the receive path finds

    def _on_heard(self, frame: HeardFrame) -> None:
        audio = CallerAudio(
            frame=self._frame,
            rtp_timestamp=frame.timestamp,
            edge_us=round(self._now_ms * 1000),
            position_samples=self._call.position_samples,
            payload=frame.ulaw,
            concealed=frame.concealed,
            dtx=frame.dtx,
        )
        self._frame += 1
        self._keep(frame)
        self._call.hear(audio, self._now_ms)

    def _on_key(self, key: DtmfPressed | DtmfReleased) -> None:
        if isinstance(key, DtmfReleased):
            self._keys.note_release(key.digit, "rfc4733", key.at_us)
        elif self._keys.accept(key.digit, "rfc4733", key.at_us):
            self._call.put(self._now_ms, Dtmf(digit=key.digit))
            self._call.deliver(self._now_ms)

    def _keep(self, frame: HeardFrame) -> None:
        if self._heard_from is None:
            self._heard_from = frame.timestamp
        at = frame.timestamp - self._heard_from
        if not 0 <= at <= len(self.heard) + MAX_GAP_SAMPLES:
            at = len(self.heard)
        self.heard += _PAUSED[:1] * (at - len(self.heard))
        payload = _PAUSED if self._call.record.recording_paused else frame.ulaw
        self.heard[at : at + len(payload)] = payload

    def _stats(self) -> Stats:
        return replace(received_stats(self._receive), sent_packets=self._sent)

    def _stop(self, reason: str, by: EndedBy) -> Stop:
        return Stop(reason=reason, ended_by=by, stats=self._stats())
