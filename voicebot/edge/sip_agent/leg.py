"""One SIP dialog on pjsua2."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from voicebot.edge import peer_text
from voicebot.edge.sdp import MediaTarget, audio_target, rewrite_audio_target
from voicebot.edge.signalling import Codec, LegEnd, LegEvents, MediaPort, NegotiatedMedia, SipLeg
from voicebot.edge.sip_agent.callbacks import PjAccount, PjCall
from voicebot.edge.sip_agent.library import parameters_of, payload_type
from voicebot.telemetry.log import get_logger

if TYPE_CHECKING:
    from voicebot.edge.sip_agent.agent import PjSipAgent

_log = get_logger()


class PjSipLeg:
    """One dialog; see ``signalling.SipLeg``."""

    def __init__(self, agent: "PjSipAgent", source_address: str = "") -> None:
        self.agent = agent
        self.events: LegEvents | None = None
        self.source_address = source_address
        self.created_s = time.monotonic()
        self.confirmed = False
        self._call: PjCall | None = None
        self.media: MediaPort | None = None
        self._target: MediaTarget | None = None
        self._ended_by_us = False
        self._outgoing = False
        self._answered = False
        self._at_ack: list[tuple[str, Callable[[PjCall], None]]] = []

    # ------------------------------------------------------------------ commands

    def answer(self, headers: dict[str, str]) -> bool:
        """See ``SipLeg``."""
        if self._target is not None and not self.agent.may_send_to(self._target):
            self.agent.count("media_target_refused")
            return self.reject(488, {}) and False
        self._answered = self._command(
            "answer", lambda call: call.answer(parameters_of(headers, code=200))
        )
        return self._answered

    def reject(self, code: int, headers: dict[str, str]) -> bool:
        """See ``SipLeg``."""
        self._ended_by_us = True
        return self._command("reject", lambda call: call.answer(parameters_of(headers, code=code)))

    def hang_up(self, headers: dict[str, str], code: int = 0) -> bool:
        """See ``SipLeg``; ``code`` is used when the dialog is not established yet."""
        self._ended_by_us = True
        return self._in_dialog("hang_up", lambda call: call.hangup(parameters_of(headers, code=code)))

    def transfer(self, uri: str, headers: dict[str, str]) -> bool:
        """See ``SipLeg``."""
        return self._in_dialog("transfer", lambda call: call.xfer(uri, parameters_of(headers)))

    def transfer_to(self, other: SipLeg, headers: dict[str, str]) -> bool:
        """See ``SipLeg``."""
        target = other.library_call if isinstance(other, PjSipLeg) else None
        return target is not None and self._in_dialog(
            "transfer_to", lambda call: call.xferReplaces(target, parameters_of(headers))
        )

    @property
    def library_call(self) -> PjCall | None:
        """The library's object; None when the dialog is gone."""
        return self._call

    @property
    def sip_call_id(self) -> str:
        """See ``SipLeg``."""
        return "" if self._call is None else peer_text.clean_peer_text(self._call.getInfo().callIdString)

    def hold(self, *, held: bool) -> bool:
        """See ``SipLeg``."""
        parameters = pj.CallOpParam(True)
        if held:
            return self._in_dialog("hold", lambda call: call.setHold(parameters))
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        return self._in_dialog("unhold", lambda call: call.reinvite(parameters))

    def send_info_dtmf(self, digit: str, duration_ms: int) -> bool:
        """See ``SipLeg``."""
        parameters = pj.CallSendRequestParam()
        parameters.method = "INFO"
        parameters.txOption.contentType = "application/dtmf-relay"
        parameters.txOption.msgBody = f"Signal={digit}\r\nDuration={duration_ms}\r\n"
        return self._in_dialog("send_info_dtmf", lambda call: call.sendRequest(parameters))

    def _in_dialog(self, name: str, action: Callable[[PjCall], None]) -> bool:
        """A request after the ACK: none may overtake it (RFC 3261 section 15 says so of BYE).

        Should the ACK never come, the end of the INVITE transaction is the end.
        """
        if self._answered and not self.confirmed and self._call is not None:
            self._at_ack.append((name, action))
            return True
        return self._command(name, action)

    def _command(self, name: str, action: Callable[[PjCall], None]) -> bool:
        call = self._call
        if call is None:
            return False
        try:
            action(call)
        except pj.Error as error:
            text = peer_text.clean_peer_text(error.info())
            _log.warning("sip_command_failed", command=name, error=text)
            return False
        return True

    # ------------------------------------------------------------------ library callbacks

    def adopt(self, call: PjCall) -> None:
        """Own the library's object of an incoming dialog."""
        self._call = call

    def make_call(self, account: PjAccount, uri: str, headers: dict[str, str]) -> bool:
        """Start an outgoing dialog."""
        self._outgoing = True
        self._call = PjCall(self, account)
        started = self._command(
            "dial", lambda call: call.makeCall(uri, parameters_of(headers, offer=True))
        )
        if not started:
            self._release()
        return started

    def offered(self, message: str) -> None:
        """Remember where the INVITE of an incoming dialog asks for media."""
        body = message.replace("\r\n", "\n").partition("\n\n")[2]
        self._target = audio_target(body)

    def local_sdp(self, local: str, remote: str) -> str:
        """Our body with our RTP socket; notes what the far end asks for."""
        if remote:
            self._target = audio_target(remote)
        if self.media is None:
            self.media = self.agent.reserve_media()
        return rewrite_audio_target(local, self.media.advertised_address, self.media.port)

    def media_changed(self) -> None:
        """Offer and answer are complete."""
        call = self._call
        assert call is not None
        info = call.getInfo()  # keep it: the elements of its vectors point into it
        audio = next((m for m in info.media if m.type == pj.PJMEDIA_TYPE_AUDIO), None)
        if audio is None or audio.status in (pj.PJSUA_CALL_MEDIA_NONE, pj.PJSUA_CALL_MEDIA_ERROR):
            self.tell("on_media", NegotiatedMedia("", 0, send=False, receive=False))
            return
        try:
            stream = call.getStreamInfo(audio.index)
        except pj.Error:
            if audio.dir != pj.PJMEDIA_DIR_NONE:
                raise
            # On hold from the first moment (a=inactive): the library has no stream yet.
            self.tell("on_media", NegotiatedMedia("", 0, send=False, receive=False))
            return
        address, _, port = str(stream.remoteRtpAddress).rpartition(":")
        target = MediaTarget(address, int(port))
        if not self.agent.may_send_to(target):
            # An answer in an ACK or a re-INVITE: an offer of a new call is refused with 488 before.
            self.agent.count("media_target_refused")
            self.agent.defer(lambda: self.hang_up({"Reason": 'SIP;cause=488;text="media address"'}))
            return
        codec: Codec = "PCMA" if stream.codecName.upper() == "PCMA" else "PCMU"
        self.tell(
            "on_media",
            NegotiatedMedia(
                address="" if target.is_hold else target.address,
                port=target.port,
                codec=codec,
                send=bool(stream.dir & pj.PJMEDIA_DIR_ENCODING) and not target.is_hold,
                receive=bool(stream.dir & pj.PJMEDIA_DIR_DECODING),
                event_receive_payload_type=payload_type(stream.audRxEventPt),
                event_send_payload_type=payload_type(stream.audTxEventPt),
            ),
        )

    def state_changed(self, _prm: Any) -> None:
        """The dialog's state changed."""
        call = self._call
        assert call is not None
        info = call.getInfo()
        reason = peer_text.clean_peer_text(info.lastReason)
        if info.state == pj.PJSIP_INV_STATE_CONFIRMED and not self.confirmed:
            self.confirmed = True
            self.tell("on_confirmed")
            for name, action in self._at_ack:
                self.agent.defer(partial(self._command, name, action))
            self._at_ack.clear()
        elif info.state == pj.PJSIP_INV_STATE_EARLY and self._outgoing:
            self.tell("on_progress", int(info.lastStatusCode), reason)
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.tell("on_ended", LegEnd(int(info.lastStatusCode), reason, not self._ended_by_us))
            self._release()

    def notice_lost_end(self) -> None:
        """The library has been seen to lose the DISCONNECTED of a call in dense bursts (issue 4992)."""
        if self._call is not None and not self._call.isActive():
            self.agent.count("end_without_callback")
            self.tell("on_ended", LegEnd(0, "lost", by_far_end=not self._ended_by_us))
            self._release()

    def tell(self, event: str, *arguments: Any, **keywords: Any) -> None:
        """Call the owner back once the library has returned."""

        def deliver() -> None:
            if self.events is not None:
                getattr(self.events, event)(*arguments, **keywords)

        self.agent.defer(deliver)

    def fail(self) -> None:
        """A callback of ours failed: end the call rather than leave it hanging."""
        self.agent.count("callback_failed")
        self.agent.defer(lambda: self.hang_up({}, code=500))

    def _release(self) -> None:
        if self._call is not None:
            self._call.leg = None
            self._call = None
        if self.media is not None:
            self.media.close()
        self.agent.forget(self)
