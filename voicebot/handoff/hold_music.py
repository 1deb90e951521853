"""What a waiting caller hears: a slow arpeggio of our own, or ring-back; nothing to license or load."""

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


RING_HZ: Final = (400.0, 450.0)
RING_S: Final = ((0.0, 0.4), (0.6, 1.0))  # twice, then silence until three seconds are over
RING_PERIOD_S: Final = 3.0


@cache
def ring_back() -> bytes:
    """Three seconds of ring-back as in the United Kingdom (ITU-T E.180): G.711 mu-law, 8 kHz."""
    time_s = np.arange(int(RING_PERIOD_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    on = np.any([(time_s >= begin) & (time_s < end) for begin, end in RING_S], axis=0)
    tone = np.sum([np.sin(2 * np.pi * hz * time_s) for hz in RING_HZ], axis=0)
    return encode_ulaw((on * tone * LEVEL * 32767).astype(np.int16))


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
