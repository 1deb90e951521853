"""Measures a voice once: which gain and which presence equaliser make it fit for the telephone band."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import welch

from voicebot.audio.active_level import active_speech_level
from voicebot.audio.g711 import SAMPLE_RATE_HZ
from voicebot.audio.level import peak_dbov
from voicebot.audio.narrowband import TARGET_LEVEL_DBOV, VoiceProfile, shape
from voicebot.core.errors import SynthesisError
from voicebot.tts.protocol import Samples, Voice

Floats = NDArray[np.float64]

CENTRES_HZ: Final = (315.0, 400.0, 500.0, 630.0, 800.0, 1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0)
"""Third-octave bands inside 300-3400 Hz (IEC 61260)."""
CAP_DB: Final = 12.0
_FLAT_TO_HZ: Final = 500.0
_SLOPE_DB_PER_OCTAVE: Final = -4.5
"""Measured, rms in 5 dB babble: STOI .750 at -6, .759 at -4.5, .758 at -3; +6 dB from 1.6 kHz .738."""
_ROUNDS: Final = 3
_SEGMENT_SAMPLES: Final = 512

SENTENCES: Final = (
    "Hello, and thank you for calling.",
    "Please say your account number, or use the keys.",
    "Your balance is three hundred forty two dollars and sixteen cents.",
    "I did not understand that. Could you say it once more?",
    "The office is open from nine in the morning until half past five.",
    "We shipped the order yesterday, so it should arrive on Thursday.",
    "Which of these would you like, billing, support or a new contract?",
    "Just a moment while I look that up for you.",
    "The five boxing wizards jump quickly over the lazy brown fox.",
    "For your security, choose a number that nobody can guess.",
    "Do you want me to connect you with a colleague?",
    "Thank you very much, and have a pleasant evening. Goodbye.",
)
"""What is measured: prompts as a bot says them, with all common sounds of English in them."""

UNSHAPED: Final = VoiceProfile(0.0, (), ())


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Long-term power density at `CENTRES_HZ`, dB over 1 (int16²/Hz)."""

    density_db: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The profile and what it changes. "Before" is the band alone, level as the engine gave it."""

    voice: str
    profile: VoiceProfile
    level_wideband_dbov: float
    level_before_dbov: float
    level_after_dbov: float
    peak_after_dbov: float
    spectrum_before: Spectrum
    spectrum_after: Spectrum


def calibrate(voice: Voice) -> Calibration:
    """Measure `voice` on `SENTENCES`; takes a second or two with flite.

    Raises:
        SynthesisError: The voice failed or is silent.
    """
    recordings = [_record(voice, sentence) for sentence in SENTENCES]
    rate_hz = voice.sample_rate_hz
    # Untrimmed: before its gain is known, a quiet engine's speech would pass for silence.
    before = _shape_all(recordings, rate_hz, UNSHAPED, trim=False)
    spectrum = long_term_spectrum(before)
    profile = VoiceProfile(0.0, CENTRES_HZ, presence_gains_db(spectrum))
    for number in range(_ROUNDS):
        # Repeated, because the limiter takes a little of what the gain gives.
        after = _shape_all(recordings, rate_hz, profile, trim=number > 0)
        missing_db = TARGET_LEVEL_DBOV - active_speech_level(after).level_dbov
        profile = replace(profile, gain_db=round(profile.gain_db + missing_db, 2))
    after = _shape_all(recordings, rate_hz, profile)
    return Calibration(
        voice.name,
        profile,
        active_speech_level(np.concatenate(recordings), rate_hz).level_dbov,
        active_speech_level(before).level_dbov,
        active_speech_level(after).level_dbov,
        peak_dbov(after),
        spectrum,
        long_term_spectrum(after),
    )


def long_term_spectrum(samples: Samples) -> Spectrum:
    """Power density of int16 samples (n,) at 8 kHz, averaged over each third octave."""
    frequencies, density = welch(samples.astype(np.float64), SAMPLE_RATE_HZ, nperseg=_SEGMENT_SAMPLES)
    edge = 2.0 ** (1.0 / 6.0)
    bands = ((frequencies >= c / edge) & (frequencies < c * edge) for c in CENTRES_HZ)
    return Spectrum(tuple(round(float(10 * np.log10(density[b].mean() + 1e-9)), 2) for b in bands))


def presence_gains_db(spectrum: Spectrum) -> tuple[float, ...]:
    """Gains at `CENTRES_HZ` towards flat up to 500 Hz and -4.5 dB per octave above, within ±12 dB."""
    centres = np.array(CENTRES_HZ)
    target = _SLOPE_DB_PER_OCTAVE * np.log2(np.maximum(centres, _FLAT_TO_HZ) / _FLAT_TO_HZ)
    wanted = target - np.array(spectrum.density_db)
    gains = np.clip(wanted - np.median(wanted), -CAP_DB, CAP_DB)
    return tuple(round(float(g), 1) for g in gains)


def _record(voice: Voice, sentence: str) -> Samples:
    pieces: list[Samples] = []

    def sink(samples: Samples) -> bool:
        pieces.append(samples)
        return True

    voice.synthesize(sentence, sink)
    if not any(p.any() for p in pieces):
        raise SynthesisError(f"voice {voice.name} is silent: it cannot be calibrated")
    return np.concatenate(pieces)


def _shape_all(
    recordings: list[Samples], rate_hz: int, profile: VoiceProfile, *, trim: bool = True
) -> Samples:
    return np.concatenate([shape(r, rate_hz, profile, trim=trim) for r in recordings])
