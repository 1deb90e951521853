"""A leg that the bot dialled on behalf of the caller, and what it reports."""

from typing import Protocol

from voicebot.config.settings import RtpSettings
from voicebot.edge.frame_clock import FrameClock
from voicebot.edge.media_session import MediaSession
from voicebot.edge.receive_path import HeardFrame
from voicebot.edge.rtp_port import RtpPort
from voicebot.edge.signalling import LegEnd, NegotiatedMedia, SipLeg
from voicebot.rtp.telephone_event import DtmfPressed, DtmfReleased


class DialledLegOwner(Protocol):
    """The call on whose behalf was dialled."""

    def on_leg_progress(self, leg: "DialledLeg", code: int, reason: str) -> None:
        """A provisional response."""

    def on_leg_answered(self, leg: "DialledLeg") -> None:
        """The far end answered."""

    def on_leg_heard(self, leg: "DialledLeg", frame: HeardFrame) -> None:
        """20 ms of the far end."""

    def on_leg_key(self, leg: "DialledLeg", digit: str) -> None:
        """The far end pressed a key."""

    def on_leg_played(self, leg: "DialledLeg", utterance: str) -> None:
        """An utterance was sent to its end."""

    def on_leg_ended(self, leg: "DialledLeg", end: LegEnd) -> None:
        """The leg is gone."""


class _Nobody:
    """Stands for the owner of a leg whose worker is gone."""

    def on_leg_progress(self, leg: "DialledLeg", code: int, reason: str) -> None:
        """Nothing."""

    def on_leg_answered(self, leg: "DialledLeg") -> None:
        """Nothing: its hang-up is on the way."""

    def on_leg_heard(self, leg: "DialledLeg", frame: HeardFrame) -> None:
        """Nothing."""

    def on_leg_key(self, leg: "DialledLeg", digit: str) -> None:
        """Nothing."""

    def on_leg_played(self, leg: "DialledLeg", utterance: str) -> None:
        """Nothing."""

    def on_leg_ended(self, leg: "DialledLeg", end: LegEnd) -> None:
        """Nothing."""


_NOBODY = _Nobody()


class DialledLeg:
    """One outgoing dialog with its media; implements ``LegEvents`` and ``MediaOwner``.

    Attributes:
        name: The worker's name for it.
        request: Request id of the Dial that is not answered yet, else empty.
        sip: The dialog; None until dialled.
        answered: The far end took the call.
        spoken: Utterances whose audio was queued for it.
        silenced: Utterances that it does not hear any more.
        generation: Grows with each ``silence``.
    """

    def __init__(
        self,
        name: str,
        request: str,
        owner: DialledLegOwner,
        *,
        port: RtpPort,
        clock: FrameClock,
        settings: RtpSettings,
    ) -> None:
        self.name = name
        self.request = request
        self.sip: SipLeg | None = None
        self.answered = False
        self.spoken: set[str] = set()
        self.silenced: set[str] = set()
        self.generation = 0
        self.deadline_us: int | None = None
        self._owner = owner
        self._settings = settings
        self.media = MediaSession(port, clock, settings, self)
        self._answered_us: int | None = None

    def forget(self) -> None:
        """Nobody wants to hear of it any more."""
        self._owner = _NOBODY

    def silence(self) -> None:
        """Throw away what is being said to it, also what is still to come of that."""
        self.silenced |= self.spoken
        self.generation += 1
        self.media.send.clear(self.generation, ramp_ms=5)

    def hang_up(self) -> None:
        """End it; harmless when it is gone."""
        if self.sip is not None:
            self.sip.hang_up({})

    # ------------------------------------------------------------------ LegEvents

    def on_media(self, media: NegotiatedMedia) -> None:
        """See ``LegEvents``."""
        self.media.agree(media)

    def on_progress(self, code: int, reason: str) -> None:
        """See ``LegEvents``."""
        self._owner.on_leg_progress(self, code, reason)

    def on_confirmed(self) -> None:
        """See ``LegEvents``."""
        self.answered = True
        self.deadline_us = None
        self._owner.on_leg_answered(self)

    def on_info_dtmf(self, digit: str, duration_ms: int) -> None:  # noqa: ARG002 - part of LegEvents
        """See ``LegEvents``."""
        self._owner.on_leg_key(self, digit)

    def on_transfer_progress(self, code: int, reason: str, *, final: bool) -> None:
        """A dialled leg is never referred."""

    def on_ended(self, end: LegEnd) -> None:
        """See ``LegEvents``."""
        self.media.close()
        self._owner.on_leg_ended(self, end)

    # ------------------------------------------------------------------ MediaOwner

    def on_heard(self, frame: HeardFrame) -> None:
        """See ``MediaOwner``."""
        self._owner.on_leg_heard(self, frame)

    def on_key(self, key: DtmfPressed | DtmfReleased) -> None:
        """See ``MediaOwner``."""
        if isinstance(key, DtmfPressed):
            self._owner.on_leg_key(self, key.digit)

    def on_sent(self, ulaw: bytes) -> None:
        """The recording hears both sides at the caller's leg."""

    def on_tick(self, now_us: int) -> None:
        """Report what was said to it; end a leg whose RTP stopped: its BYE may have been lost."""
        for played in self.media.send.take_played():
            if played.finished:
                self._owner.on_leg_played(self, played.utterance)
        if not self.answered:
            return
        if self._answered_us is None:
            self._answered_us = now_us
        last_us = self.media.receive.last_packet_us or self._answered_us
        held = self.media.agreed is not None and not self.media.agreed.send
        limit_s = self._settings.hold_timeout_s if held else self._settings.media_timeout_s
        if now_us - last_us > limit_s * 1_000_000:
            self.hang_up()
