"""Decoding graphs from transition-ids, without Kaldi's binaries: text that OpenFst's tools compile.

A phone prefix tree expanded to HMM arcs, in Kaldi's *reordered* form (the forward transition enters a
state, its self-loop follows):

    loop -> [phone_B -> phone_I* -> phone_E : word] -> word end -> loop       or by way of SIL

CTC has no transition probabilities, so arcs inside phones cost nothing. ``[unk]`` is any of some hundred
common words at the price of one cost, or a few phones of any kind with a cost for each: a word of the
grammar is believed when it explains the sound no worse than they do by more than that. For run-time
grammars Vosk composes HCLr.fst with a grammar of its own; Gr.fst is the language model of free speech.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from training.lexicon import PHONES, Pronunciation
from training.lm import Arc
from training.phone_set import FINAL_OF, SIL, PhoneSet

UNKNOWN = "[unk]"
UNKNOWN_PHONES = 5

MODEL_CONF = """--min-active=200
--max-active=3000
--beam=12.0
--lattice-beam=2.5
--acoustic-scale=1.0
--frame-subsampling-factor=3
--frames-per-chunk=9
--endpoint.silence-phones=1
--endpoint.rule1.min-trailing-silence=60
--endpoint.rule2.min-trailing-silence=3.0
--endpoint.rule3.min-trailing-silence=4.0
--endpoint.rule4.min-trailing-silence=5.0
--endpoint.rule5.min-utterance-length=60
"""
"""The bot decides itself when a turn ends; Vosk's endpointer only guards against endless turns."""


class Transducer:
    """States and arcs in the text form that ``fstcompile`` reads.

    OpenFst itself stays in processes of its own: its Python binding and torch in one process corrupted
    the heap at random.
    """

    def __init__(self, phones: PhoneSet) -> None:
        self.phones = phones
        self.states = 0
        self.arcs: list[tuple[int, int, int, int, float]] = []
        self.final: list[int] = []

    def state(self) -> int:
        """A new state; the first is where all paths begin."""
        self.states += 1
        return self.states - 1

    def arc(self, source: int, transition: int, word: int, cost: float, target: int) -> None:
        """From state to state, with a transition-id and a word, 0 for none."""
        self.arcs.append((source, target, transition, word, cost))

    def text(self) -> str:
        """One line for each arc and each final state; the first line begins at the first state."""
        ordered = sorted(self.arcs, key=lambda arc: arc[0] != 0)
        return "".join(
            [
                *(f"{source} {target} {i} {o} {cost!r}\n" for source, target, i, o, cost in ordered),
                *(f"{state}\n" for state in self.final),
            ]
        )

    def inner(self, source: int, phone: int, cost: float, target: int) -> None:
        """A word-internal phone: straight through, or with blanks after it."""
        t = self.phones.transition
        short, long, blank = self.state(), self.state(), self.state()
        self.arc(source, t(phone, 0, 2), 0, cost, short)
        self.arc(short, t(phone, 0, 0), 0, 0.0, short)
        self.arc(short, 0, 0, 0.0, target)
        self.arc(source, t(phone, 0, 1), 0, cost, long)
        self.arc(long, t(phone, 0, 0), 0, 0.0, long)
        self.arc(long, t(phone, 1, 2), 0, 0.0, blank)
        self.arc(blank, t(phone, 1, 1), 0, 0.0, blank)
        self.arc(blank, 0, 0, 0.0, target)

    def last(self, source: int, phone: int, word: int, cost: float, target: int) -> None:
        """A word-final phone; it carries the word's label."""
        t = self.phones.transition
        final = FINAL_OF[self.phones.phones[phone - 1].topology]
        inside = self.state()
        self.arc(source, t(phone, 0, final), word, cost, inside)
        self.arc(inside, t(phone, 0, 0), 0, 0.0, inside)
        self.arc(inside, 0, 0, 0.0, target)


def build_hcl(
    phones: PhoneSet,
    words: dict[str, Iterable[Pronunciation]],
    numbers: dict[str, int],
    *,
    unknown_cost: float,
    word_cost: float = 0.0,
    garbage: Iterable[Pronunciation] = (),
    garbage_cost: float = 0.0,
) -> Transducer:
    """The loop of all words.

    Args:
        phones: Transition-ids.
        words: Pronunciations of each word.
        numbers: Label of each word and of ``[unk]``.
        unknown_cost: Added for each phone of an ``[unk]``.
        word_cost: Added for each word: fewer insertions, more deletions.
        garbage: Pronunciations of common words that also stand for ``[unk]``.
        garbage_cost: Added for each of those.
    """
    b = Transducer(phones)
    start, loop, word_end, silence = b.state(), b.state(), b.state(), b.state()
    b.final += [loop, word_end]
    for source in (start, word_end):
        b.arc(source, 0, 0, 0.0, loop)
        b.arc(source, phones.transition(SIL, 0, 1), 0, 0.0, silence)
    b.arc(silence, phones.transition(SIL, 0, 0), 0, 0.0, silence)
    b.arc(silence, 0, 0, 0.0, loop)
    tree = _Tree(b, loop, 0.0)
    for word, forms in sorted(words.items()):
        for form in sorted(set(forms)):
            tree.add(form, numbers[word], word_cost, word_end)
    # A tree of its own, with its price at the root: the decoder prunes it early.
    tree = _Tree(b, loop, garbage_cost)
    for form in sorted(set(garbage)):
        if len(form) > 1:
            tree.add(form, numbers[UNKNOWN], 0.0, word_end)
    _add_unknown(b, loop, word_end, numbers[UNKNOWN], unknown_cost)
    return b


class _Tree:
    """Words that share their first phones share states."""

    def __init__(self, b: Transducer, root: int, entry_cost: float) -> None:
        self.b, self.entry_cost = b, entry_cost
        self.nodes: dict[tuple[str, ...], int] = {(): root}

    def _node(self, prefix: tuple[str, ...]) -> int:
        if prefix not in self.nodes:
            parent = self._node(prefix[:-1])
            self.nodes[prefix] = self.b.state()
            cost = self.entry_cost if len(prefix) == 1 else 0.0
            self.b.inner(parent, self.b.phones.ids[prefix[-1]], cost, self.nodes[prefix])
        return self.nodes[prefix]

    def add(self, form: Pronunciation, label: int, cost: float, word_end: int) -> None:
        """One pronunciation; ``label`` is on the first arc of its last phone."""
        if len(form) == 1:
            prefix: tuple[str, ...] = ()
            last = f"{form[0]}_S"
        else:
            prefix = (f"{form[0]}_B", *(f"{phone}_I" for phone in form[1:-1]))
            last = f"{form[-1]}_E"
        self.b.last(self._node(prefix), self.b.phones.ids[last], label, cost, word_end)


def _add_unknown(b: Transducer, loop: int, word_end: int, label: int, cost: float) -> None:
    """``[unk]``: two to UNKNOWN_PHONES phones of any kind.

    Longer unknown speech is several ``[unk]``, each of which pays for a word in the grammar. A loop
    without end would swallow whole digit strings: one word's price for all of them.
    """
    before = loop
    for length in range(1, UNKNOWN_PHONES):
        after = b.state()
        for phone in PHONES:
            place = "B" if length == 1 else "I"
            b.inner(before, b.phones.ids[f"{phone}_{place}"], cost, after)
            b.last(after, b.phones.ids[f"{phone}_E"], label, cost, word_end)
        before = after


def _tool(command: str) -> None:
    """Run OpenFst's tools; Debian's fstconvert knows the look-ahead type only when preloaded."""
    library = next(Path("/usr/lib").glob("*/libfstlookahead.so.*"), None)
    if library is None or not shutil.which("fstconvert"):
        raise SystemExit("needs the Debian packages libfst-tools and libfst22")
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], check=True, env=environment, capture_output=True
    )


def write_graph(
    folder: Path,
    phones: PhoneSet,
    words: dict[str, list[Pronunciation]],
    arcs: list[Arc],
    garbage: Iterable[Pronunciation] = (),
    **costs: float,
) -> None:
    """Write graph/: HCLr.fst, Gr.fst, words.txt, disambig_tid.int, phones/.

    Args:
        folder: The graph folder.
        phones: Transition-ids.
        words: The vocabulary with pronunciations, without ``[unk]``.
        arcs: The language model of free speech (`training.lm`).
        garbage: As `build_hcl`.
        **costs: As `build_hcl`.
    """
    (folder / "phones").mkdir(parents=True, exist_ok=True)
    numbers = {word: index + 1 for index, word in enumerate([*sorted(words), UNKNOWN])}
    text = build_hcl(phones, words, numbers, garbage=garbage, **costs).text()
    (folder / "HCL.tmp").write_text(text)
    _tool(
        f"cd '{folder}' && fstcompile HCL.tmp | fstarcsort --sort_type=olabel | "
        "fstconvert --fst_type=olabel_lookahead --save_relabel_opairs=relabel.tmp - HCLr.fst"
    )
    pairs = (line.split() for line in (folder / "relabel.tmp").read_text().splitlines())
    relabel = {int(old): int(new) for old, new in pairs}
    numbers = {word: relabel.get(number, number) for word, number in numbers.items()}
    assert len(set(numbers.values())) == len(numbers)
    ordered = sorted(numbers.items(), key=lambda item: item[1])
    lines = ["<eps> 0", *(f"{word} {number}" for word, number in ordered)]
    (folder / "words.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (folder / "G.tmp").open("w", encoding="utf-8") as grammar:
        for arc in arcs:
            if arc.target is None:
                grammar.write(f"{arc.source} {arc.cost:.4f}\n")
            else:
                label = numbers[arc.word] if arc.word else 0
                grammar.write(f"{arc.source} {arc.target} {label} {label} {arc.cost:.4f}\n")
    _tool(
        f"cd '{folder}' && fstcompile G.tmp | fstarcsort --sort_type=ilabel | "
        "fstconvert --fst_type=const - Gr.fst"
    )
    for name in ("HCL.tmp", "relabel.tmp", "G.tmp"):
        (folder / name).unlink()
    (folder / "disambig_tid.int").write_text(f"{phones.transition_count + 1}\n")
    _write_boundaries(folder, phones)


def write_fixed_graph(
    folder: Path, phones: PhoneSet, words: dict[str, list[Pronunciation]], **costs: float
) -> None:
    """Write graph/ with HCLG.fst, a loop of all words, as in models that take no run-time grammar.

    Args:
        folder: The graph folder.
        phones: Transition-ids.
        words: The vocabulary with pronunciations, without ``[unk]``.
        **costs: As `build_hcl`.
    """
    (folder / "phones").mkdir(parents=True, exist_ok=True)
    numbers = {word: index + 1 for index, word in enumerate([*sorted(words), UNKNOWN])}
    (folder / "HCLG.tmp").write_text(build_hcl(phones, words, numbers, **costs).text())
    _tool(f"cd '{folder}' && fstcompile HCLG.tmp | fstconvert --fst_type=const - HCLG.fst")
    (folder / "HCLG.tmp").unlink()
    lines = ["<eps> 0", *(f"{word} {number}" for word, number in numbers.items())]
    (folder / "words.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_boundaries(folder, phones)


def _write_boundaries(folder: Path, phones: PhoneSet) -> None:
    boundaries = (f"{n} {p.boundary}\n" for n, p in enumerate(phones.phones, start=1))
    (folder / "phones" / "word_boundary.int").write_text("".join(boundaries))


def write_check_graph(folder: Path, phones: PhoneSet) -> list[str]:
    """A graph in which every frame may be any output at no cost: reads the network out (`export`).

    Returns:
        The word that stands for each network output; a decode names one per frame.
    """
    (folder / "phones").mkdir(parents=True, exist_ok=True)
    b = Transducer(phones)
    start = b.state()
    b.final.append(start)
    names = ["blank", *PHONES]
    for output, name in enumerate(names):
        phone = SIL if output == 0 else phones.ids[f"{name}_S"]
        # No self-loop: one path per sequence of outputs, or the lattice would hold all its ties.
        b.arc(start, phones.transition(phone, 0, 1), output + 1, 0.0, start)
    (folder / "HCLG.tmp").write_text(b.text())
    _tool(f"cd '{folder}' && fstcompile HCLG.tmp HCLG.fst && rm HCLG.tmp")
    lines = ["<eps> 0", *(f"{name} {output + 1}" for output, name in enumerate(names))]
    (folder / "words.txt").write_text("\n".join(lines) + "\n")
    return names
