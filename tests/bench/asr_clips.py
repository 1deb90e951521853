"""Recordings of held-out speakers for the recognition benchmark, read from the data folder's tar files."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from training.splits import split_of

RATE_HZ = 8000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass(frozen=True)
class Clip:
    """One recording at 8 kHz, int16 (n,), with what is said and by whom ("" where nobody knows)."""

    audio: NDArray[np.int16]
    text: str
    speaker: str
    name: str


def _files(data: Path, collection: str) -> Iterator[tuple[str, bytes]]:
    archive = data / f"{collection}.tar"
    if not archive.is_file():
        return
    with tarfile.open(archive) as tar:
        for member in sorted(tar.getmembers(), key=lambda m: m.name):
            content = tar.extractfile(member) if member.isfile() else None
            if content:
                yield member.name, content.read()


def _decode(content: bytes) -> NDArray[np.int16]:
    audio, rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
    assert rate_hz == RATE_HZ
    return audio


def fsdd(data: Path, split: str) -> list[Clip]:
    """Single digits of the split's speakers."""
    clips = []
    for name, content in _files(data, "fsdd"):
        stem = Path(name).stem.split("_")
        if name.endswith(".flac") and split_of("fsdd", f"fsdd-{stem[1]}") == split:
            clips.append(Clip(_decode(content), DIGITS[int(stem[0])], stem[1], name))
    return clips


def speech_commands(data: Path, split: str) -> list[Clip]:
    """Single words of the split's speakers."""
    clips = []
    for name, content in _files(data, "speech_commands"):
        path = Path(name)
        speaker = "sc-" + path.name.split("_")[0]
        if "_nohash_" in name and split_of("speech_commands", speaker) == split:
            clips.append(Clip(_decode(content), path.parent.name, speaker, name))
    return clips


def barista(data: Path, split: str) -> tuple[list[tuple[Clip, dict[str, str]]], list[str]]:
    """Orders with their slots, and the sentences that may be said."""
    labels: dict[str, dict[str, dict[str, str]]] = {}
    sentences: list[str] = []
    audio: dict[str, bytes] = {}
    for name, content in _files(data, "barista"):
        if name.endswith("labels.json"):
            labels = json.loads(content)
        elif name.endswith("sentences.txt"):
            sentences = content.decode().lower().split("\n")
        elif name.endswith(".flac"):
            audio[Path(name).stem] = content
    orders = []
    for name, label in labels.items():
        stem = Path(name).stem
        if stem in audio and split_of("barista", stem) == split:
            slots = {k: " ".join(v.lower().split()) for k, v in label["slots"].items()}
            orders.append((Clip(_decode(audio[stem]), "", "", name), slots))
    return orders, [" ".join(s.split()) for s in sentences if s.strip()]


def digit_strings(clips: list[Clip], length: int, count: int, seed: int) -> list[Clip]:
    """Strings of digits by one speaker each, joined with pauses of 50 to 300 ms."""
    rng = np.random.default_rng(seed)
    speakers = sorted({c.speaker for c in clips})
    by_speaker = {s: [c for c in clips if c.speaker == s] for s in speakers}
    strings = []
    for number in range(count):
        own = by_speaker[speakers[number % len(speakers)]]
        chosen = [own[i] for i in rng.choice(len(own), length, replace=False)]
        parts: list[NDArray[np.int16]] = []
        for clip in chosen:
            pause = rng.normal(0, 3, int(rng.integers(400, 2400)))
            parts += [clip.audio, np.rint(pause).astype(np.int16)]
        text = " ".join(c.text for c in chosen)
        strings.append(Clip(np.concatenate(parts[:-1]), text, chosen[0].speaker, f"string{number}"))
    return strings
