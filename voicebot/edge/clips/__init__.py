"""What the edge can say by itself when no worker is there: G.711 mu-law, 8 kHz, mono.

Rendered at development time with flite 2.2, voice rms (CMU, BSD-like licence), 200-3400 Hz, peak -6 dB.
"""

from enum import Enum
from importlib import resources


class Clip(Enum):
    """A clip and its sentence."""

    ONE_MOMENT = "one_moment"
    """One moment, please."""
    CALL_AGAIN = "call_again"
    """I am sorry, there is a technical problem. Please call again in a few minutes."""


def load(clip: Clip) -> bytes:
    """The mu-law bytes of a clip; 8 a millisecond."""
    return resources.files(__package__).joinpath(f"{clip.value}.ulaw").read_bytes()
