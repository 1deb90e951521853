"""Closed answers with the real recogniser: response onset, and what working ahead is worth.

    python -m tests.bench.speculation --data FOLDER [--turns 60] [--split test] [--processes 2]

Whole calls on virtual time with the real recogniser, held-out speakers, no echo. Each call asks one question and
the caller answers it once:

    words     one of twelve words of a menu
    digits    four digits, with pauses of 40 to 400 ms

The onset goes from the last audible 20 ms of the recording to the first sound of the answer; at the wire the
packets add some 20 ms. A hit is a turn whose text had been prepared when it was committed; waste is a launch that
was not used.
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
from tests.bench.rows import at_most, machine, percentile, row, write
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.audio.g711 import encode_ulaw
from voicebot.audio.level import AUDIBLE_DBOV, rms_dbov
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
CHOICES = "\n".join(f'          - {{ intent: say_{w}, examples: ["{w}"], goto: done }}' for w in WORDS)
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
    """One turn: what became of the work ahead, how many launches it took, and when the answer was heard."""

    kind: str
    speaker: str
    outcome: str
    launches: int
    onset_ms: float | None
    right: bool


class Caller:
    """Answers half a second after the question, and hangs up 2.5 s after that."""

    def __init__(self, sound: np.ndarray) -> None:
        noise = np.random.default_rng(1).normal(0, 20, sound.size + 20_000)
        noise[: sound.size] += sound
        self._sound = np.clip(noise, -32768, 32767).astype(np.int16)
        self._asked = False
        self._silent_ms = 0
        self._at: int | None = None
        self._over_samples = last_audible(sound)
        self.onset_ms: float | None = None

    def tick(self, now_ms: int, heard: bytes, *, heard_silence: bool) -> bytes | None:
        del now_ms, heard
        self._asked |= not heard_silence
        self._silent_ms = self._silent_ms + 20 if heard_silence else 0
        if self._at is None:
            self._at = 0 if self._asked and self._silent_ms >= 500 else None
            return b"\xff" * TICK
        if self.onset_ms is None and not heard_silence and self._at:
            self.onset_ms = (self._at - self._over_samples) / 8
        said = self._sound[self._at : self._at + TICK]
        self._at += TICK
        return encode_ulaw(said) if said.size == TICK else None


def last_audible(sound: np.ndarray) -> int:
    """Where the last block of 20 ms ends that is above -45 dBov and not 30 dB below the loudest: not its noise."""
    levels = [rms_dbov(sound[at : at + TICK]) for at in range(0, sound.size - TICK + 1, TICK)]
    floor_dbov = max(AUDIBLE_DBOV, max(levels) - 30.0)
    return (max(n for n, level in enumerate(levels) if level > floor_dbov) + 1) * TICK


@lru_cache
def ears() -> InlineEars:
    """The packaged model."""
    return InlineEars(VoskFactory(None))


def play(kind: str, clip: Clip, settings: TurnSettings | None = None) -> Told:
    """One call."""
    facts = CallFacts(session_id="s1", called=kind, now=dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC))
    plan = load_dialplan(PLAN)
    core = CallCore(
        settings or TurnSettings(),
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
    caller = Caller(clip.audio)
    record = VirtualCall(core, engines, caller).run(start, limit_ms=20_000)
    turns = record.of(TurnMeasured)
    outcome = turns[0].speculation if turns else "unheard"
    right = bool(turns) and turns[0].text == clip.text
    return Told(kind, clip.speaker, outcome, core.speculation.launches, caller.onset_ms, right)


def strings(clips: list[Clip], count: int) -> list[Clip]:
    """Four digits of one speaker each."""
    random = np.random.default_rng(7)
    speakers = sorted({c.speaker for c in clips})
    made = []
    for number in range(count):
        own = [c for c in clips if c.speaker == speakers[number % len(speakers)]]
        parts: list[np.ndarray] = []
        texts = []
        for pick in random.choice(len(own), 4, replace=False):
            texts.append(own[pick].text)
            parts += [
                trimmed(at_level(own[pick].audio, -22.0)),
                np.zeros(int(random.integers(320, 3200)), np.int16),
            ]
        made.append(Clip(np.concatenate(parts[:-1]), " ".join(texts), own[0].speaker))
    return made


def onset_rows(kind: str, told: list[Told]) -> list[dict[str, object]]:
    """When the answer to what was understood at once was heard; the others are asked again or wait."""
    took = [t.onset_ms for t in told if t.right and t.onset_ms is not None]
    if not took:
        return []
    early = sum(t < 0 for t in took)
    note = f"n={len(took)} rightly heard of {len(told)}, {len({t.speaker for t in told})} speakers, {early} cut off"
    return [
        at_most(f"response onset p50, {kind}", percentile(took, 0.5), "ms", 300, target="2", note=note),
        at_most(f"response onset p95, {kind}", percentile(took, 0.95), "ms", 450, target="2"),
    ]


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
        table += onset_rows(kind, [t for t in told if kind in (t.kind, "all")])
    write("speculation", table)
    return 0 if all(r["ok"] for r in table) else 1


if __name__ == "__main__":
    sys.exit(main())
