"""All tests of a recogniser: sets of recordings through each condition.

digits         single digits                          strict digit grammar
strings of 4   joined from single digits              strict digit grammar
strings of 8   likewise
read digits    strings that people read at one go     the program's own grammar for digits
yes / no       "yes", "no", "right", by meaning       the program's own grammar for yes_no
commands       28 single words                        these words
orders         coffee orders, values of slots         the sentences that may be said
strangers      words that are no digits               the program's own grammar for digits
free           read sentences                         none
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sip_test_harness.asr_condition import Condition, Line, speech_end_ms
from sip_test_harness.asr_corpus import DIGITS, Clip, Corpus, drawn, joined
from sip_test_harness.asr_recogniser import Heard, RecogniserProgram
from sip_test_harness.asr_score import FalseAccepts, Score, edit_distance, false_accepts
from sip_test_harness.errors import UsageError


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COMMANDS: Final = _words(
    """bed bird cat dog down eight five four go happy house left nine no off on one right seven six
    stop three two up wow yes zero tree"""
)
YES: Final = frozenset(_words("yes yeah yep yup correct right sure okay ok true affirmative"))
NO: Final = frozenset(_words("no nope nah wrong never false negative not don't"))
FILLERS: Final = frozenset(_words("uh um please i the a it's is my and"))
REPEATS: Final = {"double": 2, "triple": 3}

STRANGERS: Final = "strangers"
SETS: Final = (
    "digits",
    "strings of 4",
    "strings of 8",
    "read digits",
    "yes / no",
    "commands",
    "orders",
    STRANGERS,
    "free",
)

_STRICT_DIGITS: Final = [*DIGITS, "oh", *(f"{a} {b}" for a in DIGITS for b in DIGITS)]
_SEED: Final = 7


@dataclass(frozen=True)
class ClipSet:
    """One set of recordings and how the recogniser is asked."""

    name: str
    clips: tuple[Clip, ...]
    kind: str
    grammar: tuple[str, ...] | None = None


@dataclass
class Measured:
    """What one program did: a score for each test and condition."""

    engine: str = ""
    scores: dict[str, dict[str, Score]] = field(default_factory=dict)
    strangers: dict[str, FalseAccepts] = field(default_factory=dict)

    def score(self, test: str, condition: str) -> Score | None:
        """One cell."""
        return self.scores.get(test, {}).get(condition)


def read_sets(corpus: Corpus, names: Sequence[str], limit: int) -> list[ClipSet]:
    """Read the recordings of some sets.

    Args:
        corpus: where they are.
        names: of `SETS`.
        limit: single digits at most; the other sets have as many or fewer, in proportion.

    Raises:
        UsageError: an unknown set, or no recordings at all.
    """
    for name in names:
        if name not in SETS:
            raise UsageError(f"unknown set {name!r}; known: {', '.join(SETS)}")
    digits = drawn(corpus.digits(), 10**6, _SEED)
    words = corpus.words() if {"yes / no", "commands", STRANGERS} & set(names) else []
    found = []
    for name in names:
        kind, grammar, clips = "digits", tuple(_STRICT_DIGITS), digits[:limit]
        if name == "strings of 4":
            clips = joined(digits, 4, max(4, limit // 4), 3)
        elif name == "strings of 8":
            clips = joined(digits, 8, max(4, limit // 8), 4)
        elif name == "read digits":
            clips = drawn(corpus.spoken_digits(), max(4, limit // 4), _SEED)
        elif name == "yes / no":
            kind, clips = "yes_no", [clip for clip in words if meaning(clip.text)]
        elif name == "commands":
            clips = drawn([clip for clip in words if clip.text in COMMANDS], limit, _SEED)
            kind, grammar = "choice", tuple(COMMANDS)
        elif name == "orders":
            orders, sentences = corpus.orders()
            kind, grammar, clips = "choice", tuple(sentences), drawn(orders, limit, _SEED)
        elif name == STRANGERS:
            clips = drawn([clip for clip in words if clip.text not in DIGITS], limit, _SEED)
            clips += drawn([clip for clip in words if clip.text in DIGITS], limit, _SEED)
            clips += digits[: limit // 2]
        elif name == "free":
            kind, clips = "free", drawn(corpus.sentences(), max(4, limit // 5), _SEED)
        own = name in {"read digits", "yes / no", STRANGERS, "free"}
        if clips:
            found.append(ClipSet(name, tuple(clips), kind, None if own else grammar))
    if not found:
        raise UsageError(f"no held-out recordings of {', '.join(names)} in {corpus.folder}")
    return found


def run(
    program: RecogniserProgram,
    tests: Sequence[ClipSet],
    conditions: Sequence[Condition],
    on_done: Callable[[str, str, Score], None] = lambda *_: None,
) -> Measured:
    """Ask the program for everything; the same clips and losses each time."""
    babble = [clip.audio for test in tests for clip in test.clips[:20]]
    measured = Measured(program.engine)
    for condition in conditions:
        for test in tests:
            score = Score()
            known: list[float] = []
            unknown: list[float] = []
            line = Line(condition, babble)
            for clip in test.clips:
                samples, lost = line.send(clip.audio)
                heard = program.hear(samples, kind=test.kind, grammar=test.grammar, lost=lost)
                if test.name == STRANGERS:
                    _stranger(clip, heard, score, known, unknown)
                else:
                    _count(test.name, clip, heard, score)
            if test.name == STRANGERS:
                measured.strangers[condition.name] = false_accepts(known, unknown)
            measured.scores.setdefault(test.name, {})[condition.name] = score
            on_done(test.name, condition.name, score)
    return measured


def digits_said(text: str) -> list[str]:
    """Return the digits of an answer: "oh" is zero, "double four" is four four, fillers are nothing."""
    found: list[str] = []
    repeat = 1
    for word in text.split():
        if word in REPEATS:
            repeat = REPEATS[word]
            continue
        if word not in FILLERS:
            found += ["zero" if word == "oh" else word] * repeat
        repeat = 1
    return found


def meaning(text: str) -> str:
    """Return "yes", "no", or "" for neither or both."""
    words = set(text.split())
    yes, no = bool(words & YES), bool(words & NO)
    return "" if yes == no else "yes" if yes else "no"


def _count(name: str, clip: Clip, heard: Heard, score: Score) -> None:
    end_ms = speech_end_ms(clip.audio)
    if clip.slots:
        text = f" {heard.text} "
        hits = sum(f" {value} " in text for value in clip.slots)
        score.slots += len(clip.slots)
        score.slots_found += hits
        score.add(heard, right=hits == len(clip.slots), speech_end_ms=end_ms)
    elif name == "yes / no":
        score.add(heard, right=meaning(heard.text) == meaning(clip.text), speech_end_ms=end_ms)
    else:
        digits = name in {"digits", "strings of 4", "strings of 8", "read digits"}
        said = digits_said(clip.text) if digits else clip.text.split()
        found = digits_said(heard.text) if digits else heard.text.split()
        score.add(
            heard,
            right=found == said,
            errors=edit_distance(said, found),
            words=len(said),
            group=clip.group,
            speech_end_ms=end_ms,
        )


def _stranger(clip: Clip, heard: Heard, score: Score, known: list[float], unknown: list[float]) -> None:
    found = digits_said(heard.text)
    confidence = heard.confidence if found else 0.0
    if clip.text in DIGITS:
        right = found == [clip.text]
        if right:
            known.append(confidence)
    else:
        right = not found
        unknown.append(confidence)
    score.add(heard, right=right)
