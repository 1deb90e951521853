"""One caller: ties the SIP dialog, its media and the worker together.

    RINGING ──Answer──► ANSWERED ──Hangup (queue empty), BYE──► ENDED
       │                    │
       │                    ├─ worker lost: "one moment" ─► next worker, or "call again" and BYE
       │                    └─ begins here when we called (``outgoing_call``)
       └─ no worker, no answer in time ─► 503 with Retry-After

The leg decides nothing about the conversation: it executes what the worker says (``worker_commands``)
and watches what nobody else can: media that stopped, a call that is too long, a worker that is gone.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from voicebot.config.settings import Settings
from voicebot.core.endings import INTERNAL_ERROR, NO_WORKER
from voicebot.core.errors import OverloadError, SessionStoreError
from voicebot.core.ids import new_call_id, new_session_id
from voicebot.core.sip_step import MAX_STEPS, SipStep
from voicebot.edge.caller_ring import CallerRing
from voicebot.edge.clips import Clip, load
from voicebot.edge.frame_clock import FrameClock
from voicebot.edge.line_meter import LineMeter
from voicebot.edge.media_session import MediaSession
from voicebot.edge.receive_path import HeardFrame
from voicebot.edge.recorder import CallRecorder
from voicebot.edge.rtp_port import RtpPort, RtpPortPool
from voicebot.edge.signalling import IncomingCall, LegEnd, NegotiatedMedia, SipAgent, SipLeg
from voicebot.edge.worker_commands import WorkerCommands
from voicebot.edge.worker_link import CallLink
from voicebot.link.binary_media import BotAudio, CallerAudio, SentAudio
from voicebot.link.client import EdgeLink, LinkClient
from voicebot.link.codec import FromEdge, FromWorker
from voicebot.link.connection import monotonic_us
from voicebot.link.messages import (
    DIALECT_VOICEBOT_V1,
    Dtmf,
    DtmfSource,
    EndedBy,
    Held,
    Originate,
    Played,
    Resume,
    Start,
    Stop,
    UtteranceProgress,
)
from voicebot.rtp.telephone_event import DtmfDeduplicator, DtmfPressed, DtmfReleased
from voicebot.telemetry import metrics
from voicebot.telemetry.log import get_logger

_STATS_TICKS: Final = 250
_MOMENT_AFTER_TICKS: Final = 10
"""Silence that a lost worker may leave before the caller hears a clip; a warm standby is faster."""
_MOST_REFERENCES: Final = 5
"""So many wait for a frame of the caller; when none comes they go alone: the console may listen."""
_FRAME_US: Final = 20_000
_FRAMES_COME_US: Final = 40_000
_SILENCE: Final = b"\xff" * 160
_EDGE_UTTERANCE: Final = "edge-"
_DRAIN_LIMIT_US: Final = 30_000_000
_RECORD_TRIES: Final = 3
_RECORDING_LIMIT_S: Final = 0.5
"""How long the end of a call may wait for the disk, so that it can tell whether audio is missing."""


@dataclass(frozen=True, slots=True)
class LegServices:
    """What the legs of one process share."""

    settings: Settings
    agent: SipAgent
    clock: FrameClock
    ports: RtpPortPool
    links: LinkClient

    @property
    def name(self) -> str:
        """Which edge this is: its SIP address, the same after a restart."""
        sip = self.settings.sip
        return f"{sip.advertised_host or sip.host}:{sip.port}"


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A call that a worker asked for, answered by now."""

    order: Originate
    link: EdgeLink


class CallLeg:
    """One caller from INVITE to the end; implements ``LegEvents``, ``MediaOwner`` and ``LinkOwner``.

    Args:
        services: What is shared.
        sip: The dialog.
        call: What the INVITE said.
        port: The RTP sockets that the dialog advertises.
        placed: When we called, for a worker: the order and its link; the dialog is answered.
    """

    def __init__(
        self,
        services: LegServices,
        sip: SipLeg,
        call: IncomingCall,
        port: RtpPort,
        placed: PlacedCall | None = None,
    ) -> None:
        settings = services.settings
        self.services = services
        self.sip = sip
        self.call = call
        self.call_id = new_call_id()
        self.session_id = new_session_id()
        self.log = get_logger().bind(call_id=self.call_id, session_id=self.session_id)
        self.media = MediaSession(port, services.clock, settings.rtp, self)
        self._heard_us = 0
        self._meter = LineMeter()
        self._meter.call_id = self.call_id
        self.media.on_far_report = self._meter.far_report
        self.ring = CallerRing()
        self.generation = 0
        self.answered = placed is not None
        self._placed = placed
        self.recording: CallRecorder | None = None
        self._records = settings.recording.enabled
        self._notes_keys = settings.recording.note_keys
        self._recording_folder = settings.data_dir / "recordings"
        self._commands = WorkerCommands(self)
        first = placed.link if placed is not None else None
        self._link = CallLink(services.links, settings.link, self, first)
        self._ended: asyncio.Future[tuple[LegEnd, EndedBy]] = asyncio.get_running_loop().create_future()
        self._ending_by: EndedBy | None = None
        self._end_reason = ""
        self._keys = DtmfDeduplicator()
        self._frame = 0
        self._held = False
        self._held_since_us = 0
        self._incoming_us = monotonic_us()
        self._worker_lost_us: int | None = None
        self._sip_steps = [SipStep(at_ms=0, text="INVITE", sent=self.answered)]
        self._answered_us = self._incoming_us if self.answered else None
        self._ticks = 0
        self._references: list[SentAudio] = []
        self._drain_until_us: int | None = None
        self._drain_headers: dict[str, str] = {}
        self._silent_ticks_without_worker: int | None = None
        self._last_utterance = ""
        self._last_played_ms = 0
        sip.events = self

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Serve the call until its dialog is gone."""
        sip = self.services.settings.sip
        metrics.CALLS_STARTED.inc()
        self.log.info(
            "call_incoming" if self._placed is None else "call_placed",
            sip_call_id=self.call.sip_call_id,
            caller=self.call.caller,
            called=self.call.called,
            source_address=self.call.source_address,
        )
        if self._placed is not None:
            self._step("200")
            self._start_recording()
        link = asyncio.ensure_future(self._serve_worker())
        deadline = asyncio.get_running_loop().call_later(
            sip.answer_deadline_ms / 1000, self._not_answered_in_time
        )
        try:
            end, by = await self._ended
        finally:
            deadline.cancel()
            link.cancel()
            await asyncio.wait({link})
            self._commands.end()
            self.media.close()
        stop = Stop(
            reason=self._end_reason or end.reason,
            ended_by=by,
            sip_code=end.code,
            stats=self.media.stats(),
            recording_partial=await self._close_recording(),
            sip=tuple(self._sip_steps),
        )
        nobody_heard = not self._link.connected
        self.send(stop)
        if stop.stats is not None:
            talk_s = self._duration_s() if self.answered else None
            self._meter.ended(stop.stats, ended_by=by, talk_s=talk_s)
        self.log.info(
            "call_ended",
            reason=stop.reason,
            ended_by=by,
            sip_code=end.code,
            duration_s=round(self._duration_s(), 1),
            workers_lost=self._link.workers_lost,
            received_packets=stop.stats.received_packets if stop.stats else 0,
            lost_packets=stop.stats.lost_packets if stop.stats else 0,
            foreign_packets=stop.stats.foreign_packets if stop.stats else 0,
        )
        safe = not nobody_heard and await self._link.record_is_safe()
        for _ in range(_RECORD_TRIES):
            if safe or not self.answered or not await self._link.find_for_the_record():
                break
            self._introduce(self._resume())
            self.send(stop)
            safe = await self._link.record_is_safe()
        await self._link.close()
        if self.recording is not None:
            await self.recording.close()

    async def _close_recording(self) -> bool:
        """Whether audio is missing in the recording; waits for a slow disk, but not for long."""
        if self.recording is None:
            missing = self._records and self.answered
        else:
            closing = asyncio.ensure_future(self.recording.close())
            await asyncio.wait({closing}, timeout=_RECORDING_LIMIT_S)
            missing = self.recording.partial
        if missing:
            metrics.RECORDINGS_PARTIAL.inc()
            self.log.error("recording_partial")
        return missing

    async def _serve_worker(self) -> None:
        try:
            await self._link.run()
        except OverloadError as error:
            self.log.warning("call_without_worker", error=str(error))
            self._refuse_for_now(NO_WORKER)
        except Exception:
            self.log.exception("call_failed")
            self.hang_up_now({}, by="edge", reason=INTERNAL_ERROR)

    def _not_answered_in_time(self) -> None:
        if not self.answered:
            self._refuse_for_now("not answered in time")

    def _refuse_for_now(self, reason: str) -> None:
        self._ending_by, self._end_reason = "edge", reason
        metrics.CALLS_REFUSED.labels(reason.replace(" ", "_")).inc()
        self._step("503", sent=True)
        self.sip.reject(503, {"Retry-After": str(self.services.settings.sip.retry_after_s)})

    def _step(self, text: str, *, sent: bool = False) -> None:
        """Note a SIP message of this dialog."""
        if len(self._sip_steps) < MAX_STEPS:
            at_ms = (monotonic_us() - self._incoming_us) // 1000
            self._sip_steps.append(SipStep(at_ms=at_ms, text=text, sent=sent))

    def _duration_s(self) -> float:
        return 0.0 if self._answered_us is None else (monotonic_us() - self._answered_us) / 1e6

    # ------------------------------------------------------------------ for the commands

    def send(self, message: FromEdge, *, more: bool = False) -> None:
        """Tell the worker; ``more``: a frame of the caller follows at once."""
        self._link.send(message, more=more)

    def answer(self, headers: dict[str, str]) -> bool:
        """Take the call."""
        if self.answered:
            return True
        self.answered = self.sip.answer(headers)
        if self.answered:
            self._answered_us = monotonic_us()
            self._step("200", sent=True)
            metrics.ANSWER_SECONDS.observe((self._answered_us - self._incoming_us) / 1e6)
            self._start_recording()
        return self.answered

    def _start_recording(self) -> None:
        if not self._records:
            return
        try:
            self.recording = CallRecorder.start(
                self._recording_folder,
                self.call_id,
                session_id=self.session_id,
                sip_call_id=self.call.sip_call_id,
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        except SessionStoreError as error:
            self.log.warning("recording_failed", error=str(error))

    def reject(self, code: int, headers: dict[str, str], reason: str) -> bool:
        """Refuse the call."""
        if self.answered or not 300 <= code <= 699:
            return False
        self._ending_by, self._end_reason = "bot", reason
        self._step(str(code), sent=True)
        return self.sip.reject(code, headers)

    def hang_up_now(self, headers: dict[str, str], *, by: EndedBy, reason: str) -> None:
        """End the call."""
        if self._ending_by is None:
            self._ending_by, self._end_reason = by, reason
        if not self.sip.hang_up(headers) and not self._ended.done():
            # Gone already, or the library refuses: either way a callback tells of the end.
            self.log.warning("hang_up_refused")

    def hang_up_when_drained(self, headers: dict[str, str], reason: str) -> None:
        """End the call once all that is queued has been said."""
        self._ending_by, self._end_reason = "bot", reason
        self._drain_headers = headers
        self._drain_until_us = monotonic_us() + _DRAIN_LIMIT_US

    # ------------------------------------------------------------------ LinkOwner

    def on_worker_message(self, message: FromWorker) -> None:
        """See ``LinkOwner``."""
        self._commands.execute(message)

    def on_worker_found(self) -> None:
        """Introduce the call, then give the worker what nobody has acknowledged."""
        self._silent_ticks_without_worker = None
        if self._worker_lost_us is not None:
            metrics.TAKEOVER_SECONDS.observe((monotonic_us() - self._worker_lost_us) / 1e6)
            self._worker_lost_us = None
        resume = self._resume() if self._link.workers_lost and self.answered else None
        self._introduce(resume)
        if resume is not None and self._link.dialect == DIALECT_VOICEBOT_V1:
            if self._held:
                self.send(Held(held=True))
            for missed in self.ring.replay():
                self.send(missed)

    def _resume(self) -> Resume:
        """Where the call is, for a worker that takes it over."""
        return Resume(
            session_id=self.session_id,
            last_utterance=self._last_utterance,
            last_utterance_played_ms=self._last_played_ms,
            acknowledged_frame=self.ring.acknowledged_frame,
            acknowledged_keys=self.ring.acknowledged_keys,
            silent=self._link.left_silent,
            talk_ms=round(self._duration_s() * 1000),
            generation=self.generation,
            lease=self._link.workers_lost,
            utterances=self._utterances(),
        )

    def _introduce(self, resume: Resume | None) -> None:
        self.send(
            Start(
                call_id=self.call_id,
                session_id=self.session_id,
                edge=self.services.name,
                sip_call_id=self.call.sip_call_id,
                caller=self.call.caller,
                caller_name=self.call.caller_name,
                called=self.call.called,
                source_address=self.call.source_address,
                headers=self.call.headers,
                codec=self.media.agreed.codec if self.media.agreed else "PCMU",
                recording=str(self._recording_folder / f"{self.call_id}.wav") if self._records else "",
                edge_monotonic_us=monotonic_us(),
                answered=self.answered,
                originated=self._placed.order if self._placed is not None else None,
                resume=resume,
            )
        )

    def _utterances(self) -> tuple[UtteranceProgress, ...]:
        return tuple(
            UtteranceProgress(
                utterance=u.utterance,
                played_ms=round(u.played_ms),
                complete=u.complete,
                finished=u.finished,
                received_samples=u.received_samples,
            )
            for u in self.media.send.utterances()
            if not u.utterance.startswith(_EDGE_UTTERANCE)
        )

    def on_worker_lost(self) -> None:
        """Go on alone for a while."""
        metrics.WORKERS_LOST.inc()
        self._worker_lost_us = monotonic_us()
        self._commands.worker_lost()
        self.media.send.resume()  # nobody is left who would take a pause back
        self._silent_ticks_without_worker = 0

    def on_worker_gone(self) -> None:
        """Say so and hang up."""
        metrics.CALLS_WITHOUT_WORKER.inc()
        self._silent_ticks_without_worker = None
        if not self.answered:
            self._refuse_for_now(NO_WORKER)
        elif not self._commands.bridged:
            self._say(Clip.CALL_AGAIN)
            self.hang_up_when_drained({}, NO_WORKER)
            self._ending_by = "worker"

    def _say(self, clip: Clip) -> None:
        utterance = f"{_EDGE_UTTERANCE}{clip.value}"
        self.media.send.enqueue(BotAudio(self.generation, utterance, load(clip)))
        self.media.send.end_of_utterance(utterance)

    # ------------------------------------------------------------------ LegEvents

    def on_media(self, media: NegotiatedMedia) -> None:
        """See ``LegEvents``."""
        first = self.media.agreed is None
        if not first:
            self._step(f"re-INVITE, {'' if media.send else 'held, '}{media.codec}")
        self.media.agree(media)
        self._commands.media_agreed()
        held = not media.send
        if held != self._held and not (first and not held):
            self._held = held
            self._held_since_us = monotonic_us()
            if not self._commands.holding:
                self.send(Held(held=held))

    def on_progress(self, code: int, reason: str) -> None:
        """An incoming call has no provisional responses of the far end."""

    def on_confirmed(self) -> None:
        """See ``LegEvents``."""
        self._step("ACK")

    def on_info_dtmf(self, digit: str, duration_ms: int) -> None:
        """See ``LegEvents``."""
        self._step("INFO (key)")
        self._key_pressed(digit, "info", duration_ms, monotonic_us())

    def on_transfer_progress(self, code: int, reason: str, *, final: bool) -> None:
        """See ``LegEvents``."""
        self._step(f"NOTIFY {code}")
        self._commands.transfer_progress(code, reason, final=final)

    def on_ended(self, end: LegEnd) -> None:
        """See ``LegEvents``."""
        if not self._ended.done():
            by = self._ending_by or ("caller" if end.by_far_end else "edge")
            if self.answered:
                self._step("BYE", sent=not end.by_far_end)
            elif end.by_far_end:
                self._step("CANCEL")
            self._ended.set_result((end, by))

    # ------------------------------------------------------------------ MediaOwner

    def on_heard(self, frame: HeardFrame) -> None:
        """See ``MediaOwner``."""
        position, sent = self.media.send.position_samples, b""
        # What was sent before this frame came goes with it: the worker needs it for nothing else, and is
        # woken for once in 20 ms instead of twice.
        if self._references and self._references[-1].position_samples == position:
            sent = self._references.pop().payload
        self._send_references(more=True)
        audio = CallerAudio(
            frame=self._frame,
            rtp_timestamp=frame.timestamp,
            edge_us=monotonic_us(),
            position_samples=position,
            payload=frame.ulaw,
            generation=self.generation,
            concealed=frame.concealed,
            dtx=frame.dtx,
            sent=sent,
        )
        self._frame += 1
        self._heard_us = audio.edge_us
        self.ring.append(audio)
        self._link.send(audio)
        self._commands.heard(frame)
        self._meter.watch.heard(frame.ulaw, dtx=frame.dtx, concealed=frame.concealed)
        if self.recording is not None:
            self.recording.caller(frame.ulaw, frame.timestamp)

    def on_key(self, key: DtmfPressed | DtmfReleased) -> None:
        """See ``MediaOwner``."""
        if isinstance(key, DtmfPressed):
            self._key_pressed(key.digit, "rfc4733", 0, key.at_us)
        else:
            self._keys.note_release(key.digit, "rfc4733", key.at_us)

    def _key_pressed(self, digit: str, source: DtmfSource, duration_ms: int, at_us: int) -> None:
        if source != "link" and self._keys.accept(digit, source, at_us):
            key = Dtmf(digit=digit, duration_ms=duration_ms, source=source)
            self.ring.append_key(key)
            self.send(key)
            self._commands.key(digit)
            self._note_key(digit)

    def _note_key(self, digit: str) -> None:
        """The recording's description tells that a key was pressed, and only where wanted which one."""
        if self.recording is not None:
            named = self._notes_keys and not self.recording.paused
            self.recording.note(f"dtmf:{digit}" if named else "dtmf:redacted")

    def on_sent(self, ulaw: bytes) -> None:
        """See ``MediaOwner``."""
        if ulaw != _SILENCE:
            position = self.media.send.position_samples
            self._references.append(SentAudio(position_samples=position, payload=ulaw))
            if len(self._references) > _MOST_REFERENCES:
                self._send_references(more=False)
        if self.recording is not None:
            self.recording.bot(ulaw)

    def _send_references(self, *, more: bool) -> None:
        for reference in self._references:
            self._link.send(reference, more=more)
        self._references.clear()

    def on_tick(self, now_us: int) -> None:
        """See ``MediaOwner``."""
        self._ticks += 1
        self._report_played(now_us)
        self._commands.tick(now_us)
        if self._ticks % _STATS_TICKS == 0:
            stats = self.media.stats()
            self.send(stats)
            since_us = now_us - (self._answered_us or now_us)
            self._meter.report(stats, since_answer_us=since_us, held=self._held)
        if self._drain_until_us is not None:
            send = self.media.send
            drained = send.queued_ms <= 0 and not send.sending_digits
            if drained or now_us >= self._drain_until_us:
                self._drain_until_us = None
                self.sip.hang_up(self._drain_headers)
        self._watch_worker()
        self._watch_media(now_us)

    def _report_played(self, now_us: int) -> None:
        for played in self.media.send.take_played():
            if played.utterance.startswith(_EDGE_UTTERANCE):
                continue
            self._last_utterance, self._last_played_ms = played.utterance, round(played.played_ms)
            self.send(
                Played(
                    utterance=played.utterance,
                    played_ms=self._last_played_ms,
                    edge_us=now_us + _FRAME_US,
                    finished=played.finished,
                ),
                # How far playing has come can wait for the caller's next frame, where frames come.
                more=not played.finished and now_us - self._heard_us < _FRAMES_COME_US,
            )

    def _watch_worker(self) -> None:
        if self._silent_ticks_without_worker is None or self._commands.bridged:
            return
        if self.media.send.queued_ms > 0:
            return
        self._silent_ticks_without_worker += 1
        if self._silent_ticks_without_worker >= _MOMENT_AFTER_TICKS:
            self._silent_ticks_without_worker = -100  # again after some 2 s
            self._say(Clip.ONE_MOMENT)

    def _watch_media(self, now_us: int) -> None:
        if self._answered_us is None or self._ending_by is not None:
            return
        rtp = self.services.settings.rtp
        last_us = self.media.receive.last_packet_us
        if self._held:
            since_us, limit_s = max(last_us or 0, self._held_since_us), rtp.hold_timeout_s
        elif last_us is None:
            since_us, limit_s = max(self._answered_us, self._held_since_us), rtp.no_media_timeout_s
        else:
            since_us, limit_s = max(last_us, self._held_since_us), rtp.media_timeout_s
        if now_us - since_us > limit_s * 1_000_000:
            self.hang_up_now({}, by="edge", reason="no media")
        elif now_us - self._answered_us > self.services.settings.sip.max_call_s * 1_000_000:
            self.hang_up_now({}, by="edge", reason="call too long")
