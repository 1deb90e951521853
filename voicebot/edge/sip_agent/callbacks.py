"""The library's objects. Their callbacks run inside the library: they only pass on what happened."""

from typing import TYPE_CHECKING, Any

import pjsua2 as pj

from voicebot.edge import peer_text
from voicebot.edge.sip_agent.library import guarded
from voicebot.telemetry.log import get_logger

if TYPE_CHECKING:
    from voicebot.edge.sip_agent.agent import PjSipAgent
    from voicebot.edge.sip_agent.leg import PjSipLeg

_log = get_logger()


class PjCall(pj.Call):  # type: ignore[misc] # pjsua2 has no types
    """The library's object of one dialog; lives from INVITE to DISCONNECTED and is owned by its leg."""

    def __init__(self, leg: "PjSipLeg", account: "PjAccount", call_id: int | None = None) -> None:
        super().__init__(account, pj.PJSUA_INVALID_ID if call_id is None else call_id)
        self.leg: PjSipLeg | None = leg

    def fail(self) -> None:
        """End the call of a callback that raised."""
        if self.leg is not None:
            self.leg.fail()

    @guarded
    def onCallSdpCreated(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """A body is about to be sent: put our RTP socket in."""
        if self.leg is not None:
            prm.sdp.wholeSdp = self.leg.local_sdp(prm.sdp.wholeSdp, prm.remSdp.wholeSdp)

    @guarded
    def onCallMediaState(self, _prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """Offer and answer are complete."""
        if self.leg is not None:
            self.leg.media_changed()

    @guarded
    def onCallState(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """The dialog's state changed."""
        if self.leg is not None:
            self.leg.state_changed(prm)

    @guarded
    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """A key by SIP INFO."""
        # Telephone events never reach the library, so this is SIP INFO.
        if self.leg is not None:
            duration_ms = prm.duration if 0 < prm.duration < 60_000 else 0
            self.leg.tell("on_info_dtmf", str(prm.digit), int(duration_ms))

    @guarded
    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """REFER from the far end: refused."""
        prm.statusCode = 603
        if self.leg is not None:
            self.leg.agent.count("refer_refused")

    @guarded
    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """INVITE with Replaces: refused."""
        prm.statusCode = 603

    @guarded
    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """A NOTIFY of our REFER, or its refusal."""
        if self.leg is not None:
            reason = peer_text.clean_peer_text(prm.reason)
            self.leg.tell(
                "on_transfer_progress", int(prm.statusCode), reason, final=bool(prm.finalNotify)
            )


class PjAccount(pj.Account):  # type: ignore[misc] # pjsua2 has no types
    """The account that takes calls and, where set up, registers."""

    def __init__(self, agent: "PjSipAgent") -> None:
        super().__init__()
        self._agent: PjSipAgent | None = agent

    def release(self) -> None:
        """Let go of the agent before the library deletes the account."""
        self._agent = None

    def fail(self) -> None:
        """An INVITE whose call object could not be made; the library answers it by itself."""

    @guarded
    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """An INVITE that is none of a known dialog."""
        if self._agent is not None:
            self._agent.incoming(prm)

    @guarded
    def onRegState(self, prm: Any) -> None:  # noqa: N802 - pjsua2's name
        """The registrar answered."""
        code = int(prm.code)
        log = _log.info if code // 100 == 2 else _log.warning
        log("sip_registration", code=code, expires_s=int(prm.expiration))
