"""Draws training examples: which recordings, joined how, damaged how.

One process makes features while another trains. The curriculum begins with digits and command words,
where mistakes cost callers most and the network learns the phones fastest, and moves to sentences.
"""

import json
import multiprocessing as mp
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.augmentation import augment, masked_features, resampled, trimmed, with_level
from training.data import Utterance, load_audio, load_index
from training.features import RATE_HZ, SHIFT_SAMPLES, Floats
from training.lexicon import PHONE_INDEX, lexicon
from training.model import SUBSAMPLING
from training.rivals import RivalWords, needed_outputs

ALONE = "alone"
"""Synthetic words of `texts.STEERING_WORDS`, one by one."""

Mixture = Mapping[str, tuple[float, float]]
"""Share of examples at the start and at the end of the curriculum, by source."""

ALL_SOURCES: Mixture = {
    "fsdd": (0.28, 0.12),
    "cut": (0.10, 0.16),
    "digits": (0.08, 0.08),
    "speech_commands": (0.20, 0.24),
    "synthetic": (0.28, 0.20),
    "asterisk_en_allison": (0.03, 0.02),
    "shawnhymel_keywords": (0.01, 0.01),
    "speechocean762": (0.03, 0.10),
    "librispeech_tc5": (0.01, 0.025),
    "librispeech_resemblyzer": (0.0, 0.005),
    "commonvoice_en": (0.0, 0.01),
    "barista": (0.0, 0.03),
}
SHORT_FIRST: Mixture = {
    **dict.fromkeys(("fsdd", "cut", "synthetic"), (0.16, 0.16)),
    **dict.fromkeys(("digits", ALONE, "speechocean762"), (0.08, 0.08)),
    "speech_commands": (0.36, 0.36),
    **dict.fromkeys(("asterisk_en_allison", "librispeech_tc5", "barista"), (0.02, 0.02)),
    **dict.fromkeys(("shawnhymel_keywords", "commonvoice_en"), (0.01, 0.01)),
}
"""For going on from a finished model: mostly single words, which miss their limits."""

MIXTURES = {"all": ALL_SOURCES, "short": SHORT_FIRST}
SHORT = {"fsdd", "speech_commands", "cut", ALONE}
"""Single words, joined to strings of one to eight."""

ANYONE = {"speech_commands", ALONE}
"""Too few words by each voice: strings are made of several voices, each word as often as any other
(three of the words have ten times the recordings of the rest)."""

DIGIT_WORDS = {"zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
MAX_SAMPLES = 15 * RATE_HZ
OUTPUT_SAMPLES = SUBSAMPLING * SHIFT_SAMPLES
FIRST_WORDS = 0.06
"""Up to here the curriculum has short utterances only, and part of them undamaged."""

GROUP = 96


@dataclass(frozen=True)
class Example:
    """Features (frames, 40), the phone labels to find in them, and a first guess of where.

    ``guess`` has one label per network output: the phones spread evenly over the loud part of each
    word. CTC alone answers "blank" for thousands of steps before it finds the first phone; a short
    while of plain classification with this guess spares it that.

    ``rivals`` are `training.rivals`: empty, or RIVALS other readings of the same sound.
    """

    features: Floats
    labels: list[int]
    guess: NDArray[np.int64]
    rivals: list[list[int]] = field(default_factory=list)


def spread(
    parts: list[Floats], phones: list[list[int]], speed: float, outputs: int
) -> NDArray[np.int64]:
    """One label per network output: each part's phones evenly over its loud frames, else blank."""
    guess = np.zeros(outputs, np.int64)
    offset = 0
    for part, labels in zip(parts, phones, strict=True):
        if labels and len(part) >= SHIFT_SAMPLES:
            frames = part[: len(part) // SHIFT_SAMPLES * SHIFT_SAMPLES].reshape(-1, SHIFT_SAMPLES)
            energy = np.sort(np.mean(frames**2, axis=1))
            loud = np.flatnonzero(np.mean(frames**2, axis=1) > energy[-1 - len(energy) // 20] * 10**-3)
            if len(loud):
                first = offset + loud[0] * SHIFT_SAMPLES
                last = offset + (loud[-1] + 1) * SHIFT_SAMPLES
                edges = np.linspace(first, last, len(labels) + 1) / speed / OUTPUT_SAMPLES
                for label, start, end in zip(labels, edges, edges[1:], strict=False):
                    guess[round(start) : round(end)] = label
        offset += len(part)
    return guess


def with_weak_labels(work: Path) -> list[Utterance]:
    """The index, with the words that ``align`` found for recordings without a text."""
    path = work / "weak.json"
    weak = json.loads(path.read_text()) if path.exists() else {}
    labelled = [
        replace(u, words=tuple(weak[u.name])) if u.name in weak and not u.words else u
        for u in load_index(work)
    ]
    return labelled + (load_index(work, "cuts.jsonl") if (work / "cuts.jsonl").exists() else [])


class Mixer:
    """Draws examples from the training split.

    Args:
        work: Folder with index.jsonl and audio.i16.
        seed: Of the random generator.
        drop: Names of recordings that ``align`` refused.
        mixture: One of the MIXTURES; "short" also has noisier lines.
    """

    def __init__(
        self, work: Path, seed: int, drop: frozenset[str] = frozenset(), mixture: str = "all"
    ) -> None:
        self.weights, self.noisy = MIXTURES[mixture], mixture == "short"
        self.rng = np.random.default_rng(seed)
        self.audio = load_audio(work)
        pools: dict[str, list[Utterance]] = {}
        for utterance in with_weak_labels(work):
            if utterance.split != "train" or not utterance.words or utterance.name in drop:
                continue
            alone = utterance.name.startswith("synthetic/words-")
            pools.setdefault(ALONE if alone else utterance.source, []).append(utterance)
            if utterance.source == "speechocean762" and len(DIGIT_WORDS & {*utterance.words}) >= 1:
                pools.setdefault("digits", []).append(utterance)
        self.pools = pools
        self.by_word: dict[str, dict[str, list[Utterance]]] = {}
        for source in ANYONE & set(pools):
            spoken = self.by_word.setdefault(source, {})
            for utterance in pools[source]:
                spoken.setdefault(utterance.words[0], []).append(utterance)
        self.by_voice: dict[str, dict[str, list[Utterance]]] = {}
        for source in SHORT & set(pools):
            voices = self.by_voice.setdefault(source, {})
            for utterance in pools[source]:
                voices.setdefault(utterance.speaker, []).append(utterance)
        self.digits_by_voice = {
            speaker: digits
            for speaker, cuts in self.by_voice.get("cut", {}).items()
            if len(digits := [u for u in cuts if u.words[0] in DIGIT_WORDS]) > 1
        }
        self.rivals = RivalWords(self.rng)

    def waveform(self, utterance: Utterance) -> Floats:
        """The samples of one recording, float32 in int16 range."""
        end = utterance.offset + utterance.samples
        return np.asarray(self.audio[utterance.offset : end], dtype=np.float32)

    def _gap(self, shortest: int, longest: int) -> Floats:
        return np.zeros(int(self.rng.integers(shortest, longest)), np.float32)

    def _string(self, source: str) -> tuple[list[Floats], list[list[str]]]:
        """One voice says one to eight of its single words."""
        rng = self.rng
        voices = self.by_voice[source]
        if source == "cut" and self.digits_by_voice and rng.random() < 0.6:
            voices = self.digits_by_voice
        pool = voices[list(voices)[rng.integers(len(voices))]]
        longest, several = (4, 0.4) if source in ANYONE else (8, 0.65)
        count = int(rng.integers(1, longest + 1)) if rng.random() < several else 1
        parts: list[Floats] = []
        words: list[list[str]] = []
        close, tight = rng.random() < 0.5, rng.random() < 0.6
        for _ in range(count):
            if source in ANYONE:
                spoken = self.by_word[source]
                pool = spoken[list(spoken)[rng.integers(len(spoken))]]
            utterance = pool[rng.integers(len(pool))]
            sound = with_level(self.waveform(utterance), 1000.0 * rng.uniform(0.7, 1.4))
            gap = self._gap(0, 300) if close else self._gap(0, 2500)
            parts += [trimmed(sound) if tight else sound, gap]
            words += [list(utterance.words), []]
        return parts, words

    def draw(self, progress: float) -> Example:
        """One example; ``progress`` in 0..1 moves along the curriculum."""
        rng = self.rng
        sources = [s for s in self.weights if self.pools.get(s)]
        late = min(1.0, progress / 0.35)
        shares = np.array([self.weights[s][0] * (1 - late) + self.weights[s][1] * late for s in sources])
        if progress < FIRST_WORDS:
            shares *= [source in SHORT or source == "synthetic" for source in sources]
        while True:
            source = sources[rng.choice(len(sources), p=shares / shares.sum())]
            if source in SHORT:
                parts, words = self._string(source)
            else:
                pool = self.pools[source]
                utterance = pool[rng.integers(len(pool))]
                parts, words = [self.waveform(utterance)], [list(utterance.words)]
            parts = [self._gap(200, 4000), *parts, self._gap(200, 4000)]
            phones = [self.phones(w) for w in [[], *words, []]]
            speed = float(rng.uniform(0.8, 1.22) if source in SHORT else rng.uniform(0.86, 1.16))
            audio = resampled(np.concatenate(parts), speed)
            labels = [label for part in phones for label in part]
            if len(audio) > MAX_SAMPLES or (progress < FIRST_WORDS and len(labels) > 30):
                continue
            audio = audio + rng.standard_normal(len(audio)).astype(np.float32) * rng.uniform(0.2, 8)
            if rng.random() < 0.25 + progress / FIRST_WORDS:
                other = self.pools.get("librispeech_tc5")
                babble = self.waveform(other[rng.integers(len(other))]) if other else None
                audio = augment(audio, rng, babble, noisy=self.noisy)
            tempo = min(float(rng.uniform(0.82, 1.2)), 1.3 / speed) if rng.random() < 0.6 else 1.0
            features = masked_features(audio, rng, tempo)
            outputs = (len(features) + SUBSAMPLING - 1) // SUBSAMPLING
            if outputs > needed_outputs(labels):
                guess = spread(parts, phones, speed * tempo, outputs)
                said = [word for part in words for word in part]
                rivals = self.rivals.draw(said, outputs)
                return Example(features, labels, guess, rivals)

    def phones(self, words: list[str]) -> list[int]:
        """Labels of the words, with a pronunciation drawn for each."""
        labels: list[int] = []
        for word in words:
            forms = lexicon()[word]
            labels += [PHONE_INDEX[p] for p in forms[self.rng.integers(len(forms))]]
        return labels

    def group(self, progress: float) -> list[Example]:
        """GROUP examples sorted by length, so that batches need little padding."""
        examples = [self.draw(progress) for _ in range(GROUP)]
        return sorted(examples, key=lambda e: len(e.features))


def _produce(mixing: tuple[Path, int, frozenset[str], str], queue: Any, progress: Any) -> None:
    mixer = Mixer(*mixing)
    while True:
        queue.put(mixer.group(progress.value))


class Producer:
    """Feature processes feeding one bounded queue."""

    def __init__(
        self, work: Path, seed: int, drop: frozenset[str], processes: int, mixture: str = "all"
    ) -> None:
        context = mp.get_context("fork")
        self.progress = context.Value("d", 0.0)
        self.queue: mp.Queue[list[Example]] = context.Queue(4)
        self.workers = [
            context.Process(
                target=_produce,
                args=((work, seed + k, drop, mixture), self.queue, self.progress),
                daemon=True,
            )
            for k in range(processes)
        ]
        for worker in self.workers:
            worker.start()

    def next_group(self) -> list[Example]:
        """Wait for the next sorted group."""
        return self.queue.get()

    def stop(self) -> None:
        """End the feature processes."""
        for worker in self.workers:
            worker.terminate()
