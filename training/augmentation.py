"""What a telephone line does to a voice, at random.

Everything works on float32 audio at 8 kHz in int16 range and takes the random generator as an
argument, so that a seed reproduces a run.
"""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import signal

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop  # stdlib until 3.13: training runs on 3.11 and 3.12 like the bot

from training.features import COSINE_TRANSFORM, RATE_HZ, Floats, log_mel

FRAME_SAMPLES = 160
"""One 20 ms packet."""

BANDS = [
    signal.butter(4, [low, high], "bandpass", fs=RATE_HZ, output="sos")
    for low in (150, 220, 300)
    for high in (3200, 3400, 3700)
]


def _tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    every = np.arange(-32768, 32768, dtype="<i2").tobytes()
    mu = audioop.ulaw2lin(audioop.lin2ulaw(every, 2), 2)
    a = audioop.alaw2lin(audioop.lin2alaw(every, 2), 2)
    return (
        np.frombuffer(mu, "<i2").astype(np.float32),
        np.frombuffer(a, "<i2").astype(np.float32),
    )


MU_LAW, A_LAW = _tables()


def companded(audio: Floats, table: Floats = MU_LAW) -> Floats:
    """Encode to G.711 and back."""
    index = np.clip(np.rint(audio), -32768, 32767).astype(np.int32) + 32768
    return table[index]


def phone_channel(audio: Floats) -> Floats:
    """The fixed phone channel of all evaluation tables: 300-3400 Hz, then mu-law."""
    sos = signal.butter(4, [300, 3400], "bandpass", fs=RATE_HZ, output="sos")
    return companded(signal.sosfilt(sos, audio).astype(np.float32))


def resampled(audio: Floats, factor: float) -> Floats:
    """Faster (factor > 1, pitch rises too) or slower."""
    count = int(len(audio) / factor)
    return np.interp(np.arange(count) * factor, np.arange(len(audio)), audio).astype(np.float32)


def with_level(audio: Floats, rms: float) -> Floats:
    """Scaled so that the louder half of its 20 ms frames has this RMS."""
    count = max(1, len(audio) // FRAME_SAMPLES)
    frames = np.resize(audio, count * FRAME_SAMPLES).reshape(count, FRAME_SAMPLES)
    energy = np.sort(np.mean(frames**2, axis=1))[count // 2 :]
    return (audio * (rms / (np.sqrt(energy.mean()) + 1.0))).astype(np.float32)


def trimmed(audio: Floats) -> Floats:
    """Without the silence around the speech: from 40 ms before to 40 ms after what is within 30 dB."""
    count = len(audio) // FRAME_SAMPLES
    if count < 4:
        return audio
    energy = np.mean(audio[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES) ** 2, axis=1)
    loud = np.flatnonzero(energy > energy.max() * 1e-3)
    return audio[max(0, loud[0] - 2) * FRAME_SAMPLES : (loud[-1] + 3) * FRAME_SAMPLES]


def lost_frames(count: int, rate: float, burst: float, rng: np.random.Generator) -> list[bool]:
    """A Gilbert loss pattern: ``rate`` of frames lost, in bursts of mean length ``burst``."""
    leave = 1.0 / burst
    enter = rate * leave / max(1e-6, 1.0 - rate)
    lost, pattern = False, []
    for draw in rng.random(count):
        lost = draw >= leave if lost else draw < enter
        pattern.append(lost)
    return pattern


def with_loss(audio: Floats, rng: np.random.Generator, rate: float, *, zero_fill: bool) -> Floats:
    """Drop 20 ms packets; fill with silence or with a fading repetition of the last pitch cycle."""
    audio = audio.copy()
    count = len(audio) // FRAME_SAMPLES
    gain = 1.0
    for index, lost in enumerate(lost_frames(count, rate, rng.uniform(1.0, 2.5), rng)):
        start = index * FRAME_SAMPLES
        if not lost:
            gain = 1.0
        elif zero_fill or start < 2 * FRAME_SAMPLES:
            audio[start : start + FRAME_SAMPLES] = 0.0
        else:
            history = audio[start - 320 : start]
            match = signal.correlate(history[40:280], history[240:320], "valid")
            period = 200 - int(np.argmax(match))  # 40 to 200 samples: 40 to 200 Hz
            cycle = np.resize(history[-period:], FRAME_SAMPLES)
            fade = np.linspace(gain, gain * 0.7, FRAME_SAMPLES, dtype=np.float32)
            audio[start : start + FRAME_SAMPLES] = cycle * fade
            gain *= 0.7
    return audio


def _noise(count: int, rng: np.random.Generator) -> Floats:
    """White, coloured or humming noise of RMS 1."""
    noise = rng.standard_normal(count).astype(np.float32)
    kind = rng.random()
    if kind < 0.5:
        noise = signal.lfilter([1.0], [1.0, -rng.uniform(0.4, 0.97)], noise).astype(np.float32)
    elif kind < 0.6:
        t = np.arange(count) / RATE_HZ
        hum = sum(np.sin(2 * np.pi * k * rng.choice([50.0, 60.0]) * t) / k for k in (1, 2, 3, 5))
        noise = (noise * 0.3 + hum).astype(np.float32)
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-6), dtype=np.float32)


def _room(audio: Floats, rng: np.random.Generator) -> Floats:
    """A small room: an exponentially fading random impulse response."""
    length = int(rng.uniform(0.05, 0.25) * RATE_HZ)
    decay = np.exp(-6.9 * np.arange(length) / length)
    response = rng.standard_normal(length) * decay * rng.uniform(0.02, 0.15)
    response[0] = 1.0
    return signal.fftconvolve(audio, response)[: len(audio)].astype(np.float32)


def augment(
    audio: Floats, rng: np.random.Generator, babble: Floats | None = None, *, noisy: bool = False
) -> Floats:
    """One random telephone call's worth of damage.

    Args:
        audio: Speech.
        rng: Source of randomness.
        babble: Another voice to mix in, any length.
        noisy: Louder noise, and the other voice more often and louder.
    """
    most_noise_db, most_babble_db, with_babble = (3, 5, 0.25) if noisy else (7, 10, 0.1)
    if rng.random() < 0.2:
        audio = _room(audio, rng)
    level = 10 ** rng.uniform(2.3, 3.75)
    audio = with_level(audio, level)
    if rng.random() < 0.5:
        audio = audio + _noise(len(audio), rng) * level * 10 ** (-rng.uniform(most_noise_db, 38) / 20)
    if babble is not None and rng.random() < with_babble:
        voice = np.resize(with_level(babble, level), len(audio))
        audio = audio + voice * 10 ** (-rng.uniform(most_babble_db, 30) / 20)
    if rng.random() < 0.15:  # a cheap handset: one gentle resonance or tilt
        audio = signal.lfilter([1.0, rng.uniform(-0.6, 0.3)], [1.0], audio)
    if rng.random() < 0.7:
        audio = signal.sosfilt(BANDS[rng.integers(len(BANDS))], audio)
    audio = np.asarray(audio, dtype=np.float32)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.2, 0.7, 0.1]))):  # 2: a codec tandem
        audio = companded(audio, MU_LAW if rng.random() < 0.7 else A_LAW)
    if rng.random() < 0.16:
        audio = with_loss(audio, rng, rng.uniform(0.01, 0.12), zero_fill=rng.random() < 0.4)
    if rng.random() < 0.05:
        audio = np.clip(audio * rng.uniform(1.5, 4.0), -20000, 20000)
    return np.asarray(np.clip(audio, -32768, 32767), dtype=np.float32)


def masked_features(
    audio: Floats, rng: np.random.Generator, tempo: float = 1.0, strength: float = 1.0
) -> Floats:
    """Features with SpecAugment: mel bands and short stretches of time set to the mean.

    ``tempo`` above 1 speaks faster without a higher voice: the frames are interpolated.
    """
    mel = log_mel(audio)
    if tempo != 1.0:
        places = np.arange(int(len(mel) / tempo)) * tempo
        before = np.minimum(places.astype(np.int64), len(mel) - 1)
        share = (places - before)[:, None].astype(np.float32)
        mel = mel[before] * (1 - share) + mel[np.minimum(before + 1, len(mel) - 1)] * share
    mean = mel.mean()
    frames = len(mel)
    for _ in range(int(rng.integers(0, 1 + round(2 * strength)))):
        width = int(rng.integers(1, 8))
        start = int(rng.integers(0, mel.shape[1] - width))
        mel[:, start : start + width] = mean
    for _ in range(int(rng.integers(0, 1 + round(strength * frames / 120)))):
        width = int(rng.integers(1, 8))
        start = int(rng.integers(0, max(1, frames - width)))
        mel[start : start + width] = mean
    return np.asarray(mel @ COSINE_TRANSFORM, dtype=np.float32)
