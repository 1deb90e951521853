"""What the edge sees of SIP: plain values and two protocols; ``sip_agent`` implements them on pjsua2.

    SipAgent ──IncomingCall──► CallAcceptor, which gives the leg a LegEvents and then commands it
    SipLeg   ◄──answer, reject, hang_up, transfer, hold, …── the leg's owner
    SipLeg   ──on_media, on_confirmed, on_dtmf, …, on_ended──► LegEvents

All calls happen on the one asyncio thread, never from inside a library callback: whatever an event
handler does to a leg is safe.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

Codec = Literal["PCMU", "PCMA"]


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """An INVITE; every text is cleaned (``peer_text``)."""

    sip_call_id: str
    caller: str
    caller_name: str
    called: str
    source_address: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NegotiatedMedia:
    """Outcome of offer and answer for the audio stream.

    Attributes:
        address: Remote RTP address; empty when the stream is switched off.
        port: Remote RTP port.
        codec: What both sides use.
        send: We may send (the far end does not hold us).
        receive: The far end may send.
        event_receive_payload_type: Telephone events from the far end; None when not agreed.
        event_send_payload_type: Telephone events to the far end; None when not agreed.
    """

    address: str
    port: int
    codec: Codec = "PCMU"
    send: bool = True
    receive: bool = True
    event_receive_payload_type: int | None = None
    event_send_payload_type: int | None = None


@dataclass(frozen=True, slots=True)
class LegEnd:
    """Why a dialog ended: its final status, and whether the far end did it."""

    code: int
    reason: str
    by_far_end: bool


class MediaPort(Protocol):
    """A pair of RTP and RTCP sockets."""

    advertised_address: str
    port: int

    def close(self) -> None:
        """Give the ports back; closing twice is harmless."""


class LegEvents(Protocol):
    """What a leg tells its owner."""

    def on_media(self, media: NegotiatedMedia) -> None:
        """Offer and answer are complete, at first or again (re-INVITE)."""

    def on_progress(self, code: int, reason: str) -> None:
        """A provisional response of a leg that we dialled."""

    def on_confirmed(self) -> None:
        """The dialog is confirmed: the ACK came, or our own INVITE was answered."""

    def on_info_dtmf(self, digit: str, duration_ms: int) -> None:
        """A key by SIP INFO."""

    def on_transfer_progress(self, code: int, reason: str, *, final: bool) -> None:
        """A NOTIFY of our REFER, or its refusal."""

    def on_ended(self, end: LegEnd) -> None:
        """The dialog is gone; no event follows."""


class SipLeg(Protocol):
    """One SIP dialog. Commands on a leg that is already gone do nothing and return False."""

    events: LegEvents | None
    media: MediaPort | None
    """The RTP socket that our bodies advertise; closed with the dialog."""

    @property
    def sip_call_id(self) -> str:
        """Call-ID of the dialog; empty when it is gone."""

    def answer(self, headers: dict[str, str]) -> bool:
        """Send 200."""

    def reject(self, code: int, headers: dict[str, str]) -> bool:
        """Send a final status of 300 to 699."""

    def hang_up(self, headers: dict[str, str]) -> bool:
        """End the dialog: BYE, CANCEL or a final status, whichever fits."""

    def transfer(self, uri: str, headers: dict[str, str]) -> bool:
        """Send REFER; progress comes by ``on_transfer_progress``."""

    def transfer_to(self, other: "SipLeg", headers: dict[str, str]) -> bool:
        """Send REFER with Replaces: the far end takes our place in ``other``, a dialog of ours."""

    def hold(self, *, held: bool) -> bool:
        """Send a re-INVITE that puts the far end on hold or takes it back."""

    def send_info_dtmf(self, digit: str, duration_ms: int) -> bool:
        """Send one key by SIP INFO."""


class CallAcceptor(Protocol):
    """Who takes calls in."""

    @property
    def ready(self) -> bool:
        """Whether a call would find a worker."""

    @property
    def overloaded(self) -> bool:
        """Whether the calls in progress suffer already."""

    def reserve_media(self) -> MediaPort:
        """Open an RTP socket: the library writes its body before the call is decided upon."""

    def on_incoming(self, leg: SipLeg, call: IncomingCall) -> None:
        """A call that passed the trunk list; sets ``leg.events`` and answers or rejects in time."""


class SipAgent(Protocol):
    """The signalling of one process."""

    @property
    def call_limit(self) -> int:
        """Most dialogs at once."""

    @property
    def live_calls(self) -> int:
        """Dialogs at present, whatever their state."""

    def dial(
        self,
        uri: str,
        headers: dict[str, str],
        events: LegEvents,
        media: MediaPort,
    ) -> SipLeg | None:
        """Start an outgoing dialog; None when the library refuses (no slot, bad URI)."""
