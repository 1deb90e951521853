"""Words for the network that tells words that interrupt from those that hum along.

    single words     of Speech Commands and FSDD, and phrases of the keyword collection
    words inside     sentences of speechocean762, LibriSpeech, Common Voice, the orders and Allison,
                     cut where the recogniser's own training model finds them
    synthetic        the single words of `training.synthesis`, and what is read here (`SPOKEN`): nobody
                     in the recordings says "uh-huh"
    no voice         bursts and noise

Each comes as it is and several times over other lines (`training.augmentation`): other speeds, levels,
rooms, noises, codecs, losses, mouths. No test speaker is among them.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from scipy import signal

from training.align import labels_of, losses, scores_of
from training.augmentation import augment, companded, resampled, trimmed
from training.cut import cuts
from training.data import Utterance, load_audio, load_index, read_8khz
from training.features import Floats
from training.mixing import with_weak_labels
from training.model import averaged_model
from training.synthesis import Line, espeak, flite
from voicebot.turn.interjection import FRAMES, QUIET, features, word_in

MARGIN_FRAMES: Final = 16
"""So many frames more than the network sees, to begin it at random."""
SCALE: Final = 64.0
"""Features are kept in steps of 1/64."""

INTERRUPTING: Final = frozenset(
    {"stop", "no", "wait", "cancel", "help", "agent", "operator", "repeat", "stopped", "nope"}
)
HUMMING: Final = frozenset(
    {
        *(
            "right",
            "yes",
            "yeah",
            "yep",
            "yup",
            "okay",
            "ok",
            "sure",
            "oh",
            "ah",
            "hmm",
            "mmm",
            "um",
            "uh",
        ),
        *("mhm", "aha", "exactly", "correct", "uh huh", "mm hmm", "all right", "i see"),
        *("ah okay", "oh yeah", "yeah yeah"),
    }
)
SILENT: Final = frozenset({"_burst", "_noise"})
SPOKEN: Final = (
    *(
        "uh-huh",
        "uh huh",
        "mm-hmm",
        "mm hmm",
        "mhm",
        "hmm",
        "mmm",
        "ah",
        "oh",
        "um",
        "uh",
        "aha",
        "sure",
    ),
    *("okay", "ok", "yeah", "yes", "right", "all right", "I see", "ah okay", "oh yeah", "yeah yeah"),
    *("no", "no", "stop", "stop", "wait", "hold on", "no no", "stop stop", "no wait", "no thanks"),
    *("stop it", "stop please"),
)
SPOKEN_COUNT: Final = 1400
SENTENCES: Final = frozenset(
    {
        *("speechocean762", "librispeech_tc5", "librispeech_resemblyzer", "commonvoice_en", "barista"),
        "asterisk_en_allison",
    }
)
MOST_OF_A_WORD: Final = 350
"""Cuts of one word: "the" is in every sentence."""
WORST_LOSS: Final = 2.2
"""Per phone: a sentence that fits its text worse is not cut."""
SHORTEST_SAMPLES: Final = 1200
PHRASE_SAMPLES: Final = 10_400

COPIES: Final = {"speech_commands": 16, "synthetic": 2, "spoken": 3, "keywords": 3}
WANTED_COPIES: Final = 5
WANTED_CUTS: Final = INTERRUPTING | HUMMING | {"well", "hold"}


@dataclass(frozen=True)
class Word:
    """One recording of one word.

    Attributes:
        source: Where it comes from: a key of `training.interjection.SHARES`.
        voice: Who says it; unique over all sources.
        word: What is said; phrases begin with an underline.
        offset: First sample, or the seed of what is made here.
        samples: Length at 8 kHz; 0 for what is made here.
        copies: How often it is an example.
    """

    source: str
    voice: str
    word: str
    offset: int
    samples: int
    copies: int = 1


def words_in_sentences(work: Path, checkpoint: Path) -> list[Word]:
    """Every word that the training and development speakers say inside sentences.

    Found once (5 minutes) and kept in ``every-word.jsonl``.
    """
    kept = work / "every-word.jsonl"
    if not kept.exists():
        model, audio = averaged_model(checkpoint), load_audio(work)
        found: list[Utterance] = []
        for one in track(with_weak_labels(work), "words in sentences"):
            if one.source not in SENTENCES or one.split == "test" or not one.words:
                continue
            scores = scores_of(model, audio[one.offset : one.offset + one.samples])
            labels = labels_of(list(one.words))
            if float(losses(scores, [labels])[0]) <= WORST_LOSS * len(labels):
                voice = one.speaker or one.name
                found += cuts(replace(one, speaker=voice), scores.numpy())
        kept.write_text("".join(json.dumps(asdict(u)) + "\n" for u in found), encoding="utf-8")
    words, count = [], Counter[str]()
    for one in load_index(work, kept.name):
        word = one.words[0]
        count[word] += 1
        if one.samples >= SHORTEST_SAMPLES and count[word] <= MOST_OF_A_WORD:
            copies = WANTED_COPIES if word in WANTED_CUTS else 1
            words.append(Word("cut", one.speaker, word, one.offset, one.samples, copies))
    return words


def spoken(work: Path) -> tuple[list[Word], NDArray[np.int16]]:
    """`SPOKEN` by espeak-ng and flite, read once and kept in ``spoken.npz``."""
    kept = work / "spoken.npz"
    if not kept.exists():
        chance, sounds, rows = random.Random(5), [np.zeros(0, np.int16)], []
        path = work / "spoken.wav"
        for number in track(range(SPOKEN_COUNT), "spoken"):
            text = SPOKEN[number % len(SPOKEN)]
            path.unlink(missing_ok=True)
            voice = (espeak if chance.random() < 0.75 else flite)(Line(path, text), chance)
            if path.exists() and (sound := read_8khz(path)).size >= SHORTEST_SAMPLES:
                rows.append((voice, text.replace("-", " ").lower(), sound.size))
                sounds.append(sound)
        path.unlink(missing_ok=True)
        np.savez(kept, audio=np.concatenate(sounds), rows=np.array(json.dumps(rows)))
    with np.load(kept) as arrays:
        audio, rows = arrays["audio"], json.loads(str(arrays["rows"]))
    begins = itertools.accumulate((size for *_, size in rows), initial=0)
    words = [
        Word("spoken", f"synthetic-{voice}", word, begin, size, COPIES["spoken"])
        for begin, (voice, word, size) in zip(begins, rows, strict=False)
    ]
    return words, audio


def recorded(work: Path) -> Iterator[Word]:
    """Single words, and phrases of two that are short enough."""
    for one in load_index(work):
        if one.split == "test" or not one.words:
            continue
        word, copies = one.words[0], COPIES.get(one.source, 1)
        voice = f"synthetic-{one.speaker}" if one.source == "synthetic" else one.speaker
        if one.source in {"speech_commands", "fsdd"} or (
            one.source == "synthetic" and len(one.words) == 1
        ):
            yield Word(one.source, voice, word, one.offset, one.samples, copies)
        elif one.source == "shawnhymel_keywords":
            yield Word("keywords", one.name, "_phrase", one.offset, one.samples, COPIES["keywords"])
        elif one.source == "synthetic" and len(one.words) == 2 and one.samples < PHRASE_SAMPLES:
            yield Word(one.source, voice, "_" + " ".join(one.words), one.offset, one.samples)


def made(seed: int, kind: str) -> Floats:
    """A burst of breath, or the noise of a line, that begins and ends."""
    chance = np.random.default_rng([7, seed])
    size = int(chance.integers(1000, 6000))
    sound = chance.normal(0, 1, size)
    if kind == "burst":
        centre, width = chance.uniform(300, 2500), chance.uniform(200, 1200)
        low, high = max(80.0, centre - width), min(3900.0, centre + width)
        sound = signal.sosfilt(signal.butter(1, [low, high], "bandpass", fs=8000, output="sos"), sound)
        sound = sound * np.exp(-np.arange(size) / (size / chance.uniform(2, 6)))
        rise = int(chance.integers(20, 400))
        sound[:rise] *= np.linspace(0, 1, rise)
    else:
        sound = np.cumsum(sound) * chance.random() * 0.2 + sound
    return np.asarray(sound / np.abs(sound).max() * 9000, np.float32)


class Examples:
    """Makes examples of words; the same ones each time.

    Args:
        work: The folder of `training.data`.
        audio: What `spoken` has read.
    """

    def __init__(self, work: Path, audio: NDArray[np.int16]) -> None:
        self._recordings, self._spoken = load_audio(work), audio
        index = load_index(work)
        self._others = [u for u in index if u.source == "librispeech_tc5" and u.split == "train"]

    def of(self, word: Word) -> NDArray[np.uint8]:
        """Each copy, uint8 (copies, 112, 30), the first one undamaged."""
        made = []
        for copy in range(word.copies):
            chance = np.random.default_rng([word.offset, copy, sum(word.source.encode())])
            made.append(self._one(word, chance, damaged=copy > 0))
        return np.stack(made)

    def _sound(self, word: Word) -> Floats:
        if not word.samples:
            return made(word.offset, word.source)
        audio = self._spoken if word.source == "spoken" else self._recordings
        sound = np.asarray(audio[word.offset : word.offset + word.samples], np.float32)
        return trimmed(sound) if word.source in {"speech_commands", "fsdd"} else sound

    def _one(self, word: Word, chance: np.random.Generator, *, damaged: bool) -> NDArray[np.uint8]:
        sound = self._sound(word)
        if damaged:
            sound = resampled(sound, float(chance.uniform(0.82, 1.22)))
        before, after = int(chance.integers(400, 2400)), int(chance.integers(800, 3600))
        sound = np.pad(sound, (before, after))
        sound = sound + chance.normal(0, chance.uniform(2, 30), sound.size).astype(np.float32)
        warp = 1.0
        if damaged:
            babble = None
            if self._others and chance.random() < 0.3:
                other = self._others[int(chance.integers(len(self._others)))]
                voice = self._recordings[other.offset : other.offset + other.samples]
                babble = np.asarray(voice, np.float32)
            sound = augment(sound, chance, babble)
            warp = float(chance.choice([0.88, 0.94, 1.0, 1.0, 1.06, 1.13]))
        else:
            louder_half = np.sort(sound**2)[sound.size // 2 :]
            sound = companded(sound * (2000.0 / (np.sqrt(louder_half.mean()) + 1.0)))
        samples = np.clip(np.rint(sound), -32768, 32767).astype(np.int16)
        seen = features(word_in(samples), FRAMES + MARGIN_FRAMES, warp)
        return np.clip(np.rint((seen - QUIET) * SCALE), 0, 255).astype(np.uint8)


def every_word(work: Path, checkpoint: Path) -> tuple[list[Word], NDArray[np.int16]]:
    """All words, and the audio of those that are read here."""
    torch.set_num_threads(1)
    read, audio = spoken(work)
    noises = [Word("burst", f"burst-{k}", "_burst", k, 0) for k in range(900)]
    noises += [Word("noise", f"noise-{k}", "_noise", k, 0) for k in range(400)]
    return [*recorded(work), *words_in_sentences(work, checkpoint), *read, *noises], audio
