"""Packet-loss concealment: PESQ-NB of G.711 speech with lost 20 ms frames (target 10).

Run: .venv/bin/python -m tests.bench.concealment

The clips of tests/data/speech, mu-law coded, are sent through seeded loss patterns and concealed four ways; the
fourth is the concealer told the frame after the gap, as a jitter buffer of 40 ms nearly always can.
PESQ (ITU-T P.862.1 MOS-LQO, PyPI `pesq`, narrowband) compares the result with the clip before coding.
PLCMOS, the other half of target 10, is not measured: its model comes from no package this project installs.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from pesq import pesq

from voicebot.audio import g711
from voicebot.audio.concealment import FRAME_SAMPLES, Concealer

CLIPS = Path(__file__).parents[1] / "data" / "speech"
RESULT = Path("var/bench/concealment.json")
SAMPLE_RATE_HZ = 8000
SPEECH_DBOV = -26.0
LIMIT_MOS = 3.5
LIMIT_LOST_FRAME_US = 1000.0
LIMIT_GOOD_FRAME_US = 50.0
SEEDS = range(10)


class FillsGaps(Protocol):
    def good(self, frame: np.ndarray) -> np.ndarray: ...

    def lost(self) -> np.ndarray: ...


class ZeroFill:
    """What a receiver without concealment plays."""

    def good(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def lost(self) -> np.ndarray:
        return np.zeros(FRAME_SAMPLES, np.int16)


class FrameRepetition(ZeroFill):
    """The simplest concealment: the last frame again, 3 dB down each time."""

    def __init__(self) -> None:
        self._last = np.zeros(FRAME_SAMPLES, np.int16)

    def good(self, frame: np.ndarray) -> np.ndarray:
        self._last = frame
        return frame

    def lost(self) -> np.ndarray:
        self._last = np.rint(self._last * 0.7).astype(np.int16)
        return self._last


class NextFrameKnown(Concealer):
    """The concealer behind a jitter buffer that holds one frame more: `conceal` tells it the next frame."""


def load_clips(limit: int | None = None) -> list[np.ndarray]:
    """The committed clips at -26 dBov RMS, whole frames, int16; `limit` takes them evenly over the speakers."""
    clips = []
    for path in sorted(CLIPS.glob("*.flac")):
        samples, rate_hz = soundfile.read(path, dtype="int16")
        assert rate_hz == SAMPLE_RATE_HZ, path
        samples = samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].astype(float)
        samples *= 32768 * 10 ** (SPEECH_DBOV / 20) / np.sqrt(np.mean(samples**2))
        clips.append(np.clip(np.rint(samples), -32768, 32767).astype(np.int16))
    assert clips, CLIPS
    return clips if limit is None else clips[:: -(-len(clips) // limit)]


def random_loss(rate: float, frames: int, seed: int) -> np.ndarray:
    """Independent losses."""
    return np.random.default_rng(seed).random(frames) < rate


def burst_loss(rate: float, mean_burst: float, frames: int, seed: int) -> np.ndarray:
    """Gilbert-Elliott: a good state without loss, a bad one that loses all and lasts `mean_burst` frames."""
    random = np.random.default_rng(seed)
    leave_bad = 1 / mean_burst
    enter_bad = rate * leave_bad / (1 - rate)
    lost = np.zeros(frames, bool)
    bad = random.random() < rate
    for index in range(frames):
        lost[index] = bad
        bad = random.random() >= leave_bad if bad else random.random() < enter_bad
    return lost


def conceal(concealer: FillsGaps, clip: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """What is played, int16, of a clip sent as mu-law with some frames lost."""
    received = g711.decode_ulaw(g711.encode_ulaw(clip)).reshape(-1, FRAME_SAMPLES)
    played = []
    for index, (frame, gone) in enumerate(zip(received, lost, strict=True)):
        if not gone:
            played.append(concealer.good(frame))
        elif isinstance(concealer, NextFrameKnown) and not lost[index : index + 2].all():
            played.append(concealer.lost(received[index + 1]))
        else:
            played.append(concealer.lost())
    return np.concatenate(played)


def mos(
    make: Callable[[], FillsGaps], clips: list[np.ndarray], pattern: Callable, seeds: range
) -> np.ndarray:
    """PESQ MOS-LQO of each clip with each seed; `pattern(frames, seed)` says what is lost."""
    scores = []
    for seed in seeds:
        for index, clip in enumerate(clips):
            lost = pattern(clip.size // FRAME_SAMPLES, 1000 * seed + index)
            scores.append(pesq(SAMPLE_RATE_HZ, clip, conceal(make(), clip, lost), "nb"))
    return np.array(scores)


def frame_cost_us(clips: list[np.ndarray]) -> dict[str, float]:
    """Median CPU of one good frame and of a lost one, single and within a burst, microseconds."""
    costs: dict[str, list[float]] = {"good": [], "first lost": [], "good after loss": []}
    for index, clip in enumerate(clips):
        concealer = Concealer()
        lost = random_loss(0.1, clip.size // FRAME_SAMPLES, index)
        before = False
        for frame, gone in zip(clip.reshape(-1, FRAME_SAMPLES), lost, strict=True):
            start = time.perf_counter_ns()
            if gone:
                concealer.lost()
            else:
                concealer.good(frame)
            taken = (time.perf_counter_ns() - start) / 1000
            if gone and not before:
                costs["first lost"].append(taken)
            elif not gone:
                costs["good after loss" if before else "good"].append(taken)
            before = bool(gone)
    return {name: float(np.median(values)) for name, values in costs.items()}


def main() -> int:
    clips = load_clips()
    patterns: dict[str, Callable] = {
        f"{rate:g} % random": lambda n, s, rate=rate: random_loss(rate / 100, n, s)
        for rate in (0, 1, 3, 5, 10)
    }
    for rate, burst in ((3, 2), (5, 2), (5, 3)):
        patterns[f"{rate} % in bursts of {burst}"] = lambda n, s, rate=rate, burst=burst: burst_loss(
            rate / 100, burst, n, s
        )
    methods: dict[str, Callable[[], FillsGaps]] = {
        "zero fill": ZeroFill,
        "frame repetition": FrameRepetition,
        "concealer": Concealer,
        "next frame known": NextFrameKnown,
    }
    print(
        f"PESQ-NB MOS-LQO, {len(clips)} clips x {len(SEEDS)} seeds: mean (standard error, 10th percentile)"
    )
    print(f"{'loss':24s}" + "".join(f"{name:>26s}" for name in methods))
    rows = []
    for loss_name, pattern in patterns.items():
        line = f"{loss_name:24s}"
        for name, make in methods.items():
            scores = mos(make, clips, pattern, SEEDS if loss_name[0] != "0" else range(1))
            mean = float(scores.mean())
            error = float(scores.std() / len(scores) ** 0.5)
            line += f"{mean:12.3f} ({error:.3f}, {np.percentile(scores, 10):.2f})"
            barred = name == "concealer" and loss_name == "5 % random"
            rows.append(
                {
                    "target": "10" if barred else "",
                    "figure": f"PESQ-NB, {loss_name}, {name}",
                    "value": round(mean, 3),
                    "unit": "MOS-LQO",
                    "limit": f">= {LIMIT_MOS}" if barred else "",
                    "ok": mean >= LIMIT_MOS if barred else True,
                    "note": f"{len(scores)} runs, standard error {error:.3f}; PLCMOS not measured"
                    if barred
                    else "",
                }
            )
        print(line, flush=True)
    for name, cost in frame_cost_us(clips).items():
        limit = LIMIT_GOOD_FRAME_US if name == "good" else LIMIT_LOST_FRAME_US
        print(f"CPU of a frame, {name}: {cost:.0f} us (limit {limit:.0f})")
        rows.append(
            {
                "target": "",
                "figure": f"concealment CPU per frame, {name}",
                "value": round(cost, 1),
                "unit": "us",
                "limit": f"<= {limit:.0f}",
                "ok": cost <= limit,
                "note": "median",
            }
        )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=1))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
