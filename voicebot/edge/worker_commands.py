"""Executes what the worker says: one method per kind of message."""

from typing import TYPE_CHECKING, Final, assert_never

from voicebot.core.errors import OverloadError
from voicebot.edge.dialled_leg import DialledLeg
from voicebot.edge.outgoing_policy import refusal
from voicebot.edge.peer_text import clean_peer_text
from voicebot.edge.receive_path import HeardFrame
from voicebot.edge.signalling import LegEnd
from voicebot.handoff.user_to_user import HEADER as USER_TO_USER
from voicebot.handoff.user_to_user import in_refer_to
from voicebot.link.binary_media import BotAudio
from voicebot.link.codec import FromWorker
from voicebot.link.connection import monotonic_us
from voicebot.link.messages import (
    NO_CALL_SLOT,
    Acknowledge,
    Answer,
    Bridge,
    Clear,
    Cleared,
    ClearedUtterance,
    Dial,
    EndUtterance,
    Hangup,
    Heartbeat,
    Hold,
    LegAudio,
    LegDtmf,
    LegEnded,
    LegPlayed,
    Originate,
    Pause,
    Record,
    Reject,
    Result,
    SendDtmf,
    Transfer,
    TransferProgress,
    Unbridge,
    Unpause,
)

if TYPE_CHECKING:
    from voicebot.edge.call_leg import CallLeg

_TRANSFER_LIMIT_US: Final = 60_000_000
_INFO_DTMF_MS: Final = 160
_MAX_DIALLED_LEGS: Final = 3
_DTMF_DIGITS: Final = frozenset("0123456789*#ABCD")


class WorkerCommands:
    """The worker's hands on one call.

    Attributes:
        holding: We put the caller on hold ourselves.
        bridged: The leg that the caller is connected with, or None.
    """

    def __init__(self, call: "CallLeg") -> None:
        self._call = call
        self._legs: dict[str, DialledLeg] = {}
        self._transfer_request = ""
        self._transfer_until_us = 0
        self._digits_before_media: list[SendDtmf] = []
        self.holding = False
        self.bridged: DialledLeg | None = None

    def execute(self, message: FromWorker) -> None:
        """Carry out one message; whatever it is, the call goes on."""
        call = self._call
        send = call.media.send
        match message:
            case BotAudio():
                send.enqueue(message)
            case Acknowledge():
                call.ring.acknowledge(message.frame, message.keys)
            case EndUtterance():
                send.end_of_utterance(message.utterance)
            case Pause():
                send.pause(message.ramp_ms)
            case Unpause():
                send.resume()
            case Clear():
                self._clear(message)
            case Record():
                if call.recording is not None:
                    call.recording.paused = message.paused
            case Answer():
                self._result(message.request, ok=call.answer(message.headers), code=200)
            case Reject():
                ok = call.reject(message.code, message.headers, clean_peer_text(message.reason))
                self._result(message.request, ok=ok, code=message.code)
            case Hangup():
                self._hang_up(message)
            case Hold():
                self._hold(message)
            case SendDtmf():
                self._send_digits(message)
            case Transfer():
                self._transfer(message)
            case Dial():
                self._dial(message)
            case LegAudio():
                self._leg_audio(message)
            case Bridge():
                self._bridge(message)
            case Unbridge():
                self._unbridge(message)
            case Originate():
                # The link had been given to this call already.
                self._result(message.request, ok=False, code=503, reason=NO_CALL_SLOT)
            case Heartbeat():
                pass
            case _:
                assert_never(message)

    def _result(self, request: str, *, ok: bool, code: int = 0, reason: str = "") -> None:
        self._call.send(
            Result(request=request, ok=ok, code=code if ok or code >= 300 else 0, reason=reason)
        )

    def _clear(self, message: Clear) -> None:
        call = self._call
        call.generation = max(call.generation, message.generation)
        cleared = call.media.send.clear(message.generation, message.ramp_ms)
        call.send(
            Cleared(
                generation=message.generation,
                utterances=tuple(
                    ClearedUtterance(
                        utterance=c.utterance,
                        played_ms=round(c.played_ms),
                        dropped_ms=round(c.dropped_ms),
                    )
                    for c in cleared
                ),
            )
        )

    def _hang_up(self, message: Hangup) -> None:
        call = self._call
        self._result(message.request, ok=True)
        reason = clean_peer_text(message.reason)
        if message.drain and call.answered:
            call.hang_up_when_drained(message.headers, reason)
        else:
            call.hang_up_now(message.headers, by="bot", reason=reason)

    def _hold(self, message: Hold) -> None:
        ok = self._call.sip.hold(held=message.held)
        if ok:
            self.holding = message.held
        self._result(message.request, ok=ok)

    def media_agreed(self) -> None:
        """It is known now how keys are to be sent."""
        waiting, self._digits_before_media = self._digits_before_media, []
        for message in waiting:
            self._send_digits(message)

    def _send_digits(self, message: SendDtmf) -> None:
        if self._call.media.agreed is None:
            self._digits_before_media.append(message)
            return
        send = self._call.media.send
        digits = message.digits.upper()
        if not digits or not _DTMF_DIGITS.issuperset(digits):
            self._result(message.request, ok=False, reason="digits are 0-9 * # A-D")
            return
        if send.can_send_digits:
            try:
                send.send_digits(digits)
            except ValueError as error:
                self._result(message.request, ok=False, reason=str(error))
                return
            ok = True
        else:
            ok = all(self._call.sip.send_info_dtmf(digit, _INFO_DTMF_MS) for digit in digits)
        self._result(message.request, ok=ok)

    # ------------------------------------------------------------------ transfer

    def _refused(self, request: str, uri: str) -> bool:
        sip = self._call.services.settings.sip
        why = refusal(uri, allow_outgoing=sip.allow_outgoing, hosts=sip.outgoing_hosts)
        if why:
            self._call.log.warning("destination_refused", uri=clean_peer_text(uri), reason=why)
            self._result(request, ok=False, code=403, reason=why)
        return bool(why)

    def _transfer(self, message: Transfer) -> None:
        leg = self._legs.get(message.leg)
        if message.leg and (leg is None or not leg.answered):
            self._result(message.request, ok=False, code=481, reason="no such leg, or not answered")
            return
        if leg is None and self._refused(message.request, message.uri):
            return
        if self._transfer_request == message.request:
            return  # the worker before this one sent it; its outcome is still to come
        if self._transfer_request:
            self._result(message.request, ok=False, code=491, reason="a transfer is under way")
            return
        if leg is not None and leg.sip is not None:
            sent = self._call.sip.transfer_to(leg.sip, message.headers)
        else:
            # Some desks read what goes along in the REFER itself, others in the URI that they call.
            uri = in_refer_to(message.uri, message.headers.get(USER_TO_USER, ""))
            sent = self._call.sip.transfer(f"<{uri}>", message.headers)
        if not sent:
            self._result(message.request, ok=False, reason="REFER could not be sent")
            return
        self._transfer_request = message.request
        self._transfer_until_us = monotonic_us() + _TRANSFER_LIMIT_US

    def transfer_progress(self, code: int, reason: str, *, final: bool) -> None:
        """A NOTIFY of our REFER, or its refusal."""
        request = self._transfer_request
        if not request:
            return
        # The 202 of the REFER itself is no outcome: that comes by NOTIFY.
        final = final and code != 202
        self._call.send(TransferProgress(request=request, code=code, reason=reason, final=final))
        if final or code >= 300:
            self._transfer_done(ok=200 <= code < 300, code=code, reason=reason)

    def _transfer_done(self, *, ok: bool, code: int, reason: str) -> None:
        request, self._transfer_request = self._transfer_request, ""
        self._result(request, ok=ok, code=code, reason=reason)
        if ok:
            self._call.hang_up_now({}, by="bot", reason="transferred")

    # ------------------------------------------------------------------ dial and bridge

    def _dial(self, message: Dial) -> None:
        if self._refused(message.request, message.uri):
            return
        services = self._call.services
        if message.leg in self._legs or len(self._legs) >= _MAX_DIALLED_LEGS:
            self._result(message.request, ok=False, code=486, reason="leg exists or too many legs")
            return
        try:
            port = services.ports.open()
        except OverloadError as error:
            self._result(message.request, ok=False, code=503, reason=str(error))
            return
        leg = DialledLeg(
            message.leg,
            message.request,
            self,
            port=port,
            clock=services.clock,
            settings=services.settings.rtp,
        )
        sip = services.agent.dial(message.uri, message.headers, leg, port)
        if sip is None:
            port.close()
            self._result(message.request, ok=False, code=503, reason=NO_CALL_SLOT)
            return
        leg.sip = sip
        leg.deadline_us = monotonic_us() + int(message.timeout_s * 1_000_000)
        self._legs[message.leg] = leg

    def _leg_audio(self, message: LegAudio) -> None:
        leg = self._legs.get(message.leg)
        if leg is None or message.utterance in leg.silenced:
            return
        if message.payload:
            leg.spoken.add(message.utterance)
            leg.media.send.enqueue(BotAudio(leg.generation, message.utterance, message.payload))
        if message.last:
            leg.media.send.end_of_utterance(message.utterance)

    def on_leg_played(self, leg: DialledLeg, utterance: str) -> None:
        """See ``DialledLegOwner``."""
        self._call.send(LegPlayed(leg=leg.name, utterance=utterance))

    def on_leg_progress(self, leg: DialledLeg, code: int, reason: str) -> None:
        """See ``DialledLegOwner``."""
        self._call.send(TransferProgress(request=leg.request, code=code, reason=reason))

    def on_leg_answered(self, leg: DialledLeg) -> None:
        """See ``DialledLegOwner``."""
        self._result(leg.request, ok=True, code=200)
        leg.request = ""

    def on_leg_ended(self, leg: DialledLeg, end: LegEnd) -> None:
        """See ``DialledLegOwner``."""
        self._legs.pop(leg.name, None)
        if self.bridged is leg:
            self._separate()
        if leg.request:
            self._result(leg.request, ok=False, code=end.code, reason=end.reason)
        else:
            self._call.send(LegEnded(leg=leg.name, code=end.code, reason=end.reason))

    def _bridge(self, message: Bridge) -> None:
        leg = self._legs.get(message.leg)
        if leg is None or not leg.answered:
            self._result(message.request, ok=False, code=481, reason="no such leg, or not answered")
            return
        if self.bridged is not None:
            self._separate()
        self.bridged = leg
        leg.silence()
        self._call.media.send.start_forwarding()
        leg.media.send.start_forwarding()
        self._result(message.request, ok=True)

    def _unbridge(self, message: Unbridge) -> None:
        leg = self._legs.get(message.leg)
        if leg is None:
            self._result(message.request, ok=False, code=481, reason="no such leg")
            return
        if self.bridged is leg:
            self._separate()
        if message.hang_up_leg:
            leg.hang_up()
        self._result(message.request, ok=True)

    def _separate(self) -> None:
        self._call.media.send.stop_forwarding()
        if self.bridged is not None:
            self.bridged.media.send.stop_forwarding()
        self.bridged = None

    def heard(self, frame: HeardFrame) -> None:
        """20 ms of the caller: the bridged leg hears it."""
        if self.bridged is not None:
            self.bridged.media.send.forward(frame)

    def on_leg_heard(self, leg: DialledLeg, frame: HeardFrame) -> None:
        """20 ms of a leg: the caller hears it when they are bridged."""
        if self.bridged is leg:
            self._call.media.send.forward(frame)

    def key(self, digit: str) -> None:
        """The caller pressed a key: the bridged leg gets it in its own payload type."""
        leg = self.bridged
        if leg is None:
            return
        if leg.media.send.can_send_digits:
            leg.media.send.send_digits(digit)
        elif leg.sip is not None:
            leg.sip.send_info_dtmf(digit, _INFO_DTMF_MS)

    def on_leg_key(self, leg: DialledLeg, digit: str) -> None:
        """A leg pressed a key: the worker gets it, and the caller when they are bridged."""
        self._call.send(LegDtmf(leg=leg.name, digit=digit))
        if self.bridged is not leg:
            return
        if self._call.media.send.can_send_digits:
            self._call.media.send.send_digits(digit)
        else:
            self._call.sip.send_info_dtmf(digit, _INFO_DTMF_MS)

    # ------------------------------------------------------------------ time and end

    def tick(self, now_us: int) -> None:
        """Watch what has a time limit."""
        if self._transfer_request and now_us >= self._transfer_until_us:
            self._transfer_done(ok=False, code=408, reason="no outcome of the transfer in time")
        for leg in list(self._legs.values()):
            if leg.deadline_us is not None and now_us >= leg.deadline_us:
                leg.deadline_us = None
                leg.hang_up()

    def worker_lost(self) -> None:
        """Legs that nobody bridged are ended and forgotten; a REFER is followed for the next worker."""
        for leg in list(self._legs.values()):
            if leg is not self.bridged:
                del self._legs[leg.name]
                leg.forget()
                leg.hang_up()

    def end(self) -> None:
        """The call is over: so are its legs."""
        for leg in list(self._legs.values()):
            leg.hang_up()
