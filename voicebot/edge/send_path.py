"""The way of the bot's audio to the caller: queue, packetizer, socket, once per 20 ms.

    IDLE ──media agreed──► SENDING ◄──resume── HELD (nothing is sent; the media clock runs on)
                              │▲
                       bridge ▼│ unbridge
                           FORWARDING (frames of the other leg, sent as they come; what the bot
                                       says to this leg meanwhile is mixed in)

A packet leaves in each tick while SENDING, silence when nothing is queued: address translators stay
open, the far end's jitter buffer keeps its time base, and the recording has no holes.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from voicebot.audio import g711
from voicebot.edge.receive_path import HeardFrame
from voicebot.edge.signalling import NegotiatedMedia
from voicebot.link.binary_media import BotAudio
from voicebot.rtp.packet import FRAME_SAMPLES, PCMA, PCMU, build_rtp
from voicebot.rtp.packetizer import Packetizer
from voicebot.rtp.playout import Cleared, Played, PlayoutQueue, UtteranceState

_SILENCE: Final = bytes([g711.ULAW_SILENCE]) * FRAME_SAMPLES
_SILENCE_ALAW: Final = bytes([g711.ALAW_SILENCE]) * FRAME_SAMPLES
_FORWARD_STALL_TICKS: Final = 10
_FORWARD_AHEAD_TICKS: Final = 5

Transmit = Callable[[bytes], None]
SentSink = Callable[[bytes], None]


class SendPath:
    """Sends one RTP stream.

    Args:
        packetizer: Outgoing RTP state.
        transmit: Sends one datagram to wherever the far end is.
        on_sent: Takes the 160 mu-law bytes of each 20 ms that went out (recording).
    """

    def __init__(self, packetizer: Packetizer, transmit: Transmit, on_sent: SentSink) -> None:
        self._packetizer = packetizer
        self._transmit = transmit
        self._on_sent = on_sent
        self._queue = PlayoutQueue()
        self._sending = False
        self._forwarding = False
        self._behind_ticks = 0
        self.position_samples = 0
        """Samples of the outgoing stream so far, sent or skipped: the echo reference counts these."""
        self.dropped_forward_frames = 0

    # ------------------------------------------------------------------ control

    def expect(self, media: NegotiatedMedia) -> None:
        """Follow an outcome of offer and answer."""
        self._sending = media.send and bool(media.address)
        self._packetizer.payload_type = PCMA if media.codec == "PCMA" else PCMU
        self._packetizer.telephone_event_payload_type = media.event_send_payload_type

    @property
    def can_send_digits(self) -> bool:
        """Whether the far end takes telephone events."""
        return self._packetizer.telephone_event_payload_type is not None

    @property
    def sending_digits(self) -> bool:
        """Whether key presses are still going out."""
        return self._packetizer.sending_digits

    def send_digits(self, digits: str) -> None:
        """Queue key presses; raises ValueError as ``Packetizer.send_digits``."""
        self._packetizer.send_digits(digits)

    def enqueue(self, audio: BotAudio) -> bool:
        """Queue audio of an utterance; False when its generation was cleared."""
        return self._queue.enqueue(audio.generation, audio.utterance, audio.payload)

    def end_of_utterance(self, utterance: str) -> None:
        """No more audio comes for this one."""
        self._queue.end_of_utterance(utterance)

    def pause(self, ramp_ms: int) -> None:
        """Stop after a ramp, keep the rest."""
        self._queue.pause(ramp_ms)

    def resume(self) -> None:
        """Go on where ``pause`` stopped."""
        self._queue.resume()

    def clear(self, generation: int, ramp_ms: int) -> list[Cleared]:
        """Throw away what is queued."""
        return self._queue.clear(generation, ramp_ms)

    def utterances(self) -> list[UtteranceState]:
        """The utterances that are remembered, in the order of their first audio."""
        return self._queue.utterances()

    def take_played(self) -> list[Played]:
        """What has gone out since the last call."""
        return self._queue.take_played()

    @property
    def queued_ms(self) -> float:
        """Audio that waits."""
        return self._queue.queued_ms

    @property
    def dropped_ms(self) -> float:
        """Audio that was dropped because the queue was full or cleared."""
        return self._queue.dropped_ms

    @property
    def packetizer(self) -> Packetizer:
        """Outgoing RTP state, for the sender report."""
        return self._packetizer

    # ------------------------------------------------------------------ bridging

    def start_forwarding(self) -> None:
        """Frames come from another leg from now on (``forward``)."""
        self._forwarding = True
        self._behind_ticks = 0

    def stop_forwarding(self) -> None:
        """Back to the queue."""
        self._forwarding = False

    def forward(self, frame: HeardFrame) -> None:
        """Send one frame of the other leg at once."""
        if not self._forwarding or not self._sending or self._packetizer.sending_digits:
            return
        if self._behind_ticks <= -_FORWARD_AHEAD_TICKS:
            # A burst after a stall: the stall was filled with silence already.
            self.dropped_forward_frames += 1
            return
        self._behind_ticks -= 1
        codec = self._packetizer.payload_type
        if self._queue.queued_ms > 0:
            ulaw = _mixed(frame.ulaw, self._queue.next_frame().payload)
            self._send(ulaw if codec == PCMU else g711.ulaw_to_alaw(ulaw), ulaw, silence=False)
            return
        if frame.source_payload is not None and frame.source_payload_type == codec:
            payload = frame.source_payload
        else:
            payload = frame.ulaw if codec == PCMU else g711.ulaw_to_alaw(frame.ulaw)
        self._send(payload, frame.ulaw, silence=frame.dtx)

    # ------------------------------------------------------------------ the clock

    def tick(self) -> None:
        """One frame of 20 ms is due."""
        if not self._sending:
            self._packetizer.skip()
            self.position_samples += FRAME_SAMPLES
            self._on_sent(_SILENCE)
            return
        if self._forwarding:
            self._behind_ticks += 1
            if self._packetizer.sending_digits or self._behind_ticks > _FORWARD_STALL_TICKS:
                self._behind_ticks -= 1
                if self._packetizer.sending_digits:
                    self._send_silence()
                else:
                    self._send_queued()
            return
        self._send_queued()

    def _send_queued(self) -> None:
        frame = self._queue.next_frame()
        if frame.silence:
            self._send_silence()
        else:
            alaw = self._packetizer.payload_type == PCMA
            payload = g711.ulaw_to_alaw(frame.payload) if alaw else frame.payload
            self._send(payload, frame.payload, silence=False)

    def _send_silence(self) -> None:
        alaw = self._packetizer.payload_type == PCMA
        self._send(_SILENCE_ALAW if alaw else _SILENCE, _SILENCE, silence=True)

    def _send(self, payload: bytes, ulaw: bytes, *, silence: bool) -> None:
        packet = self._packetizer.tick(payload, silence=silence)
        self._transmit(build_rtp(packet))
        self.position_samples += FRAME_SAMPLES
        self._on_sent(ulaw)


def _mixed(one: bytes, other: bytes) -> bytes:
    """Two mu-law frames as one, saturating."""
    total = g711.decode_ulaw(one).astype(np.int32) + g711.decode_ulaw(other)
    return g711.encode_ulaw(np.clip(total, -32768, 32767).astype(np.int16))
