"""Recordings with known words, by speakers that a recogniser was not trained on.

Reads a folder of tar files, any of:

    fsdd.tar              fsdd/{digit}_{speaker}_{n}.flac
    speech_commands.tar   speech_commands/{word}/{speaker}_nohash_{n}.flac
    barista.tar           barista/*.flac, labels.json (slots), sentences.txt (what may be said)
    NAME.tar              NAME/manifest.jsonl, one line each: file, text, speaker, age, gender

Speakers are held out by a hash of their name, so that nobody changes sides when data is added. A model
measured here must have been trained with the same rule.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sip_test_harness.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ: Final = 8000
DIGITS: Final = "zero one two three four five six seven eight nine".split()  # noqa: SIM905 - reads better
SENTENCES: Final = ("librispeech_tc5", "librispeech_resemblyzer", "commonvoice_en", "speechocean762")
"""Collections of sentences with a manifest."""
MAX_CLIP_S: Final = 20.0

_FSDD: Final = {"theo": "test", "yweweler": "test", "nicolas": "dev"}
_PERCENT: Final = {"speech_commands": (30, 12), "barista": (40, 10)}
_DEFAULT_PERCENT: Final = (8, 6)
_ADULT_YEARS: Final = 18


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        audio: mono 8 kHz, int16 (n,).
        text: what is said, lower case, "" where only slots are known.
        speaker: name, "" where the collection does not say.
        group: what is known of the speaker: "man", "woman", "child", a name of a small set, or "".
        slots: values that must be understood, for commands.
    """

    audio: NDArray[np.int16]
    text: str
    speaker: str = ""
    group: str = ""
    slots: tuple[str, ...] = ()


def split_of(source: str, speaker: str) -> str:
    """Return "train", "dev" or "test": the side of a speaker of a collection."""
    if source == "fsdd":
        return _FSDD.get(speaker.removeprefix("fsdd-"), "train")
    test, dev = _PERCENT.get(source, _DEFAULT_PERCENT)
    draw = int(hashlib.sha256(f"{source}/{speaker}".encode()).hexdigest()[:8], 16) % 100
    return "test" if draw < test else "dev" if draw < test + dev else "train"


def normalised(text: str) -> str:
    """Return a transcript in lower case without punctuation."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower().replace("\u2019", "'")).split())


@dataclass(frozen=True)
class Corpus:
    """The held-out part of a data folder.

    Args:
        folder: with the tar files.
        side: "test", or "dev" for everything that is chosen or fitted.
    """

    folder: Path
    side: str = "test"

    def digits(self) -> list[Clip]:
        """Single digits; the group is the speaker."""
        clips = []
        for path, content in archive_files(self.folder, "fsdd", lambda path: path.suffix == ".flac"):
            digit, speaker, _ = path.stem.split("_")
            if split_of("fsdd", speaker) == self.side:
                clips.append(Clip(_decode(content), DIGITS[int(digit)], speaker, speaker))
        return clips

    def words(self) -> list[Clip]:
        """Single words of many speakers."""

        def wanted(path: Path) -> bool:
            speaker = "sc-" + path.name.split("_")[0]
            return "_nohash_" in path.name and split_of("speech_commands", speaker) == self.side

        return [
            Clip(_decode(content), path.parent.name, "sc-" + path.name.split("_")[0])
            for path, content in archive_files(self.folder, "speech_commands", wanted)
        ]

    def orders(self) -> tuple[list[Clip], list[str]]:
        """Spoken orders with their slots, and the sentences that may be said."""
        labels: dict[str, Any] = {}
        sentences: list[str] = []
        audio: dict[str, bytes] = {}
        for path, content in archive_files(self.folder, "barista", lambda _: True):
            if path.name == "labels.json":
                labels = json.loads(content)
            elif path.name == "sentences.txt":
                sentences = [normalised(line) for line in content.decode().splitlines()]
            elif path.suffix == ".flac" and split_of("barista", path.stem) == self.side:
                audio[path.stem] = content
        clips = []
        for name, label in sorted(labels.items()):
            stem = Path(name).stem
            if stem in audio:
                slots = tuple(normalised(value) for value in label["slots"].values())
                clips.append(Clip(_decode(audio[stem]), "", slots=slots))
        return clips, [sentence for sentence in sentences if sentence]

    def sentences(self, accept: Callable[[str], bool] = lambda _: True) -> list[Clip]:
        """Read sentences whose normalised text is accepted; weak texts are left out."""
        clips = []
        for source in SENTENCES:
            rows = self._manifest(source, accept)
            wanted = {Path(name) for name in rows}.__contains__
            for path, content in archive_files(self.folder, source, wanted):
                row = rows[path.as_posix()]
                audio = _decode(content)
                if len(audio) <= MAX_CLIP_S * RATE_HZ:
                    clips.append(
                        Clip(audio, normalised(row["text"]), row.get("speaker") or "", _group(row))
                    )
        return clips

    def spoken_digits(self) -> list[Clip]:
        """Digit strings that people read at one go (speechocean762), by age and gender."""
        digits = {*DIGITS, "oh"}
        return self.sentences(lambda text: bool(text) and set(text.split()) <= digits)

    def _manifest(self, source: str, accept: Callable[[str], bool]) -> dict[str, dict[str, Any]]:
        rows = {}
        for _, content in archive_files(self.folder, source, lambda path: path.name == "manifest.jsonl"):
            for line in content.decode().splitlines():
                row = json.loads(line)
                if (
                    row.get("text")
                    and row.get("text_quality") != "asr-weak"
                    and split_of(source, row.get("speaker") or "") == self.side
                    and accept(normalised(row["text"]))
                ):
                    rows[row["file"]] = row
        return rows


def joined(clips: Sequence[Clip], length: int, count: int, seed: int) -> list[Clip]:
    """Strings of ``length`` single clips by one speaker each, with pauses of 50 to 300 ms."""
    chance = np.random.default_rng(seed)
    speakers = sorted({clip.speaker for clip in clips})
    strings = []
    for number in range(count if clips else 0):
        own = [clip for clip in clips if clip.speaker == speakers[number % len(speakers)]]
        chosen = [own[i] for i in chance.choice(len(own), length, replace=False)]
        parts: list[NDArray[np.int16]] = []
        for clip in chosen:
            pause = chance.normal(0, 3, int(chance.integers(400, 2400)))
            parts += [clip.audio, np.rint(pause).astype(np.int16)]
        text = " ".join(clip.text for clip in chosen)
        strings.append(Clip(np.concatenate(parts[:-1]), text, chosen[0].speaker, chosen[0].group))
    return strings


def drawn(clips: Sequence[Clip], count: int, seed: int) -> list[Clip]:
    """At most ``count`` clips, the same ones for the same seed."""
    order = np.random.default_rng(seed).permutation(len(clips))
    return [clips[i] for i in order[:count]]


def _group(row: dict[str, Any]) -> str:
    age, gender = row.get("age"), str(row.get("gender") or "")[:1]
    if isinstance(age, int) and age < _ADULT_YEARS:
        return "child"
    return {"m": "man", "f": "woman"}.get(gender, "")


def archive_files(
    folder: Path, collection: str, wanted: Callable[[Path], bool]
) -> Iterator[tuple[Path, bytes]]:
    """Yield the wanted files of a collection, by name; none where the folder lacks it."""
    archive = folder / f"{collection}.tar"
    if not archive.is_file():
        return
    try:
        with tarfile.open(archive) as tar:
            for member in sorted(tar.getmembers(), key=lambda m: m.name):
                if member.isfile() and wanted(Path(member.name)):
                    content = tar.extractfile(member)
                    if content is not None:
                        yield Path(member.name), content.read()
    except tarfile.TarError as error:
        raise UsageError(f"{archive} cannot be read: {error}") from error


def _decode(content: bytes) -> NDArray[np.int16]:
    try:
        import soundfile  # noqa: PLC0415 - an extra that only this command needs
    except ImportError as error:
        raise UsageError("reading FLAC needs: pip install 'sip-test-harness[asr]'") from error
    audio, rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
    if rate_hz != RATE_HZ or audio.ndim != 1:
        raise UsageError(f"recordings must be mono with 8 kHz, not {rate_hz} Hz")
    return np.asarray(audio, np.int16)
