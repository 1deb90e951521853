"""A telephone line that sends the bot its own voice back: far-end hybrid or speakerphone, seeded.

    bot sends ─► downlink loss ─► delay, with steps ─► loudspeaker ─► hybrid or room ─► telephone band ┐
    bot hears ◄─ mu-law ◄─ uplink loss ◄─ noise + caller + echo ◄─────────────────────────────────────┘

Everything is simulated: no claim is made that a real line sounds like this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.signal import firwin, lfilter

from sip_test_harness import g711

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 8000
TICK_SAMPLES: Final = 160
_LONGEST_DELAY_MS: Final = 1500
_HYBRID_MS: Final = 12
_ROOM_MS: Final = 250
_LOSS_FILL_GAIN: Final = 0.7

EchoKind = Literal["hybrid", "speakerphone", "none"]


@dataclass(frozen=True)
class EchoLine:
    """What the far end of one call does.

    Attributes:
        kind: Where the echo arises; "none" is a line whose carrier cancels it.
        return_loss_db: How much weaker speech comes back, 6 to 30 dB.
        delay_ms: From the tick of sending to the first of the echo, 0 to 1500 ms.
        delay_steps: (at_ms, by_ms): moves of the delay, as a jitter buffer on the way makes them.
        loss_rate: Share of the 20 ms frames lost, each direction by itself.
        noise_dbov: Level of the line's noise.
        seed: Seed of the impulse response, the losses and the noise.
    """

    kind: EchoKind
    return_loss_db: float = 12.0
    delay_ms: float = 150.0
    delay_steps: tuple[tuple[int, int], ...] = ()
    loss_rate: float = 0.0
    noise_dbov: float = -65.0
    seed: int = 0


class EchoSimulator:
    """Plays the far end of one call in ticks of 20 ms."""

    def __init__(self, line: EchoLine) -> None:
        self._line = line
        self._random = np.random.default_rng(line.seed)
        self._response = _impulse_response(line, self._random)
        self._response_state = np.zeros(self._response.size - 1)
        self._sent = np.zeros((_LONGEST_DELAY_MS * 8) + 2 * TICK_SAMPLES)
        self._last_down = np.zeros(TICK_SAMPLES)
        self._last_up = np.zeros(TICK_SAMPLES)
        self._elapsed_ms = 0
        self.echo_energy = 0.0
        """Energy of the echo in the last tick, before loss and coding: the truth for scoring."""

    @property
    def delay_ms(self) -> float:
        """The delay now, steps included."""
        moved = sum(by_ms for at_ms, by_ms in self._line.delay_steps if at_ms <= self._elapsed_ms)
        return min(float(_LONGEST_DELAY_MS), max(0.0, self._line.delay_ms + moved))

    def tick(
        self, sent: NDArray[np.int16], caller: NDArray[np.int16] | None = None
    ) -> NDArray[np.int16]:
        """One 20 ms tick.

        Args:
            sent: What the bot sends, int16 (160,).
            caller: What the caller says meanwhile, int16 (160,); None is silence.

        Returns:
            What the bot hears in the same tick, int16 (160,), quantised as mu-law.
        """
        if self._random.random() < self._line.loss_rate:
            self._last_down = self._last_down * _LOSS_FILL_GAIN
        else:
            self._last_down = sent.astype(np.float64)
        self._sent = np.concatenate((self._sent[TICK_SAMPLES:], self._last_down))
        end = self._sent.size - round(self.delay_ms * 8)
        played = self._sent[end - TICK_SAMPLES : end]
        if self._line.kind == "speakerphone":
            played = 12000.0 * np.tanh(played / 12000.0)
        echo, self._response_state = lfilter(self._response, [1.0], played, zi=self._response_state)
        self.echo_energy = float(np.dot(echo, echo))
        noise_rms = 32768.0 * 10.0 ** (self._line.noise_dbov / 20.0)
        heard = echo + self._random.normal(0.0, noise_rms, TICK_SAMPLES)
        if caller is not None:
            heard = heard + caller
        if self._random.random() < self._line.loss_rate:
            heard = self._last_up * _LOSS_FILL_GAIN
        self._last_up = heard
        self._elapsed_ms += 20
        clipped = np.clip(np.rint(heard), -32768, 32767).astype(np.int16)
        return g711.decode(g711.encode(clipped, g711.PCMU), g711.PCMU)


def _impulse_response(line: EchoLine, random: np.random.Generator) -> NDArray[np.float64]:
    """Impulse response scaled so that speech-shaped sound comes back `return_loss_db` weaker."""
    if line.kind == "none":
        return np.zeros(2)
    if line.kind == "hybrid":
        count = _HYBRID_MS * 8
        response = random.normal(0.0, 1.0, count) * np.exp(-np.arange(count) / (count / 5))
    else:
        count = _ROOM_MS * 8
        reverberation_s = random.uniform(0.15, 0.45)
        tail = random.normal(0.0, 1.0, count) * 10.0 ** (
            -3.0 * np.arange(count) / (reverberation_s * 8000)
        )
        direct = int(random.integers(4, 40))
        tail[:direct] = 0.0
        response = tail * 0.25
        response[direct] = 1.0
    band = firwin(65, (300, 3400), pass_zero=False, fs=SAMPLE_RATE_HZ)
    response = np.convolve(response, band)
    frequency_hz = np.fft.rfftfreq(4096, 1 / SAMPLE_RATE_HZ)
    # Long-term speech spectrum, roughly: flat to 500 Hz, then 9 dB per octave down.
    speech_power = 1.0 / (1.0 + (frequency_hz / 500.0) ** 3)
    speech_power[frequency_hz < 100] = 0.0
    through = np.sum(speech_power * np.abs(np.fft.rfft(response, 4096)) ** 2) / np.sum(speech_power)
    scaled: NDArray[np.float64] = response * 10.0 ** (-line.return_loss_db / 20.0) / np.sqrt(through)
    return scaled
