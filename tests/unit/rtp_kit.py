"""Packets for the RTP tests."""

from voicebot.rtp.jitter_buffer import FrameKind, JitterFrame
from voicebot.rtp.packet import PCMU, RtpPacket

FRAME_US = 20_000
SPEECH = bytes([0x90]) * 160
QUIET = bytes([0xFE]) * 160


def audio(
    index: int,
    *,
    payload: bytes | None = None,
    sequence: int | None = None,
    timestamp: int | None = None,
    ssrc: int = 1,
    marker: bool = False,
    payload_type: int = PCMU,
    size: int = 160,
) -> RtpPacket:
    """The ``index``-th packet of a stream; its payload tells the index."""
    if payload is None:
        payload = bytes([index & 0x7F]) + SPEECH[:1] * (size - 1)
    return RtpPacket(
        payload_type,
        (index if sequence is None else sequence) & 0xFFFF,
        (index * size if timestamp is None else timestamp) & 0xFFFFFFFF,
        ssrc,
        marker,
        payload,
    )


def kinds(frames: list[JitterFrame]) -> list[str]:
    return [frame.kind.value for frame in frames]


def speech(frames: list[JitterFrame]) -> list[int]:
    """Indices of the packets whose audio came out, in order."""
    return [frame.payload[0] for frame in frames if frame.kind is FrameKind.SPEECH]
