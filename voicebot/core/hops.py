"""The stages of one turn with their times: what the latency budget is accounted in.

    packet_in -> speech_end -> endpoint -> asr_final -> route -> tts_first_audio -> packet_out

All times are milliseconds on one monotonic clock. ``packet_in`` is the arrival of the last packet with
caller speech, ``packet_out`` the first audible packet of the answer: their distance is the response
onset at our wire.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

HOPS: Final = (
    "packet_in",
    "speech_end",
    "endpoint",
    "asr_final",
    "route",
    "tts_first_audio",
    "packet_out",
)


@dataclass(slots=True)
class TurnHops:
    """Times of one turn; a stage that did not happen stays away."""

    times_ms: dict[str, float] = field(default_factory=dict)

    def mark(self, hop: str, at_ms: float) -> None:
        """Note the first time a stage was reached; later calls for the same hop change nothing."""
        if hop not in HOPS:
            raise ValueError(f"unknown hop {hop!r}, expected one of {', '.join(HOPS)}")
        self.times_ms.setdefault(hop, at_ms)

    @property
    def response_onset_ms(self) -> float | None:
        """From the last speech packet in to the first audible packet out."""
        if "packet_in" not in self.times_ms or "packet_out" not in self.times_ms:
            return None
        return self.times_ms["packet_out"] - self.times_ms["packet_in"]

    def stages_ms(self) -> dict[str, float]:
        """Duration of each stage, named by the hop that ended it, in the order of ``HOPS``."""
        reached = [hop for hop in HOPS if hop in self.times_ms]
        return {
            hop: round(self.times_ms[hop] - self.times_ms[before], 1)
            for before, hop in pairwise(reached)
        }
