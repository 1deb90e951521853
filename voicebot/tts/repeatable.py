"""A voice that says a text with the same samples each time, whoever else is speaking: for replays."""

import ctypes
import threading
from typing import Final
from zlib import crc32

from voicebot.tts.protocol import NEUTRAL, Prosody, Samples, Sink, Voice

_one_at_a_time: Final = threading.Lock()
"""The C library has one series of random numbers for all threads of a process."""


class RepeatableVoice:
    """Begins the C library's random numbers anew for each text: Flite draws its noise from them.

    Two sentences of one prompt are rendered on two threads; they must not share a series. A sentence
    is handed over when it is complete, so this is for virtual time only.

    Args:
        voice: Who speaks.
    """

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    @property
    def name(self) -> str:
        """Name of the voice."""
        return self._voice.name

    @property
    def sample_rate_hz(self) -> int:
        """Rate of what the sink gets."""
        return self._voice.sample_rate_hz

    def synthesize(self, text: str, sink: Sink, prosody: Prosody = NEUTRAL) -> None:
        """Speak `text` into `sink`; see `Voice`."""
        pieces: list[Samples] = []

        def keep(samples: Samples) -> bool:
            pieces.append(samples)
            return True

        # The sink is not called under the lock: it may wait for a sentence that waits for the lock.
        with _one_at_a_time:
            seed(text)
            self._voice.synthesize(text, keep, prosody)
        for samples in pieces:
            if not sink(samples):
                return


def seed(text: str) -> None:
    """Begin the C library's random numbers anew, at a place that depends on the text only."""
    ctypes.CDLL(None).srand(crc32(text.encode("utf-8", "replace")))
