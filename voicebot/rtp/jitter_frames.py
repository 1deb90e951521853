"""What goes into and comes out of the jitter buffer: results, frames and counters."""

from enum import Enum

import msgspec


class ReadMode(Enum):
    """When a frame may leave the buffer."""

    PACED = "paced"
    """Each at its playout time: bridging, listening."""
    EAGER = "eager"
    """At once while there is no gap; only a gap waits, until its playout time: recogniser, VAD."""


class InsertResult(Enum):
    """What became of a packet."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LATE = "late"
    OVERFLOW = "overflow"
    """Accepted, and the oldest audio was dropped for it."""
    RESYNCED = "resynced"
    """Accepted as the start of a new time base (SSRC change, restart, timestamp jump)."""
    UNCONFIRMED = "unconfirmed"
    """Dropped: a sequence jump that the next packet must confirm, or a stale SSRC."""
    NOT_AUDIO = "not_audio"
    """A telephone event: its sequence number is noted, so that it is not taken for a loss."""
    UNUSABLE = "unusable"
    """Unknown payload type, empty or oversized payload."""


class FrameKind(Enum):
    """What a frame holds."""

    SPEECH = "speech"
    LOST = "lost"
    """The sender sent it and it did not come in time: conceal."""
    DTX = "dtx"
    """The sender sent nothing: silence or comfort noise."""
    COMFORT_NOISE = "comfort_noise"
    """``payload`` is an RFC 3389 noise description; it holds until the next speech."""


class JitterFrame(msgspec.Struct, frozen=True, gc=False):
    """20 ms of the caller.

    Attributes:
        kind: What it holds.
        timestamp: Extended RTP timestamp of its first sample.
        position_samples: Position in the output, contiguous from 0 over all time bases.
        payload: 160 codec bytes for speech, the noise description, or empty.
        payload_type: Codec of the payload; 0 or 8.
        arrival_us: Arrival of the packet that completed it; its release time if it has none.
        playout_delay_ms: Release time minus the time at which the fastest recent packet would have
            brought it: what the buffer adds.
        missing_samples: Of a speech frame made from several packets of which one is lost; the gap
            holds codec silence.
    """

    kind: FrameKind
    timestamp: int
    position_samples: int
    payload: bytes
    payload_type: int
    arrival_us: int
    playout_delay_ms: float
    missing_samples: int = 0


class JitterBufferStats(msgspec.Struct, frozen=True, gc=False):
    """Counters since the start; frames are 20 ms."""

    accepted: int
    duplicate: int
    late: int
    overflow: int
    resynced: int
    lost_frames: int
    dtx_frames: int
    accelerated_frames: int
    target_delay_ms: float
    buffered_ms: int
