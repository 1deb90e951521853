"""Acoustic echo cancellers behind one small protocol: WebRTC's AEC3, and a fake that subtracts nothing.

AEC3 comes out of the `livekit` wheel (Apache-2.0), which is imported only when a canceller is made: it
loads a native library that starts a few idle threads of its own, so make it after forking.
"""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from voicebot.core.errors import EngineError

Samples = NDArray[np.int16]

SAMPLE_RATE_HZ: Final = 8000
TICK_SAMPLES: Final = 160
_BLOCK_SAMPLES: Final = 80

AEC3_DELAY_SAMPLES: Final = 87
"""How much later AEC3's output is than its input (measured at 8 kHz, no noise suppression)."""


class EchoCanceller(Protocol):
    """Takes the echo of a reference out of a microphone signal, one instance per call."""

    def process(self, microphone: Samples, reference: Samples) -> Samples:
        """One tick of 20 ms, all int16 (160,) at 8 kHz; returns the residual."""
        ...


class Aec3:
    """WebRTC's AEC3 at 8 kHz, without noise suppression, gain control or high-pass filter.

    Raises:
        EngineError: The `livekit` wheel is missing or refuses a frame.
    """

    def __init__(self) -> None:
        self._rtc = _load_livekit()
        self._module = self._rtc.AudioProcessingModule(echo_cancellation=True)
        self._first = True

    def process(self, microphone: Samples, reference: Samples) -> Samples:
        """One tick of 20 ms, all int16 (160,) at 8 kHz; the residual is 87 samples late."""
        residual = np.empty(TICK_SAMPLES, np.int16)
        try:
            for start in (0, _BLOCK_SAMPLES):
                block = slice(start, start + _BLOCK_SAMPLES)
                self._module.process_reverse_stream(self._frame(reference[block]))
                if self._first:
                    # The bulk delay is taken out of the reference before: AEC3 finds the rest itself.
                    self._module.set_stream_delay_ms(0)
                    self._first = False
                frame = self._frame(microphone[block])
                self._module.process_stream(frame)
                residual[block] = np.frombuffer(frame.data, np.int16)
        except RuntimeError as error:
            raise EngineError(f"echo canceller AEC3 refused a frame: {error}") from error
        return residual

    def _frame(self, samples: Samples) -> Any:
        return self._rtc.AudioFrame(bytearray(samples.tobytes()), SAMPLE_RATE_HZ, 1, _BLOCK_SAMPLES)


class NoCanceller:
    """A fake: gives the microphone back as it is."""

    def process(self, microphone: Samples, reference: Samples) -> Samples:  # noqa: ARG002 - the protocol's signature
        """One tick of 20 ms; returns the microphone signal."""
        return microphone


def _load_livekit() -> Any:
    try:
        from livekit import rtc  # noqa: PLC0415 - loads a native library: only where echo is cancelled
    except ImportError as error:
        raise EngineError(
            "echo cancellation needs the livekit package, which is not installed: "
            "run `make setup` or `uv pip install livekit==1.2.1`"
        ) from error
    return rtc
