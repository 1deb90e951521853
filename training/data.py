"""Recordings -> one index and one audio file, with train / dev / test speakers kept apart.

Writes into the work folder:

    audio.i16     all recordings one after the other, int16, 8 kHz, memory-mapped by ``train``
    index.jsonl   one line per recording: source, speaker, split, words, offset, samples

`training.splits` says which speaker is in which split.
"""

import argparse
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import signal

from training.features import RATE_HZ
from training.lexicon import DIGITS, normalise
from training.splits import split_of

MAX_SECONDS = 17.0


@dataclass(frozen=True)
class Utterance:
    """One recording.

    Attributes:
        source: Name of the collection.
        speaker: Name that is unique over all collections; "" where the collection does not say.
        split: "train", "dev" or "test".
        words: What is said; empty where nobody wrote it down.
        name: Path inside the collection, for reports.
        offset: First sample in audio.i16.
        samples: Length at 8 kHz.
    """

    source: str
    speaker: str
    split: str
    words: tuple[str, ...]
    name: str
    offset: int = 0
    samples: int = 0


def unpack(archives: Path, into: Path) -> None:
    """Unpack every tar file that has not been unpacked yet."""
    for archive in sorted(archives.glob("*.tar")):
        done = into / f".{archive.stem}"
        if not done.exists():
            with tarfile.open(archive) as tar:
                tar.extractall(into, filter="data")
            done.touch()


def _manifest(root: Path, source: str) -> Iterator[Utterance]:
    """Collections with a manifest.jsonl (file, text, speaker)."""
    path = root / source / "manifest.jsonl"
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if not row.get("text") or row.get("text_quality") == "asr-weak":
            continue
        words = normalise(row["text"])
        if words:
            speaker = row.get("speaker") or ""
            yield Utterance(source, speaker, split_of(source, speaker), tuple(words), row["file"])


def _fsdd(root: Path) -> Iterator[Utterance]:
    for path in sorted((root / "fsdd").glob("*.flac")):
        digit, name, _ = path.stem.split("_")
        speaker = f"fsdd-{name}"
        word = (DIGITS[int(digit)],)
        yield Utterance("fsdd", speaker, split_of("fsdd", speaker), word, f"fsdd/{path.name}")


def _speech_commands(root: Path) -> Iterator[Utterance]:
    """Both folders share their speakers: the file name starts with a hash of the voice."""
    for folder in ("speech_commands", "speech_commands_bch"):
        for path in sorted((root / folder).glob("*/*_nohash_*")):
            speaker = "sc-" + path.name.split("_")[0]
            words = normalise(path.parent.name)
            if words:
                split = split_of("speech_commands", speaker)
                name = path.relative_to(root).as_posix()
                yield Utterance("speech_commands", speaker, split, tuple(words), name)


def _barista(root: Path) -> Iterator[Utterance]:
    """No transcripts (``align`` finds weak ones) and no speakers: split by file."""
    for path in sorted((root / "barista").glob("*.flac")):
        yield Utterance("barista", "", split_of("barista", path.stem), (), f"barista/{path.name}")


def _synthetic(root: Path) -> Iterator[Utterance]:
    for path in sorted(root.glob("synthetic/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield Utterance("synthetic", row["voice"], "train", tuple(row["words"]), row["file"])


def recordings(root: Path) -> Iterator[Utterance]:
    """Everything that can be read below an unpacked data folder."""
    for source in (
        "speechocean762",
        "librispeech_tc5",
        "librispeech_resemblyzer",
        "commonvoice_en",
        "asterisk_en_allison",
        "shawnhymel_keywords",
    ):
        yield from _manifest(root, source)
    yield from _fsdd(root)
    yield from _speech_commands(root)
    yield from _barista(root)
    yield from _synthetic(root)


def read_8khz(path: Path) -> NDArray[np.int16]:
    """A recording as mono int16 at 8 kHz."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)
    if rate != RATE_HZ:
        divisor = int(np.gcd(rate, RATE_HZ))
        mono = signal.resample_poly(mono, RATE_HZ // divisor, rate // divisor)
    return np.asarray(np.clip(mono * 32767.0, -32768, 32767), dtype=np.int16)


def load_index(work: Path, name: str = "index.jsonl") -> list[Utterance]:
    """The index as written by this step (or by ``cut``: cuts.jsonl)."""
    rows = []
    for line in (work / name).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        rows.append(Utterance(**{**row, "words": tuple(row["words"])}))
    return rows


def load_audio(work: Path) -> NDArray[np.int16]:
    """All audio, memory-mapped."""
    return np.memmap(work / "audio.i16", dtype=np.int16, mode="r")


def build(root: Path, work: Path) -> list[Utterance]:
    """Write index.jsonl and audio.i16 from an unpacked data folder."""
    work.mkdir(parents=True, exist_ok=True)
    found = list(recordings(root))
    kept, offset = [], 0
    with (work / "audio.tmp").open("wb") as audio_file:
        for utterance in track(found, description="reading audio"):
            audio = read_8khz(root / utterance.name)
            if not 0.15 * RATE_HZ < len(audio) < MAX_SECONDS * RATE_HZ:
                continue
            audio.tofile(audio_file)
            row = {**asdict(utterance), "offset": offset, "samples": len(audio)}
            kept.append(Utterance(**row))
            offset += len(audio)
    with (work / "index.tmp").open("w", encoding="utf-8") as index_file:
        index_file.writelines(json.dumps(asdict(u)) + "\n" for u in kept)
    (work / "audio.tmp").replace(work / "audio.i16")
    (work / "index.tmp").replace(work / "index.jsonl")
    return kept


def main() -> None:
    """Unpack, index and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="tar files")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    args = parser.parse_args()
    root = args.work / "data"
    root.mkdir(parents=True, exist_ok=True)
    unpack(args.data, root)
    kept = build(root, args.work)
    hours: Counter[tuple[str, str]] = Counter()
    for utterance in kept:
        hours[utterance.source, utterance.split] += utterance.samples
    for (source, split), samples in sorted(hours.items()):
        Console().print(f"{source:26s} {split:6s} {samples / RATE_HZ / 3600:6.2f} h")


if __name__ == "__main__":
    main()
