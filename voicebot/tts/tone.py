"""A fake voice for benchmarks and tests: a 440 Hz tone as long as speech would take. No words."""

import threading
from typing import Final

import numpy as np

from voicebot.core.errors import SynthesisError
from voicebot.tts.protocol import NEUTRAL, Prosody, Samples, Sink

SAMPLE_RATE_HZ: Final = 8000
_FREQUENCY_HZ: Final = 440
_AMPLITUDE: Final = 8000.0
_MS_PER_CHARACTER: Final = 60
_SHORTEST_MS: Final = 200
_CHUNK_SAMPLES: Final = 160


class ToneVoice:
    """Settings value ``tts.engine=tone``.

    Args:
        delay_ms: Time from the text to the first audio.
    """

    name = "tone"
    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, delay_ms: int = 0) -> None:
        self._delay_s = delay_ms / 1000.0

    def synthesize(self, text: str, sink: Sink, prosody: Prosody = NEUTRAL) -> None:
        """60 ms of tone per character of `text`, at least 200 ms; see `Voice`."""
        if not text.strip():
            raise SynthesisError("the tone voice was given no text")
        if self._delay_s:
            threading.Event().wait(self._delay_s)
        tone = render_tone(round(tone_length_ms(text) / prosody.rate), prosody.pitch)
        for start in range(0, tone.size, _CHUNK_SAMPLES):
            if not sink(tone[start : start + _CHUNK_SAMPLES]):
                return


def tone_length_ms(text: str) -> int:
    """How long the tone for `text` is, ms."""
    return max(_SHORTEST_MS, _MS_PER_CHARACTER * len(text))


def render_tone(length_ms: int, pitch: float = 1.0) -> Samples:
    """A 440 Hz tone (times `pitch`), int16 (8 · length_ms,) at 8 kHz."""
    phase = (
        2.0
        * np.pi
        * _FREQUENCY_HZ
        * pitch
        / SAMPLE_RATE_HZ
        * np.arange(length_ms * SAMPLE_RATE_HZ // 1000)
    )
    tone: Samples = np.rint(_AMPLITUDE * np.sin(phase)).astype(np.int16)
    return tone
