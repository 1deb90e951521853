"""What a synthesis engine has to be: blocking, streaming, stoppable, usable from several threads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from voicebot.core.errors import SynthesisError

Samples = NDArray[np.int16]
Sink = Callable[[Samples], bool]
"""Takes int16 samples of shape (n,) at the voice's rate, any n ≥ 0; False means: stop at once."""


@dataclass(frozen=True, slots=True)
class Prosody:
    """How words are said; factors of what the voice does by itself."""

    rate: float = 1.0
    """Speed: 1.2 is a fifth faster. 0.5 to 2."""
    pitch: float = 1.0
    """Fundamental frequency: 1.1 is a tenth higher. 0.7 to 1.4."""

    def __post_init__(self) -> None:
        """Refuse what no voice can say.

        Raises:
            SynthesisError: Out of range.
        """
        if not (0.5 <= self.rate <= 2.0 and 0.7 <= self.pitch <= 1.4):
            raise SynthesisError(f"prosody is out of range: rate {self.rate}, pitch {self.pitch}")

    def __mul__(self, other: "Prosody") -> "Prosody":
        """One inside the other, kept within the range."""
        return Prosody(
            min(2.0, max(0.5, self.rate * other.rate)), min(1.4, max(0.7, self.pitch * other.pitch))
        )


NEUTRAL: Final = Prosody()
PROSODY_PRESETS: Final = {
    "neutral": NEUTRAL,
    "calm": Prosody(rate=0.9, pitch=0.95),
    "urgent": Prosody(rate=1.15, pitch=1.1),
    "slow": Prosody(rate=0.75),
    "fast": Prosody(rate=1.3),
}
"""What a dialplan may name behind a voice, as ``rms/calm``."""


class Voice(Protocol):
    """One voice of one engine."""

    @property
    def name(self) -> str:
        """Name in settings and dialplans, as ``rms``."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of what the sink gets."""

    def synthesize(self, text: str, sink: Sink, prosody: Prosody = NEUTRAL) -> None:
        """Speak `text`, which has words and ``, . ? ! '`` only, into `sink`.

        Blocks the calling thread until all audio went to the sink or the sink said stop. Several threads
        may call it at the same time.

        Raises:
            SynthesisError: The engine failed. What the sink raises is passed on unchanged.
        """


def pcm_from_float(samples: NDArray[np.floating]) -> Samples:
    """Float samples of shape (n,), full scale ±1, as int16, clipped at full scale.

    Raises:
        SynthesisError: A sample is NaN or infinite.
    """
    if not np.isfinite(samples).all():
        raise SynthesisError("the voice produced samples that are no numbers (NaN or infinite)")
    return np.clip(np.rint(samples.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)
