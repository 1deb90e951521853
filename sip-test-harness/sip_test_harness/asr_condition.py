"""What a telephone line does to speech before a recogniser gets it.

clip ─► noise at an SNR ─► 300-3400 Hz ─► mu-law ─► packets of 20 ms, some of them lost
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from sip_test_harness.errors import UsageError
from sip_test_harness.g711 import PCMU, decode, encode
from sip_test_harness.impairment import ON_TIME, ImpairedPacket
from sip_test_harness.impairment_loss import GilbertElliott, RandomLoss

if TYPE_CHECKING:
    from numpy.typing import NDArray

PACKET_SAMPLES: Final = 160
BURST_PACKETS: Final = 3.0
"""Mean length of a burst of losses."""
LEAD_SAMPLES: Final = 1600
TAIL_SAMPLES: Final = 4800
LOSSES_PERCENT: Final = (1, 3, 5, 10)
NOISES_DB: Final = (20, 10, 5)

_ACTIVE_DB: Final = 25.0  # a block within this of the loudest is speech


@dataclass(frozen=True)
class Condition:
    """One line.

    Attributes:
        name: for tables.
        phone: band limit and mu-law.
        loss_percent: of the packets.
        bursts: losses come in bursts of `BURST_PACKETS` on average instead of at random.
        noise_db: signal-to-noise ratio of pink noise with babble; None for no noise.
    """

    name: str
    phone: bool = True
    loss_percent: float = 0.0
    bursts: bool = False
    noise_db: float | None = None


CONDITIONS: Final = {
    condition.name: condition
    for condition in (
        Condition("clean", phone=False),
        Condition("phone"),
        *(Condition(f"loss {p} %", loss_percent=p) for p in LOSSES_PERCENT),
        *(Condition(f"bursts {p} %", loss_percent=p, bursts=True) for p in LOSSES_PERCENT),
        *(Condition(f"noise {db} dB", noise_db=db) for db in NOISES_DB),
    )
}


def chosen_conditions(names: str) -> list[Condition]:
    """Return the conditions of a list divided by commas; "" is all.

    Raises:
        UsageError: an unknown name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(CONDITIONS)
    for name in wanted:
        if name not in CONDITIONS:
            raise UsageError(f"unknown condition {name!r}; known: {', '.join(CONDITIONS)}")
    return [CONDITIONS[name] for name in wanted]


class Line:
    """Sends clips through one condition; the same seed gives the same losses and the same noise.

    Args:
        condition: of the line.
        babble: speech of other people, int16 clips, that the noise is made of besides.
        seed: of losses and noise.
    """

    def __init__(
        self, condition: Condition, babble: list[NDArray[np.int16]] | None = None, seed: int = 1
    ) -> None:
        from scipy.signal import butter  # noqa: PLC0415 - scipy takes a second to load

        self.condition = condition
        self._chance = np.random.default_rng(seed)
        self._babble = babble or []
        self._band = butter(4, [300, 3400], "bandpass", fs=8000, output="sos")
        share, chance = condition.loss_percent / 100, random.Random(seed)
        self._loss: RandomLoss | GilbertElliott | None = None
        if share:
            self._loss = (
                GilbertElliott.of(share, BURST_PACKETS, chance)
                if condition.bursts
                else RandomLoss(share, chance)
            )

    def send(self, audio: NDArray[np.int16]) -> tuple[NDArray[np.int16], list[int]]:
        """Return what arrives, with silence around it, and the numbers of the lost packets.

        Lost packets are zero in what arrives: whoever measures cannot look at them by mistake.
        """
        from scipy.signal import sosfilt  # noqa: PLC0415 - as above

        faint = self._chance.normal(0, 3, LEAD_SAMPLES + TAIL_SAMPLES)
        sound = np.concatenate([faint[:LEAD_SAMPLES], audio, faint[LEAD_SAMPLES:]])
        if self.condition.noise_db is not None:
            sound = sound + self._noise(len(sound), speech_rms(audio), self.condition.noise_db)
        if self.condition.phone:
            sound = sosfilt(self._band, sound)
        samples = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
        samples = np.pad(samples, (0, -len(samples) % PACKET_SAMPLES))
        if self.condition.phone:
            samples = decode(encode(samples, PCMU), PCMU)
        lost = self._lost(len(samples) // PACKET_SAMPLES)
        for number in lost:
            samples[number * PACKET_SAMPLES : (number + 1) * PACKET_SAMPLES] = 0
        return samples, lost

    def _lost(self, packets: int) -> list[int]:
        if self._loss is None:
            return []
        fates = (self._loss.fate(ImpairedPacket(n), n * 20.0) for n in range(packets))
        return [number for number, fate in enumerate(fates) if fate != ON_TIME]

    def _noise(self, count: int, signal_rms: float, snr_db: float) -> NDArray[np.float64]:
        """Half pink noise, half the babble of six other people, at this SNR over active speech."""
        spectrum = np.fft.rfft(self._chance.normal(0, 1, count))
        spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
        noise = _unit(np.fft.irfft(spectrum, count))
        if self._babble:
            crowd = np.zeros(count)
            for index in self._chance.choice(
                len(self._babble), min(6, len(self._babble)), replace=False
            ):
                start = int(self._chance.integers(len(self._babble[index])))
                crowd += np.resize(np.roll(self._babble[index], start), count).astype(np.float64)
            noise = _unit(noise + _unit(crowd))
        return noise * signal_rms * 10 ** (-snr_db / 20)


def speech_blocks(audio: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return which 20 ms blocks are speech: those within 25 dB of the loudest, shape (blocks,)."""
    whole = audio[: len(audio) // PACKET_SAMPLES * PACKET_SAMPLES]
    energy = (whole.reshape(-1, PACKET_SAMPLES).astype(np.float64) ** 2).mean(axis=1)
    return np.asarray(energy > energy.max(initial=0.0) * 10 ** (-_ACTIVE_DB / 10))


def speech_rms(audio: NDArray[np.int16]) -> float:
    """Return the RMS of the active speech in sample values, 0 for silence."""
    active = speech_blocks(audio)
    if not active.any():
        return 0.0
    blocks = audio[: len(active) * PACKET_SAMPLES].reshape(-1, PACKET_SAMPLES).astype(np.float64)
    return float(np.sqrt((blocks[active] ** 2).mean()))


def speech_end_ms(audio: NDArray[np.int16]) -> float:
    """Return where the last block of speech ends, in milliseconds of what `Line.send` returns."""
    active = np.flatnonzero(speech_blocks(audio))
    end = (int(active[-1]) + 1) * PACKET_SAMPLES if len(active) else 0
    return (LEAD_SAMPLES + end) / 8


def _unit(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    rms = float(np.sqrt((sound**2).mean()))
    return sound / rms if rms else sound
