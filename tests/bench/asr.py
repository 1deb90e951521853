"""Recognition accuracy and speed with the real engine, on speakers the model never heard.

Run: ``.venv/bin/python -m tests.bench.asr [--data FOLDER] [--model FOLDER] [--split dev]``.
"Phone" is 300-3400 Hz and mu-law; loss is random 20 ms packets through the bot's own concealment.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import signal

from sip_test_harness.asr_score import edit_distance
from tests.bench import asr_clips
from tests.bench.asr_clips import Clip
from voicebot.asr.protocol import Hypothesis
from voicebot.asr.spoken import FILLERS, NO, YES
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.asr.yes_no import read_yes_no
from voicebot.audio.concealment import Concealer
from voicebot.audio.g711 import decode_ulaw, encode_ulaw

CHUNK = 160
LEAD, TAIL = 1600, 4800
Audio = NDArray[np.int16]
Channel = Callable[[Audio], Audio]

COMMANDS = [
    "bed",
    "bird",
    "cat",
    "dog",
    "down",
    "eight",
    "five",
    "four",
    "go",
    "happy",
    "house",
    "left",
    "nine",
    "no",
    "off",
    "on",
    "one",
    "right",
    "seven",
    "six",
    "stop",
    "three",
    "two",
    "up",
    "wow",
    "yes",
    "zero",
    "tree",
]
"""The 28 words of the Speech Commands folder that have 20 clips."""

_BAND = signal.butter(4, [300, 3400], "bandpass", fs=8000, output="sos")


def clean(audio: Audio) -> Audio:
    """As recorded."""
    return audio


def phone(audio: Audio) -> Audio:
    """300-3400 Hz, mu-law."""
    narrow = np.clip(np.rint(signal.sosfilt(_BAND, audio)), -32768, 32767).astype(np.int16)
    return decode_ulaw(encode_ulaw(narrow))


def phone_with_loss(percent: float) -> Channel:
    """The phone channel, then random packet loss and our concealment."""

    def channel(audio: Audio) -> Audio:
        rng = np.random.default_rng(len(audio))
        narrow, concealer = phone(audio), Concealer()
        frames = []
        for start in range(0, len(narrow) - CHUNK + 1, CHUNK):
            frame = narrow[start : start + CHUNK]
            frames.append(concealer.lost() if rng.random() * 100 < percent else concealer.good(frame))
        return np.concatenate(frames)

    return channel


@dataclass
class Score:
    """Sums over the clips of one test."""

    clips: int = 0
    right: int = 0
    words: int = 0
    errors: int = 0
    cpu_s: float = 0.0
    audio_s: float = 0.0
    partial_lag_ms: list[float] = field(default_factory=list)
    final_ms: list[float] = field(default_factory=list)
    by_speaker: dict[str, list[bool]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Clips fully right, percent."""
        return 100 * self.right / max(1, self.clips)

    @property
    def word_error(self) -> float:
        """Substitutions, deletions and insertions, percent of the words said."""
        return 100 * self.errors / max(1, self.words)


def speech_end_ms(audio: Audio) -> float:
    """Where the last 20 ms frame within 25 dB of the loudest ends."""
    frames = audio[: len(audio) // CHUNK * CHUNK].reshape(-1, CHUNK).astype(float)
    energy = (frames**2).mean(axis=1)
    return float(np.flatnonzero(energy > energy.max() * 10**-2.5)[-1] + 1) * 20


class Listener:
    """Decodes clips and keeps the times."""

    def __init__(self, factory: VoskFactory) -> None:
        self.factory = factory
        self.rng = np.random.default_rng(1)

    def hear(
        self, audio: Audio, channel: Channel, grammar: list[str] | None, score: Score
    ) -> Hypothesis:
        """Decode one clip in 20 ms chunks between a lead and a tail of faint noise."""
        noise = np.rint(self.rng.normal(0, 3, LEAD + TAIL)).astype(np.int16)
        whole = channel(np.concatenate([noise[:LEAD], audio, noise[LEAD:]]))
        recogniser = self.factory.start(grammar)
        began = time.process_time()
        last_change_ms = 0.0
        for start in range(0, len(whole), CHUNK):
            if recogniser.accept(whole[start : start + CHUNK]) is not None:
                last_change_ms = min(start + CHUNK, len(whole)) / 8
        committed = time.process_time()
        final = recogniser.finish()
        done = time.process_time()
        score.cpu_s += done - began
        score.audio_s += len(whole) / 8000
        score.final_ms.append((done - committed) * 1000)
        if final.text and recogniser.partial.text == final.text:
            score.partial_lag_ms.append(last_change_ms - (LEAD / 8 + speech_end_ms(audio)))
        return final

    def words(
        self, clips: list[Clip], channel: Channel, grammar: list[str], keep: set[str] | None = None
    ) -> Score:
        """Compare word by word; ``keep`` names the words that count (fillers do not)."""
        score = Score()
        for clip in clips:
            final = self.hear(clip.audio, channel, grammar, score)
            heard = ["zero" if w == "oh" else w for w in final.text.split() if not keep or w in keep]
            said = clip.text.split()
            score.clips += 1
            score.right += heard == said
            score.words += len(said)
            score.errors += edit_distance(said, heard)
            score.by_speaker.setdefault(clip.speaker, []).append(heard == said)
        return score


DIGIT_WORDS = {*asr_clips.DIGITS, "oh"}
DIGIT_GRAMMAR = [*DIGIT_WORDS, *(f"{a} {b}" for a in asr_clips.DIGITS for b in asr_clips.DIGITS)]


def slot_recall(
    listener: Listener, data: Path, split: str, channel: Channel, limit: int
) -> tuple[float, float, int]:
    """Share of slot values heard, share of orders with all of them (percent), number of orders."""
    orders, sentences = asr_clips.barista(data, split)
    found = total = complete = 0
    score = Score()
    for clip, slots in orders[:limit]:
        text = f" {listener.hear(clip.audio, channel, sentences, score).text} "
        hits = [f" {value} " in text for value in slots.values()]
        found, total, complete = found + sum(hits), total + len(hits), complete + all(hits)
    count = len(orders[:limit])
    return 100 * found / max(1, total), 100 * complete / max(1, count), count


def false_accepts(listener: Listener, clips: list[Clip]) -> tuple[float, float, int]:
    """Digit grammar: words that are no digits accepted, at the threshold that rejects 5 % of digits."""
    score = Score()
    good, bad = [], []
    for clip in clips:
        final = listener.hear(clip.audio, phone, [*DIGIT_GRAMMAR, *FILLERS], score)
        spoken = [w for w in final.words if w.word in DIGIT_WORDS]
        confidence = final.confidence if spoken else 0.0
        (good if clip.text in DIGIT_WORDS else bad).append(confidence)
    if not good or not bad:
        return 0.0, 0.0, 0
    threshold = float(np.quantile(good, 0.05))
    return 100 * float(np.mean([c >= threshold and c > 0 for c in bad])), threshold, len(bad)


def yes_no(listener: Listener, clips: list[Clip], channel: Channel) -> tuple[float, float]:
    """Answers understood, and heard word for word, percent: "yeah" for "yes" is understood."""
    score = Score()
    finals = [listener.hear(c.audio, channel, [*YES, *NO, *FILLERS], score).text for c in clips]
    understood = [read_yes_no(text) is (c.text == "yes") for text, c in zip(finals, clips, strict=True)]
    strict = [text == c.text for text, c in zip(finals, clips, strict=True)]
    return 100 * float(np.mean(understood)), 100 * float(np.mean(strict))


def row(
    target: str, figure: str, value: float, unit: str, limit: str, *, ok: bool, note: str
) -> dict[str, object]:
    """One line of the report."""
    return {"target": target, "figure": figure, "value": round(value, 3), "unit": unit, "limit": limit,
            "ok": bool(ok), "note": note}  # fmt: skip


def measure(listener: Listener, data: Path, split: str, limit: int) -> list[dict[str, object]]:
    """All tests."""
    rows: list[dict[str, object]] = []
    console = Console(stderr=True)

    def add(*args: object, ok: bool, note: str) -> None:
        rows.append(row(*args, ok=ok, note=note))  # type: ignore[arg-type]  # passed through
        console.print(rows[-1]["figure"], rows[-1]["value"], rows[-1]["unit"], note)

    digits = asr_clips.fsdd(data, split)
    rng = np.random.default_rng(7)
    single = [digits[i] for i in rng.permutation(len(digits))[:limit]]
    for name, channel in (("clean", clean), ("phone", phone)):
        score = listener.words(single, channel, DIGIT_GRAMMAR, DIGIT_WORDS)
        per = ", ".join(f"{s} {100 * np.mean(v):.1f}" for s, v in sorted(score.by_speaker.items()))
        add("", f"isolated digits, {name}", score.accuracy, "%", ">= 97", ok=score.accuracy >= 97,
            note=f"n={score.clips}; {per}")  # fmt: skip
    speed = score
    four = asr_clips.digit_strings(digits, 4, max(20, limit // 4), 3)
    eight = asr_clips.digit_strings(digits, 8, max(20, limit // 8), 4)
    for name, channel in (("clean", clean), ("phone", phone)):
        score = listener.words(four, channel, DIGIT_GRAMMAR, DIGIT_WORDS)
        add("", f"strings of 4, word error, {name}", score.word_error, "%", "<= 4",
            ok=score.word_error <= 4, note=f"n={score.clips}; {score.accuracy:.1f} % fully right")  # fmt: skip
        score = listener.words(eight, channel, DIGIT_GRAMMAR, DIGIT_WORDS)
        add("", f"strings of 8 fully right, {name}", score.accuracy, "%", ">= 80",
            ok=score.accuracy >= 80, note=f"n={score.clips}; word error {score.word_error:.1f} %")  # fmt: skip
    base = None
    for percent, bar in ((0, 0.0), (3, 1.15), (10, 1.4)):
        error = listener.words(four, phone_with_loss(percent), DIGIT_GRAMMAR, DIGIT_WORDS).word_error
        base = error if base is None else base
        ratio = error / max(base, 0.1)
        add("11" if percent else "", f"strings of 4, word error at {percent} % loss", error, "%",
            f"<= {bar} x no loss" if bar else "", ok=not bar or ratio <= bar, note=f"ratio {ratio:.2f}")  # fmt: skip
    words = asr_clips.speech_commands(data, split)
    answers = [c for c in words if c.text in ("yes", "no")]
    commands = [c for c in words if c.text in COMMANDS]
    for name, channel in (("clean", clean), ("phone", phone)):
        share, strict = yes_no(listener, answers, channel)
        add("", f"yes / no, {name}", share, "%", ">= 98", ok=share >= 98,
            note=f"n={len(answers)}, by meaning; {strict:.0f} % word for word")  # fmt: skip
        score = listener.words(commands, channel, COMMANDS)
        add("", f"{len(COMMANDS)} command words, {name}", score.accuracy, "%", ">= 90",
            ok=score.accuracy >= 90, note=f"n={score.clips}")  # fmt: skip
    for name, channel in (("clean", clean), ("phone", phone)):
        recall, complete, count = slot_recall(listener, data, split, channel, limit)
        add("", f"barista slot recall, {name}", recall, "%", ">= 75", ok=recall >= 75,
            note=f"n={count} orders, {complete:.1f} % complete")  # fmt: skip
    accepted, threshold, count = false_accepts(listener, words)
    add("", "non-digits taken for digits, phone", accepted, "%", "<= 10", ok=accepted <= 10,
        note=f"n={count}; threshold {threshold:.2f} rejects 5 % of digits")  # fmt: skip
    factor = speed.cpu_s / speed.audio_s
    add("", "real-time factor, digits", factor, "", "<= 0.05", ok=factor <= 0.05, note="one core")
    lag = np.array(speed.partial_lag_ms or [0.0])
    add("", "last partial right after speech end, p50", float(np.median(lag)), "ms", "<= 50",
        ok=float(np.median(lag)) <= 50, note=f"p95 {np.percentile(lag, 95):.0f} ms, audio clock")  # fmt: skip
    final = np.array(speed.final_ms)
    add("", "final after commit, CPU p50", float(np.median(final)), "ms", "<= 30",
        ok=float(np.median(final)) <= 30, note=f"p95 {np.percentile(final, 95):.1f} ms")  # fmt: skip
    return rows


def main() -> None:
    """Measure, print, write var/bench/asr.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of tar files")
    parser.add_argument("--model", type=Path, help="Vosk model directory (default: the packaged one)")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument(
        "--limit", type=int, default=1000, help="single digits; other tests scale with it"
    )
    args = parser.parse_args()
    console = Console()
    if not (args.data / "fsdd.tar").is_file():
        console.print(f"no recordings in {args.data}: give --data a folder with fsdd.tar and the others")
        raise SystemExit(2)
    factory = VoskFactory(args.model)
    rows = measure(Listener(factory), args.data, args.split, args.limit)
    table = Table("figure", "value", "limit", "ok", "note", title=f"{factory.description}, {args.split}")
    for line in rows:
        value = f"{line['value']} {line['unit']}"
        table.add_row(
            str(line["figure"]),
            value,
            str(line["limit"]),
            "yes" if line["ok"] else "NO",
            str(line["note"]),
        )
    console.print(table)
    out = Path("var/bench/asr.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
