"""CTC units as Kaldi phones: position-dependent phones, their HMM topologies and transition-ids.

    SIL            st0 blank {loop, out}
    word-internal  st0 phone {loop, -> st1, out}   st1 blank {loop, out}
    word-final     st0 phone {loop, out}

A word-final phone has no trailing blank of its own: blanks after a word must be SIL, which is what
Kaldi's endpointing counts. All blanks share output 0 of the network.
"""

from dataclasses import dataclass

import numpy as np

from training.kaldi_binary import KaldiWriter
from training.lexicon import PHONES

SIL = 1
FINAL_OF = {"sil": 1, "last": 1, "inner": 2}
TOPOLOGIES: dict[str, list[list[tuple[int, float]]]] = {
    "sil": [[(0, 0.5), (1, 0.5)]],
    "last": [[(0, 0.5), (1, 0.5)]],
    "inner": [[(0, 1 / 3), (1, 1 / 3), (2, 1 / 3)], [(1, 0.5), (2, 0.5)]],
}
POSITIONS = (
    ("B", "inner", "begin"),
    ("E", "last", "end"),
    ("I", "inner", "internal"),
    ("S", "last", "singleton"),
)


@dataclass(frozen=True)
class Phone:
    """One position-dependent phone.

    Attributes:
        name: For example AH_B.
        output: Network output of its first state.
        topology: Key of TOPOLOGIES.
        boundary: Kaldi's word-boundary class.
    """

    name: str
    output: int
    topology: str
    boundary: str


class PhoneSet:
    """All phones with their transition-ids, numbered as Kaldi numbers them."""

    def __init__(self) -> None:
        self.phones = [Phone("SIL", 0, "sil", "nonword")]
        for index, name in enumerate(PHONES):
            for suffix, topology, boundary in POSITIONS:
                self.phones.append(Phone(f"{name}_{suffix}", index + 1, topology, boundary))
        self.ids = {phone.name: index + 1 for index, phone in enumerate(self.phones)}
        self.triples = sorted(
            (number, state, 0 if state == 1 else phone.output)
            for number, phone in enumerate(self.phones, start=1)
            for state in range(len(TOPOLOGIES[phone.topology]))
        )
        self._transitions: dict[tuple[int, int, int], int] = {}
        self.log_probabilities = [0.0]
        for number, state, _ in self.triples:
            for target, probability in TOPOLOGIES[self.phones[number - 1].topology][state]:
                self._transitions[number, state, target] = len(self.log_probabilities)
                self.log_probabilities.append(float(np.log(probability)))

    @property
    def transition_count(self) -> int:
        """The highest transition-id."""
        return len(self.log_probabilities) - 1

    def transition(self, phone: int, state: int, target: int) -> int:
        """The transition-id of an arc of a phone's HMM."""
        return self._transitions[phone, state, target]

    def write(self, out: KaldiWriter) -> None:
        """The <TransitionModel> of final.mdl."""
        order = list(TOPOLOGIES)
        out.token("<TransitionModel>")
        out.token("<Topology>")
        out.integers(range(1, len(self.phones) + 1))
        out.integers([-1] + [order.index(phone.topology) for phone in self.phones])
        out.integer(len(order))
        for name in order:
            states = TOPOLOGIES[name]
            out.integer(len(states) + 1)
            for pdf_class, arcs in enumerate(states):
                out.integer(pdf_class)
                out.integer(len(arcs))
                for target, probability in arcs:
                    out.integer(target)
                    out.single(probability)
            out.integer(-1)  # the final state: no output, no arcs
            out.integer(0)
        out.token("</Topology>")
        out.token("<Triples>")
        out.integer(len(self.triples))
        for triple in self.triples:
            for value in triple:
                out.integer(value)
        out.token("</Triples>")
        out.token("<LogProbs>")
        out.vector(self.log_probabilities)
        out.token("</LogProbs>")
        out.token("</TransitionModel>")
