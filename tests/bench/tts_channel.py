"""What the synthesis benchmark listens through: prompts, the line, noise, the naive chain, a recogniser."""

import functools
import os
import tempfile

import numpy as np
from scipy.signal import firwin, lfilter

from voicebot.audio.active_level import active_speech_level
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.audio.narrowband import TARGET_LEVEL_DBOV, shape
from voicebot.audio.resampler import resample
from voicebot.tts.calibration import SENTENCES
from voicebot.tts.flite import FliteVoice
from voicebot.tts.protocol import NEUTRAL, Prosody

FULL_SCALE = 32768.0
PROMPTS = (
    "Your balance is three hundred forty two dollars and sixteen cents.",
    "Please say your account number, or press the keys.",
    "Thank you for calling the bank. How can I help you today?",
    "Your appointment is on Thursday at half past two.",
    "I am sorry, I did not understand that.",
    "The nearest branch is open until five in the afternoon.",
    "Would you like to speak with a colleague?",
    "We have sent a new card to your address.",
    "Please hold the line while I transfer you.",
    "Is there anything else that I can do for you?",
)
"""Other sentences than those the voices were calibrated with."""

_LINE = firwin(161, [300, 3400], fs=8000, pass_zero=False)
_LINE_DELAY = 80


def record(voice, text, prosody=NEUTRAL):
    """All of an utterance at the engine's rate."""
    pieces = []
    voice.synthesize(text, lambda s: pieces.append(s) is None, prosody)
    return np.concatenate(pieces)


def at_8k(samples, rate_hz):
    """The clean reference: nothing but resampled."""
    return resample(samples, rate_hz, 8000).astype(float)


def to_level(samples, level_dbov):
    """Scaled to an active speech level."""
    as_int = np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
    return samples * 10 ** ((level_dbov - active_speech_level(as_int).level_dbov) / 20)


def line(samples):
    """300-3400 Hz by a linear-phase filter, then mu-law: what any telephone line does."""
    band = lfilter(_LINE, 1, np.concatenate((samples, np.zeros(_LINE_DELAY))))[_LINE_DELAY:]
    as_int = np.clip(np.rint(band), -32768, 32767).astype(np.int16)
    return decode_ulaw(encode_ulaw(as_int)).astype(float)


def naive(samples, rate_hz):
    """The usual order: level set wideband, then the line."""
    return line(to_level(at_8k(samples, rate_hz), TARGET_LEVEL_DBOV))


def ours(samples, rate_hz, profile):
    """Our chain, then the same line, moved back by the chain's delay."""
    shaped = line(shape(samples, rate_hz, profile, trim=False).astype(float))
    return shaped[_lag(shaped, at_8k(samples, rate_hz)) :]


def _lag(late, reference):
    size = late.size + reference.size
    correlation = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(reference, size)))
    return int(correlation[:200].argmax())


@functools.lru_cache(maxsize=4)
def babble(seconds=50):
    """Six voices at once in the telephone band, RMS 1."""
    random = np.random.default_rng(5)
    talkers = [("awb", 1.0), ("slt", 1.0), ("awb", 0.85), ("slt", 0.85), ("rms", 1.15), ("slt", 1.2)]
    mix = np.zeros(seconds * 8000)
    for number, (name, pitch) in enumerate(talkers):
        voice = FliteVoice(name)
        said = [
            record(voice, SENTENCES[i], Prosody(pitch=pitch)) for i in random.permutation(len(SENTENCES))
        ]
        talk = to_level(at_8k(np.concatenate(said), voice.sample_rate_hz), -30)
        mix += np.resize(talk, mix.size + 1000 * number)[-mix.size :]
    mix = lfilter(_LINE, 1, mix)
    return mix / np.sqrt(np.mean(mix**2))


@functools.lru_cache(maxsize=4)
def car(seconds=50):
    """Noise that falls by 12 dB per octave above 100 Hz, with a floor, in the band; RMS 1."""
    random = np.random.default_rng(6)
    size = seconds * 8000
    frequencies = np.fft.rfftfreq(size, 1 / 8000)
    spectrum = np.fft.rfft(random.standard_normal(size))
    shaped = np.fft.irfft(spectrum * (1 / (1 + (frequencies / 100) ** 2) + 0.02), size)
    shaped = lfilter(_LINE, 1, shaped)
    return shaped / np.sqrt(np.mean(shaped**2))


def in_noise(samples, noise, snr_db, number):
    """`snr_db` below the nominal -22 dBov whatever the chain made of the level; a piece of its own each."""
    level = FULL_SCALE * 10 ** ((TARGET_LEVEL_DBOV - snr_db) / 20)
    start = number * 40_000 % (noise.size - samples.size)
    return samples + level * noise[start : start + samples.size]


def lose(samples, percent, seed):
    """Zero random 20 ms frames: no concealment."""
    random = np.random.default_rng(seed)
    kept = samples.copy()
    for start in range(0, kept.size, 160):
        if random.random() < percent / 100:
            kept[start : start + 160] = 0
    return kept


class Recogniser:
    """Pocketsphinx's own English model with a uniform unigram over the prompts' words: no help by grammar."""

    def __init__(self):
        from pocketsphinx import Decoder

        words = sorted({w for p in PROMPTS for w in words_of(p)})
        with tempfile.NamedTemporaryFile("w", suffix=".lm") as model:
            model.write(_uniform_unigram(words))
            model.flush()
            self._decoder = Decoder(samprate=16000, lm=model.name, logfn=os.devnull)

    def word_errors(self, samples, prompt):
        """Errors and number of words; samples are at 8 kHz."""
        quiet = np.random.default_rng(1).standard_normal(samples.size + 3200) * 3
        quiet[1600 : 1600 + samples.size] += samples
        as_int = np.clip(np.rint(quiet), -32768, 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(resample(as_int, 8000, 16000).tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        said = words_of(prompt)
        return _edits(said, hypothesis.hypstr.split() if hypothesis else []), len(said)


def words_of(prompt):
    return prompt.lower().replace(",", "").replace(".", "").replace("?", "").split()


def _uniform_unigram(words):
    """ARPA text."""
    log10 = -np.log10(len(words) + 1)
    entries = ["-99 <s> 0", f"{log10:.4f} </s>", *(f"{log10:.4f} {w}" for w in words)]
    return (
        "\\data\\\nngram 1=" + f"{len(entries)}\n\n\\1-grams:\n" + "\n".join(entries) + "\n\n\\end\\\n"
    )


def _edits(wanted, got):
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        previous, row[0] = row[0], i
        for j, other in enumerate(got, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (word != other))
    return row[-1]
