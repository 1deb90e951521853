"""Fits what the recogniser's confidence is worth, on development speakers, beside the model.

    python -m training.calibrate --data FOLDER [--model DIRECTORY]

A few minutes on one core. Reads the recordings of the development side only. Writes ``confidence.json``
into the model directory and two plots: before, and after as seen by speakers whom that fit had not heard
(five parts by speaker). To be run again whenever the model changes: the file names the model it is for.
"""

import argparse
import datetime as dt
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.optimize import minimize

from sip_test_harness.asr_condition import CONDITIONS, Line
from sip_test_harness.asr_corpus import DIGITS, Clip, Corpus, drawn, joined
from sip_test_harness.asr_report import reliability_chart
from sip_test_harness.asr_run import digits_said, meaning
from sip_test_harness.asr_score import calibration_error, edit_distance, reliability
from voicebot.asr.calibration import (
    ANY_KIND,
    FILE_NAME,
    STRING_OF,
    Calibration,
    Features,
    LogisticMap,
    features_of,
    features_of_each,
    model_fingerprint,
    raw_confidence,
    write_calibration,
)
from voicebot.asr.grammar import grammar_for
from voicebot.asr.transcribing import transcribe
from voicebot.asr.vosk_model import packaged_model
from voicebot.asr.vosk_recogniser import CALIBRATED_READINGS, FREE_KIND, VoskFactory
from voicebot.core.expectation import Expectation

LINES = ("phone", "phone", "loss 3 %", "noise 20 dB")
"""Mostly ordinary lines: a map made of bad ones would doubt good ones."""

INSIDE_FOR_ONE_OUTSIDE = 4
"""One answer of five says something outside the grammar. The maps hold for about that share: where more
callers say something else, the same sound is right less often."""

STRING_LENGTHS = range(2, 11)
TIMES = 3
"""Single digits are heard so often, through other lines: few of them are wrong."""

FOLDS = 5
LEAST_OF_EACH = 25
"""A kind has a map of its own from so many right and so many wrong answers on."""

RIDGE = 0.01
STRING_KINDS = frozenset({"digits"})
"""Kinds whose answers of several words are right when each word is."""

GROUPS = {
    "digits": ("digits",),
    "choice": ("choice", "menu"),
    "yes_no": ("yes_no",),
    FREE_KIND: (FREE_KIND,),
}
"""Which kinds share the map fitted on one of them."""


@dataclass(frozen=True)
class Question:
    """One recording, how it is asked for, what is right, and the line (None: the next one)."""

    kind: str
    clip: Clip
    grammar: list[str] | None
    expected: str
    line: int | None = None


@dataclass(frozen=True)
class Answer:
    """What came out: features of all words and of each; how right it was, 0 to 1."""

    kind: str
    speaker: str
    features: Features
    raw: float
    right: float
    each: tuple[Features, ...] = ()
    stranger: bool = False

    @property
    def is_string(self) -> bool:
        """Whether it is judged word by word."""
        return self.kind in STRING_KINDS and len(self.each) > 1


def questions(corpus: Corpus, count: int) -> Iterator[Question]:
    """All questions over the development recordings, at most ``count`` of a kind or little more."""
    chance = np.random.default_rng(11)
    own_digits = grammar_for(Expectation(kind="digits"))
    single, words = drawn(corpus.digits(), count // 6, 3), corpus.words()
    several = [clip for clip in words if clip.text in DIGITS]
    inside = [*single, *several, *drawn(corpus.spoken_digits(), count // 3, 5)]
    strangers = drawn([clip for clip in words if clip.text not in DIGITS], count, 7)
    outside = strangers[: len(inside) // INSIDE_FOR_ONE_OUTSIDE]
    singles = [*((clip, clip.text) for clip in inside), *((clip, "") for clip in outside)]
    for time in range(TIMES):
        for number, (clip, expected) in enumerate(singles):
            yield Question("digits", clip, own_digits, expected, number + time)
    for length in STRING_LENGTHS:
        for clip in joined(corpus.digits(), length, count // 18, length):
            yield Question("digits", clip, own_digits, clip.text)
    vocabulary = sorted({clip.text for clip in words})
    for clip in words:
        rest = [word for word in vocabulary if word != clip.text]
        for said in [True] * INSIDE_FOR_ONE_OUTSIDE + [False]:
            chosen = [str(word) for word in chance.choice(rest, 9, replace=False)]
            grammar = [*chosen, clip.text] if said else chosen
            yield Question("choice", clip, grammar, clip.text if said else "")
    answers = [clip for clip in words if meaning(clip.text)]
    others = drawn([clip for clip in words if not meaning(clip.text)], count, 9)
    for clip in [*answers, *others[: -(-len(answers) // INSIDE_FOR_ONE_OUTSIDE)]]:
        yield Question("yes_no", clip, grammar_for(Expectation(kind="yes_no")), meaning(clip.text))
    orders, sentences = corpus.orders()
    for clip in orders:
        yield Question("choice", clip, sentences, " ".join(clip.slots))
    for clip in drawn(corpus.sentences(), count // 8, 5):
        yield Question(FREE_KIND, clip, None, clip.text)


def rightness(question: Question, heard: str) -> float:
    """How right an answer is: 0 or 1; for free speech the share of the words."""
    if question.clip.slots:
        return float(all(f" {slot} " in f" {heard} " for slot in question.clip.slots))
    if question.kind == FREE_KIND:
        said = question.expected.split()
        return max(0.0, 1 - edit_distance(said, heard.split()) / max(1, len(said)))
    if question.kind == "yes_no":
        return float(bool(question.expected) and meaning(heard) == question.expected)
    if question.kind == "digits":
        return float(digits_said(heard) == digits_said(question.expected))
    return float(heard == question.expected)


def collect(factory: VoskFactory, asked: Sequence[Question]) -> list[Answer]:
    """Ask everything, each recording through one line; answers without a known word are left out."""
    babble = [question.clip.audio for question in asked[:40]]
    lines = [Line(CONDITIONS[name], babble) for name in LINES]
    found = []
    for number, question in enumerate(track(asked, description="listening")):
        line = lines[(number if question.line is None else question.line) % len(lines)]
        samples, lost = line.send(question.clip.audio)
        kind, grammar = question.kind, question.grammar
        heard = transcribe(factory, samples, grammar=grammar, kind=kind, lost=lost)
        features = features_of(heard.words, heard.margin)
        if features is not None and not _refused_by_length(question, heard.text):
            speaker = question.clip.speaker or hashlib.sha256(samples.tobytes()).hexdigest()
            right = rightness(question, heard.text)
            stranger = not question.expected
            each = tuple(features_of_each(heard.words, heard.margin))
            found.append(
                Answer(kind, speaker, features, raw_confidence(heard.words), right, each, stranger)
            )
    return found


def _refused_by_length(question: Question, heard: str) -> bool:
    """A string of a wrong length is asked for again anyhow: the slot states its length."""
    if question.kind not in STRING_KINDS or " " not in question.expected:
        return False
    return len(digits_said(heard)) != len(digits_said(question.expected))


def fit(answers: Sequence[Answer]) -> LogisticMap:
    """The map of greatest likelihood; doubt and haste may only lower the probability."""
    names = Features.__struct_fields__
    matrix = np.array([[1.0, *(getattr(a.features, n) for n in names)] for a in answers])
    right = np.array([a.right for a in answers])

    def loss(weights: NDArray[np.float64]) -> float:
        odds = matrix @ weights
        likelihood = np.logaddexp(0, odds) - right * odds
        return float(likelihood.mean() + RIDGE * (weights[1:] ** 2).mean())

    bounds = [(None, None), (0, None), (0, None), (None, None), (None, 0), (0, None)]
    best = minimize(loss, np.zeros(matrix.shape[1]), method="L-BFGS-B", bounds=bounds).x
    return LogisticMap(*(round(float(weight), 4) for weight in best))


def fit_strings(answers: Sequence[Answer]) -> LogisticMap:
    """The map for each word of strings: a string is right when each of its words is.

    An answer counts by one over the root of the number of its speaker's answers, half-way between one
    vote for a recording and one for a person: one person says most of the strings.
    """
    names = Features.__struct_fields__
    spoken = Counter(a.speaker for a in answers)
    votes = np.array([spoken[a.speaker] ** -0.5 for a in answers])
    votes /= votes.sum()
    matrix = np.array([[1.0, *(getattr(f, n) for n in names)] for a in answers for f in a.each])
    owner = np.repeat(np.arange(len(answers)), [len(a.each) for a in answers])
    right = np.array([a.right for a in answers])

    def loss(weights: NDArray[np.float64]) -> float:
        doubt = np.bincount(owner, np.logaddexp(0, -(matrix @ weights)), minlength=len(answers))
        doubt = np.maximum(doubt, 1e-9)
        likelihood = right * doubt - (1 - right) * np.log1p(-np.exp(-doubt))
        return float(votes @ likelihood + RIDGE * (weights[1:] ** 2).mean())

    bounds = [(None, None), (0, None), (0, None), (0, 0), (None, 0), (0, None)]
    start = np.array([1.0, 0.3, 0.3, 0.0, -0.3, 0.3])
    best = minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
    return LogisticMap(*(round(float(weight), 4) for weight in best))


def fit_kinds(answers: Sequence[Answer]) -> dict[str, LogisticMap]:
    """A map for each kind with enough answers, and one for all others."""
    with_grammar = [a for a in answers if a.kind != FREE_KIND and not a.is_string]
    maps = {ANY_KIND: fit(with_grammar)}
    for kind in STRING_KINDS:
        # Also the single digits of many who say no strings; strangers to the grammar say no strings.
        inside = [a for a in answers if a.kind == kind and a.each and not a.stranger]
        if any(a.is_string for a in inside):
            maps[STRING_OF + kind] = fit_strings(inside)
    for kind, sharing in GROUPS.items():
        own = [a for a in answers if a.kind == kind and not a.is_string]
        right = sum(a.right for a in own)
        if min(right, len(own) - right) >= LEAST_OF_EACH or (kind == FREE_KIND and own):
            maps |= dict.fromkeys(sharing, fit(own))
    return maps


def unseen(answers: Sequence[Answer]) -> list[float]:
    """Each answer's probability by maps fitted without its speaker's fifth (a string's: its own)."""

    def fold(index: int) -> int:
        # One person says most of the strings: without that voice nothing would be left to learn from.
        name = str(index) if answers[index].is_string else answers[index].speaker
        return int(hashlib.sha256(name.encode()).hexdigest(), 16) % FOLDS

    folds = [fold(index) for index in range(len(answers))]
    found = [0.0] * len(answers)
    for part in range(FOLDS):
        maps = fit_kinds([a for a, own in zip(answers, folds, strict=True) if own != part])
        for index, answer in enumerate(answers):
            if folds[index] == part:
                found[index] = probability(maps, answer)
    return found


def probability(maps: Mapping[str, LogisticMap], answer: Answer) -> float:
    """What `Calibration.confidence` would say."""
    if answer.is_string and STRING_OF + answer.kind in maps:
        each = maps[STRING_OF + answer.kind]
        return math.prod(each.probability(features) for features in answer.each)
    return (maps.get(answer.kind) or maps[ANY_KIND]).probability(answer.features)


def main() -> None:
    """Listen, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="tar files")
    parser.add_argument("--model", type=Path, default=packaged_model(), help="Vosk model directory")
    parser.add_argument("--count", type=int, default=300, help="recordings of a kind, about")
    parser.add_argument("--plot", type=Path, default=Path("docs/images/confidence.svg"))
    args = parser.parse_args()
    console = Console()
    (args.model / FILE_NAME).unlink(missing_ok=True)
    factory = VoskFactory(args.model, alternatives=CALIBRATED_READINGS, margin=True)
    asked = list(questions(Corpus(args.data, "dev"), args.count))
    console.print({kind or "any": n for kind, n in Counter(q.kind for q in asked).items()})
    answers = collect(factory, asked)
    maps = fit_kinds(answers)
    am = args.model / "am" / "final.mdl"
    day = dt.datetime.now(tz=dt.UTC).date().isoformat()
    made = f"training.calibrate, {len(answers)} answers of development speakers, {day}"
    fingerprint = model_fingerprint(am if am.is_file() else args.model / "final.mdl")
    write_calibration(args.model, Calibration(model=fingerprint, fitted=made, kinds=maps))
    report(console, answers, unseen(answers), args.plot)


def report(console: Console, answers: Sequence[Answer], after: Iterable[float], plot: Path) -> None:
    """Print and draw confidence against what was right, before and after, with a grammar only."""
    graded = [(a, p) for a, p in zip(answers, after, strict=True) if a.kind != FREE_KIND]
    lines = {
        "engine's own": reliability([(a.raw, bool(a.right)) for a, _ in graded]),
        "calibrated": reliability([(p, bool(a.right)) for a, p in graded]),
    }
    strings = reliability([(p, bool(a.right)) for a, p in graded if a.is_string])
    lines = {**lines, "strings": strings} if strings else lines
    for name, bins in lines.items():
        console.print(f"{name}: mean distance from the truth {calibration_error(bins):.3f}")
        for b in bins:
            console.print(f"  {b.confidence:.2f} sure: {b.right:.2f} right (n={b.answers})")
    plot.parent.mkdir(parents=True, exist_ok=True)
    title = f"Confidence, development speakers, n={len(graded)}"
    plot.write_text(reliability_chart(title, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
