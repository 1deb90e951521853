"""Working ahead: how often the prepared answer is the one that is wanted, and how many are thrown away.

    python -m tests.bench.speculation --data FOLDER [--turns 60] [--split test] [--processes 2]

Whole calls on virtual time with the real recogniser, held-out speakers, no echo. Each call asks one question and
the caller answers it once:

    words     one of twelve words of a menu
    digits    four digits, with pauses of 40 to 400 ms

A hit is a turn whose text had been prepared when it was committed; waste is a launch that was not used.
"""

import argparse
import datetime as dt
import multiprocessing
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sip_test_harness.asr_corpus import Clip, Corpus
from tests.bench.confidence import wilson
from tests.bench.echo import at_level, trimmed
from tests.bench.rows import machine, row, write
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.audio.g711 import encode_ulaw
from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.dialogue import CallFacts, Conversation, load_dialplan
from voicebot.link.messages import Start
from voicebot.turn.voice_activity import VoiceActivity
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import TurnMeasured
from voicebot.worker.hearing import InlineEars
from voicebot.worker.virtual_call import VirtualCall, VirtualEngines

TICK = 160
WORDS = ("up", "down", "left", "right", "on", "off", "go", "house", "happy", "bird", "dog", "tree")
CHOICES = "\n".join(f'          - {{ intent: {w}_it, examples: ["{w}"], goto: done }}' for w in WORDS)
PLAN = f"""
version: 1
name: speculation
locale: en-GB
timezone: Europe/London
routes:
  - {{ match: {{ to: "words" }}, flow: words }}
  - {{ match: {{ to: "*" }}, flow: digits }}
slots:
  number: {{ type: digits, length: 4, ask: "The number?" }}
flows:
  words:
    - menu:
        ask: "Which one?"
        choices:
{CHOICES}
  digits:
    - collect: number
    - say: "Thank you."
    - hangup: done
  done:
    - say: "All right."
    - hangup: done
"""


@dataclass(frozen=True)
class Told:
    """One turn: what became of the work ahead, and how many launches it took."""

    kind: str
    speaker: str
    outcome: str
    launches: int


class Caller:
    """Answers half a second after the question, and hangs up 2.5 s after that."""

    def __init__(self, sound: np.ndarray) -> None:
        noise = np.random.default_rng(1).normal(0, 20, sound.size + 20_000)
        noise[: sound.size] += sound
        self._sound = np.clip(noise, -32768, 32767).astype(np.int16)
        self._asked = False
        self._silent_ms = 0
        self._at: int | None = None

    def tick(self, now_ms: int, heard: bytes, *, heard_silence: bool) -> bytes | None:
        del now_ms, heard
        self._asked |= not heard_silence
        self._silent_ms = self._silent_ms + 20 if heard_silence else 0
        if self._at is None:
            self._at = 0 if self._asked and self._silent_ms >= 500 else None
            return b"\xff" * TICK
        said = self._sound[self._at : self._at + TICK]
        self._at += TICK
        return encode_ulaw(said) if said.size == TICK else None


@lru_cache
def ears() -> InlineEars:
    """The packaged model."""
    return InlineEars(VoskFactory(None))


def play(kind: str, clip: Clip) -> Told:
    """One call."""
    facts = CallFacts(session_id="s1", called=kind, now=dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC))
    plan = load_dialplan(PLAN)
    core = CallCore(
        TurnSettings(),
        BudgetSettings(),
        VoiceActivity(),
        lambda _start: Conversation(plan, facts),
    )
    engines = VirtualEngines(
        recognise=ears().recognise,
        synthesise=lambda text, _delivery: b"\x20" * (160 * len(text)),
        asr_final_ms=5,
        synthesis_ms=10,
    )
    start = Start(call_id="c1", session_id="s1", called=kind, edge_monotonic_us=1)
    record = VirtualCall(core, engines, Caller(clip.audio)).run(start, limit_ms=20_000)
    turns = record.of(TurnMeasured)
    outcome = turns[0].speculation if turns else "unheard"
    return Told(kind, clip.speaker, outcome, core.speculation.launches)


def strings(clips: list[Clip], count: int) -> list[Clip]:
    """Four digits of one speaker each."""
    random = np.random.default_rng(7)
    speakers = sorted({c.speaker for c in clips})
    made = []
    for number in range(count):
        own = [c for c in clips if c.speaker == speakers[number % len(speakers)]]
        parts: list[np.ndarray] = []
        for pick in random.choice(len(own), 4, replace=False):
            parts += [
                trimmed(at_level(own[pick].audio, -22.0)),
                np.zeros(int(random.integers(320, 3200)), np.int16),
            ]
        made.append(Clip(np.concatenate(parts[:-1]), "", own[0].speaker))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings' tar files")
    parser.add_argument("--turns", type=int, default=60, help="of each kind, as far as there are any")
    parser.add_argument("--split", choices=["test", "dev"], default="test")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    corpus = Corpus(options.data, options.split)
    words = [
        Clip(at_level(c.audio, -22.0), c.text, c.speaker) for c in corpus.words() if c.text in WORDS
    ]
    todo = [("words", c) for c in words[: options.turns]]
    todo += [("digits", c) for c in strings(corpus.digits(), options.turns)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        told = pool.starmap(play, todo, chunksize=8)
    table = [row("machine", machine(), "")]
    for kind in ("words", "digits", "all"):
        mine = [t for t in told if kind in (t.kind, "all") and t.outcome != "unheard"]
        hits = sum(t.outcome == "hit" for t in mine)
        low, high = wilson(hits, len(mine))
        share = 100 * hits / max(1, len(mine))
        wasted = (sum(t.launches for t in mine) - hits) / max(1, len(mine))
        note = f"n={len(mine)}, 95 % CI {low:.0f}-{high:.0f}"
        table += [
            row(
                f"speculation hits, {kind}",
                round(share, 1),
                "%",
                limit=">= 60",
                ok=share >= 60,
                note=note,
            ),
            row(
                f"wasted launches a turn, {kind}", round(wasted, 2), "", limit="<= 0.7", ok=wasted <= 0.7
            ),
        ]
    write("speculation", table)
    return 0 if all(r["ok"] for r in table) else 1


if __name__ == "__main__":
    sys.exit(main())
