"""Packet-loss concealment for 20 ms frames at 8 kHz: what to play in place of a frame that never came.

    good ─► history ─► at the first loss: linear prediction, pitch, voicing
                          │
    lost ─► last pitch cycle repeated + noise ─► 1/A(z), from the history on ─► fade ─► out
    lost, next frame known ─► the same backwards from that frame, both cross-faded ─► out
    good after a loss ─► the synthesis goes on, cross-faded into what came

The synthesis filter starts with the last samples played, so the loss needs no overlap at its start and
no sample is ever held back: the extra delay is zero. Own design after public principles: linear
prediction and pitch repetition, as in ITU-T G.711 Appendix I and G.722 Appendix IV.
"""

from collections import deque
from itertools import groupby
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.audio.comfort_noise import ComfortNoise, ComfortNoiseParameters
from voicebot.audio.extrapolation import Extrapolation
from voicebot.audio.g711 import RTP_PAYLOAD_TYPE_PCMA, RTP_PAYLOAD_TYPE_PCMU, decode
from voicebot.audio.level import power_dbov, rms_dbov
from voicebot.audio.linear_prediction import Signal

Samples = NDArray[np.int16]

FRAME_SAMPLES: Final = 160
_HISTORY_SAMPLES: Final = 640
_MERGE_SAMPLES: Final = 30
_FLOOR_RISE_DB_PER_FRAME: Final = 0.1
_LOUDEST_FLOOR_DBOV: Final = -45.0
_QUIETEST_FLOOR_DBOV: Final = -80.0
_MEASURED_AT_ONCE: Final = 50  # a second: one look at many frames costs little more than at one
_SQUARES: Final = {
    kind: decode(kind, bytes(range(256))).astype(np.float64) ** 2
    for kind in (RTP_PAYLOAD_TYPE_PCMU, RTP_PAYLOAD_TYPE_PCMA)
}


class Concealer:
    """Conceals losses of one stream: every tick call either `good` or `lost` and play what it returns.

    Zero extra delay. A good frame that does not follow a loss is returned unchanged.

    Args:
        seed: Seed of the noise, so that a replay gives the same samples.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._history: Signal = np.zeros(_HISTORY_SAMPLES)
        self._floor_dbov: float | None = None
        self._lost_frames = 0
        self._extrapolation: Extrapolation | None = None
        self._background = ComfortNoise(seed)
        self._undecoded: deque[tuple[int, bytes]] = deque(maxlen=_HISTORY_SAMPLES // FRAME_SAMPLES)
        self._unmeasured: list[tuple[int, bytes]] = []

    def received(self, payload_type: int, payload: bytes) -> None:
        """A G.711 frame that was received and follows no loss: 160 bytes, played as they are.

        The same as `good` of its samples, which are only decoded and measured once there is a loss to
        conceal, or a second of them.

        Args:
            payload_type: 0 PCMU, 8 PCMA.
            payload: Its codes.
        """
        self._undecoded.append((payload_type, payload))
        self._unmeasured.append((payload_type, payload))
        if len(self._unmeasured) >= _MEASURED_AT_ONCE:
            self._measure()

    @property
    def lost_frames(self) -> int:
        """Length of the loss that is being concealed now, in frames; 0 after a good frame."""
        return self._lost_frames

    def good(self, frame: Samples) -> Samples:
        """A frame that was received, int16 (160,); returns what to play, int16 (160,)."""
        self._measure()
        self._follow_floor(rms_dbov(frame))
        if self._extrapolation is not None:
            frame = _merge(self._extrapolation.take(_MERGE_SAMPLES), frame)
            self._extrapolation = None
        self._lost_frames = 0
        self._remember(frame)
        return frame

    def lost(self, following: Samples | None = None) -> Samples:
        """A frame that did not come; returns what to play instead, int16 (160,).

        Args:
            following: The frame after the lost one, int16 (160,), where the jitter buffer already
                holds it: the gap is then filled from both sides, which sounds much better and costs no
                delay. It must be given to `good` at the next tick.
        """
        if self._extrapolation is None:
            self._start()
        assert self._extrapolation is not None
        self._lost_frames += 1
        filled = self._extrapolation.take(FRAME_SAMPLES) + self._background_noise()
        if following is not None:
            backward = Extrapolation(
                following[::-1].astype(np.float64), self._random, self._extrapolation.lag
            )
            filled = _cross_fade(filled, backward.take(FRAME_SAMPLES)[::-1])
            self._extrapolation = None  # the fill already ends where the next frame begins
        frame = _to_int16(filled)
        self._remember(frame)
        return frame

    def _measure(self) -> None:
        """Let the floor follow the frames that nobody has looked at yet, in their order."""
        for payload_type, frames in groupby(self._unmeasured, itemgetter(0)):
            codes = np.frombuffer(b"".join(payload for _, payload in frames), np.uint8)
            squares = _SQUARES[payload_type][codes].reshape(-1, FRAME_SAMPLES)
            for power in squares.mean(axis=1).tolist():
                self._follow_floor(power_dbov(power))
        self._unmeasured.clear()

    def _follow_floor(self, level_dbov: float) -> None:
        level_dbov = max(_QUIETEST_FLOOR_DBOV, level_dbov)
        if self._floor_dbov is not None:
            level_dbov = min(level_dbov, self._floor_dbov + _FLOOR_RISE_DB_PER_FRAME)
        self._floor_dbov = level_dbov

    def _start(self) -> None:
        self._decode()
        self._measure()
        floor_dbov = _QUIETEST_FLOOR_DBOV if self._floor_dbov is None else self._floor_dbov
        parameters = ComfortNoiseParameters(min(floor_dbov, _LOUDEST_FLOOR_DBOV))
        self._background = ComfortNoise(int(self._random.integers(1 << 31)), parameters)
        self._extrapolation = Extrapolation(self._history, self._random)

    def _background_noise(self) -> Signal:
        """Comes up during the second frame: in the first the extrapolation carries the background."""
        rising = {1: 0.0, 2: np.linspace(0.0, 1.0, FRAME_SAMPLES)}.get(self._lost_frames, 1.0)
        noise: Signal = self._background.generate(FRAME_SAMPLES) * np.asarray(rising)
        return noise

    def _decode(self) -> None:
        for payload_type, payload in self._undecoded:
            self._shift_in(decode(payload_type, payload))
        self._undecoded.clear()

    def _remember(self, frame: Samples) -> None:
        self._decode()
        self._shift_in(frame)

    def _shift_in(self, frame: Samples) -> None:
        self._history[:-FRAME_SAMPLES] = self._history[FRAME_SAMPLES:]
        self._history[-FRAME_SAMPLES:] = frame


def _merge(continued: Signal, frame: Samples) -> Samples:
    """The frame with its first samples cross-faded from the concealment that went on."""
    merged = frame.astype(np.float64)
    merged[: continued.size] = _cross_fade(continued, merged[: continued.size])
    return _to_int16(merged)


def _cross_fade(fading_out: Signal, fading_in: Signal) -> Signal:
    gain = np.sin(np.linspace(0.0, np.pi / 2, fading_in.size + 2)[1:-1]) ** 2
    faded: Signal = fading_out * (1.0 - gain) + fading_in * gain
    return faded


def _to_int16(signal: Signal) -> Samples:
    return np.clip(np.rint(signal), -32768, 32767).astype(np.int16)
