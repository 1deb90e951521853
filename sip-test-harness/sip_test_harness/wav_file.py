"""WAV files in, and the stereo recording out."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

import numpy as np

from sip_test_harness import g711
from sip_test_harness.errors import UsageError
from sip_test_harness.rtp_statistics import ReceivedPacket, extend, split_by_ssrc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
_MAX_JUMP_S = 1.0


def read_wav(path: str | Path) -> NDArray[np.int16]:
    """Read an 8 kHz mono 16-bit WAV file.

    Returns:
        int16 samples of shape (n,).

    Raises:
        UsageError: missing, not a WAV file, or of another rate, width or channel count.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}") from error
    except (wave.Error, EOFError, OSError) as error:
        raise UsageError(f"not a WAV file: {path} ({error})") from error
    if (rate, width, channels) != (SAMPLE_RATE_HZ, 2, 1):
        raise UsageError(
            f"{path}: {rate} Hz, {8 * width} bit, {channels} channel(s); "
            "8000 Hz, 16 bit, 1 channel is needed"
        )
    return np.frombuffer(data, "<i2").astype(np.int16)


def write_wav(path: str | Path, *channels: NDArray[np.int16]) -> None:
    """Write 8 kHz int16 channels of equal length to a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())


def place_received(
    received: Sequence[ReceivedPacket], origin_ns: int, samples: int
) -> NDArray[np.int16]:
    """Lay received audio on the caller's clock.

    Each packet is placed by its RTP timestamp, anchored at the quickest packet of its SSRC, so
    that jitter does not tear the sound; a timestamp that leaves the clock by more than 1 s is
    placed by its arrival.

    Args:
        received: packets in the order of arrival.
        origin_ns: monotonic time of sample 0.
        samples: length of the result.
    """
    out = np.zeros(samples, np.int16)
    for items in split_by_ssrc([item for item in received if item.level_dbfs is not None]).values():
        timestamps = extend([item.packet.timestamp for item in items], 32)
        arrivals = [(item.arrival_ns - origin_ns) * SAMPLE_RATE_HZ // 10**9 for item in items]
        offsets = [at - stamp for at, stamp in zip(arrivals, timestamps, strict=True)]
        anchor = min(
            offset for offset in offsets if abs(offset - offsets[0]) < _MAX_JUMP_S * SAMPLE_RATE_HZ
        )
        for item, stamp, arrival in zip(items, timestamps, arrivals, strict=True):
            at = stamp + anchor
            if abs(at - arrival) > _MAX_JUMP_S * SAMPLE_RATE_HZ:
                at = arrival
            _put(out, at, g711.decode(item.packet.payload, item.packet.payload_type))
    return out


def place_sent(
    spoken: Sequence[tuple[int, bytes, int]], origin_ns: int, samples: int
) -> NDArray[np.int16]:
    """Lay the caller's blocks (due ns, payload, payload type) on the same clock."""
    out = np.zeros(samples, np.int16)
    for due_ns, payload, payload_type in spoken:
        at = (due_ns - origin_ns) * SAMPLE_RATE_HZ // 10**9
        _put(out, at, g711.decode(payload, payload_type))
    return out


def _put(out: NDArray[np.int16], at: int, block: NDArray[np.int16]) -> None:
    start, end = max(0, at), min(len(out), at + len(block))
    if start < end:
        out[start:end] = block[start - at : end - at]
