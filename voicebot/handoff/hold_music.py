"""Hold music of our own: a slow arpeggio, rendered once; nothing to license, nothing to load."""

from functools import cache
from typing import Final

import numpy as np

from voicebot.audio.g711 import encode_ulaw

SAMPLE_RATE_HZ: Final = 8000
NOTE_S: Final = 0.5
LEVEL: Final = 0.08  # about -26 dBov with the overtone: below speech
# Four bars of four notes: C, Am, F, G (equal temperament, A4 = 440 Hz).
_NOTES_HZ: Final = (
    *(261.63, 329.63, 392.00, 523.25),
    *(220.00, 261.63, 329.63, 440.00),
    *(349.23, 440.00, 523.25, 440.00),
    *(392.00, 493.88, 587.33, 493.88),
)


@cache
def hold_music() -> bytes:
    """Eight seconds that may be repeated without a seam: G.711 mu-law, 8 kHz."""
    samples = np.zeros(int(len(_NOTES_HZ) * NOTE_S * SAMPLE_RATE_HZ))
    length = int(4 * NOTE_S * SAMPLE_RATE_HZ)
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    # Notes ring on over the next ones and around the end into the beginning.
    envelope = (
        np.minimum(time_s / 0.02, 1.0) * np.exp(-time_s * 1.8) * np.minimum((2.0 - time_s) / 0.1, 1.0)
    )
    for number, hz in enumerate(_NOTES_HZ):
        note = envelope * (np.sin(2 * np.pi * hz * time_s) + 0.3 * np.sin(4 * np.pi * hz * time_s))
        start = int(number * NOTE_S * SAMPLE_RATE_HZ)
        places = (start + np.arange(length)) % len(samples)
        np.add.at(samples, places, note * LEVEL)
    return encode_ulaw((np.clip(samples, -1, 1) * 32767).astype(np.int16))
