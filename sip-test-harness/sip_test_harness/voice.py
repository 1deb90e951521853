"""What happens to the caller's sound before it becomes packets: echo, noise, gain, clipping, tandem.

said ─▶ gain ─▶ + echo of what was heard ─▶ + noise ─▶ clip ─▶ tandem codings ─▶ packets
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sip_test_harness import g711
from sip_test_harness.errors import UsageError
from sip_test_harness.wav_file import read_wav

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sip_test_harness.echo_simulator import EchoKind, EchoSimulator

BLOCK_SAMPLES: Final = 160
ECHO_KINDS: Final = ("none", "hybrid", "speakerphone")
_MAX_QUEUED_BLOCKS: Final = 5
_ECHO: Final[dict[str, EchoKind]] = {"hybrid": "hybrid", "speakerphone": "speakerphone"}


@dataclass(frozen=True)
class Voice:
    """How a caller sounds.

    Args:
        echo: where the bot's own voice comes back from: none, hybrid or speakerphone.
        return_loss_db: how much weaker it comes back.
        echo_delay_ms: how much later.
        noise: "", white, pink, or an 8 kHz WAV file to loop (babble, street).
        noise_dbov: its level.
        gain_db: gain of what the caller says.
        clip_dbov: level at which the sum is clipped; 0 is full scale.
        tandem: further G.711 codings on the way (mu-law and A-law in turn).
    """

    echo: str = "none"
    return_loss_db: float = 12.0
    echo_delay_ms: float = 150.0
    noise: str = ""
    noise_dbov: float = -50.0
    gain_db: float = 0.0
    clip_dbov: float = 0.0
    tandem: int = 0

    @property
    def plain(self) -> bool:
        """Whether nothing is changed."""
        return self == Voice() or (
            self.echo == "none"
            and not self.noise
            and not self.gain_db
            and not self.clip_dbov
            and not self.tandem
        )


class VoicePath:
    """A caller's voice at work, in blocks of 20 ms; seeded.

    Args:
        voice: what to do.
        seed: start of noise and echo path.

    Raises:
        UsageError: unknown kind of echo, or a noise file that cannot be read.
    """

    def __init__(self, voice: Voice, seed: int) -> None:
        if voice.echo not in ECHO_KINDS:
            raise UsageError(f"echo {voice.echo!r}: one of {', '.join(ECHO_KINDS)}")
        self._voice = voice
        self._random = np.random.default_rng(seed)
        self._heard: deque[NDArray[np.int16]] = deque(maxlen=_MAX_QUEUED_BLOCKS)
        self._echo: EchoSimulator | None = None
        if voice.echo in _ECHO:
            from sip_test_harness.echo_simulator import (  # noqa: PLC0415 - scipy takes a second to load
                EchoLine,
                EchoSimulator,
            )

            self._echo = EchoSimulator(
                EchoLine(
                    _ECHO[voice.echo],
                    return_loss_db=voice.return_loss_db,
                    delay_ms=voice.echo_delay_ms,
                    noise_dbov=-120.0,
                    seed=seed,
                )
            )
        self._noise = _noise_loop(voice, self._random)
        self._noise_at = int(self._random.integers(len(self._noise))) if len(self._noise) else 0

    def hear(self, samples: NDArray[np.int16]) -> None:
        """Take a block that the caller's telephone plays; from any thread."""
        self._heard.append(samples)

    def speak(self, said: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return what is sent for a block of 160 samples that the caller says (or silence)."""
        voice = self._voice
        out = said.astype(np.float64) * 10 ** (voice.gain_db / 20)
        if self._echo is not None:
            try:
                heard = self._heard.popleft()
            except IndexError:
                heard = np.zeros(BLOCK_SAMPLES, np.int16)
            if len(heard) != BLOCK_SAMPLES:
                heard = np.resize(heard, BLOCK_SAMPLES)
            out += self._echo.tick(heard)
        if len(self._noise):
            at = np.arange(self._noise_at, self._noise_at + len(out)) % len(self._noise)
            out += self._noise[at]
            self._noise_at = int(at[-1]) + 1
        limit = 32767 * 10 ** (voice.clip_dbov / 20)
        samples: NDArray[np.int16] = np.clip(np.rint(out), -limit, limit).astype(np.int16)
        for index in range(voice.tandem):
            codec = g711.PCMA if index % 2 else g711.PCMU
            samples = g711.decode(g711.encode(samples, codec), codec)
        return samples


def _noise_loop(voice: Voice, random: np.random.Generator) -> NDArray[np.float64]:
    """Return at least 4 s of noise at the voice's level, or nothing."""
    if not voice.noise:
        return np.zeros(0)
    if voice.noise in {"white", "pink"}:
        noise = random.normal(0.0, 1.0, 8 * 8000)
        if voice.noise == "pink":
            # Equal power in each octave: amplitude falls with the root of the frequency.
            spectrum = np.fft.rfft(noise)
            bins = np.arange(len(spectrum))
            noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(bins, 1)) * (bins > 100))
    else:
        noise = read_wav(Path(voice.noise)).astype(np.float64)
    rms = float(np.sqrt(np.mean(noise**2))) if len(noise) else 0.0
    if not rms:
        raise UsageError(f"noise {voice.noise!r}: nothing to hear in it")
    scaled: NDArray[np.float64] = noise * (32768 * 10 ** (voice.noise_dbov / 20) / rms)
    return scaled
