"""When the caller's turn is taken to be over: time to the commit and cut-offs, on labelled pauses (targets 2, 3).

    python -m tests.bench.turn_ends --data FOLDER [--turns 300] [--split test] [--plots]

Human speech, on virtual time, through the line's coding, the voice activity detector and the endpointer.
A turn is labelled by its own sound: a pause is 100 ms or more that is 30 dB below the loudest, the end is
the last sound above that. A turn is cut off when it is committed before its end, whatever comes of it
later. What the recogniser would have heard is taken from the labels, a word 60 ms after its end, so that
the figures are those of the endpointer and not of one model.

    digits    strings of 4 and 8 digits by one speaker, pauses of 40 to 160 ms, between groups 250 to 900 ms
    words     one expected word
    orders    orders of drinks as people said them (open); the dialogue is taken to understand what was said
              before each pause, which is the worst case: every pause then gets the short hold
    sentences whole sentences, said by people who look for words in a language that is not theirs (open)
    reading   books read aloud, up to 8 s of them, with pauses wherever readers make them (open): its ends are pauses
              like the others, which nothing but time can tell apart

The price of each preset of `turn.preset` is printed side by side.
"""

import argparse
import io
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from sip_test_harness.asr_corpus import DIGITS, Clip, Corpus, archive_files
from tests.bench.confidence import wilson
from tests.bench.rows import machine, percentile, row, write
from training.pauses import PAUSE_MS, labels
from training.splits import turn_split
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.config.settings import TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.turn.completion import packaged
from voicebot.turn.endpointer import EndOfTurn, Endpointer
from voicebot.turn.voice_activity import WINDOW_SAMPLES, VoiceActivity

RATE_HZ = 8000
KEPT_SAMPLES = 24000
RECOGNISER_LAG_MS = 60  # measured: 40 ms p50 behind the end of speech
LEAD_MS, TAIL_MS = 500, 2500
NOISE_RMS = 32768 * 10 ** (-60 / 20)
PRESETS = ("balanced", "fast", "careful")
PANELS_IN_A_ROW = 4
IMAGE = Path("docs/images/turn-ends.svg")


@dataclass(frozen=True)
class Turn:
    """One turn of a caller; times in ms from its first sound."""

    speaker: str
    probabilities: np.ndarray
    pauses: list[tuple[int, int]]
    length_ms: int
    partials: list[tuple[int, str]]
    expectation: Expectation
    understood: bool = False
    line: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    judged: dict[tuple[int, int], float] = field(default_factory=dict)

    def finished(self, start_samples: int, now_samples: int) -> float:
        """What the network says of the turn so far; kept, as many settings are tried on the same turn."""
        asked = (start_samples, now_samples)
        if asked not in self.judged:
            heard = self.line[start_samples:now_samples][-KEPT_SAMPLES:]
            self.judged[asked] = packaged().probability(heard)
        return self.judged[asked]


def heard_turn(
    audio: np.ndarray,
    speaker: str,
    expectation: Expectation,
    words: list[tuple[int, str]],
    *,
    understood: bool = False,
) -> Turn:
    """A turn with what the detector hears of it; `words` are (end in samples, word)."""
    first, last, pauses = labels(audio)
    if understood:
        words = [(end, "part") for end in [a for a, _ in pauses] + [last]]
    noise = np.random.default_rng(last).normal(0, NOISE_RMS, (LEAD_MS + TAIL_MS) * 8 + last - first)
    noise[LEAD_MS * 8 : LEAD_MS * 8 + last - first] += audio[first:last]
    line = decode_ulaw(encode_ulaw(np.clip(np.rint(noise), -32768, 32767).astype(np.int16)))
    windows = VoiceActivity().feed(line)
    said = list(itertools.accumulate((word for _, word in words), lambda a, b: f"{a} {b}"))
    partials = [
        ((min(end, last) - first) // 8 + RECOGNISER_LAG_MS, text)
        for (end, _), text in zip(words, said, strict=True)
    ]
    inner = [((a - first) // 8, (b - first) // 8) for a, b in pauses]
    probabilities = np.array([w.probability for w in windows])
    length_ms = (last - first) // 8
    return Turn(speaker, probabilities, inner, length_ms, partials, expectation, understood, line)


def digit_turns(data: Path, split: str, count: int) -> Iterator[Turn]:
    """Strings by the split's speakers."""
    return digit_strings(Corpus(data, split).digits(), count)


def digit_strings(clips: list[Clip], count: int) -> Iterator[Turn]:
    """Strings of 4 and 8 with the pauses that people make between groups of digits."""
    speakers = sorted({c.speaker for c in clips})
    random = np.random.default_rng(4)
    for number in range(count):
        own = [c for c in clips if c.speaker == speakers[number % len(speakers)]]
        length = (4, 8)[number % 2]
        parts: list[np.ndarray] = []
        words, position = [], 0
        for index, pick in enumerate(random.choice(len(own), length, replace=False)):
            first, last, _ = labels(own[pick].audio)
            group = index > 0 and index % int(random.integers(2, 5)) == 0
            gap_ms = int(random.integers(250, 900)) if group else int(random.integers(40, 160))
            parts += [np.zeros(gap_ms * 8 if index else 0, np.int16), own[pick].audio[first:last]]
            position += sum(p.size for p in parts[-2:])
            words.append((position, own[pick].text))
        expectation = Expectation(
            kind="digits", phrases=tuple(DIGITS), min_digits=length, max_digits=length
        )
        yield heard_turn(np.concatenate(parts), own[0].speaker, expectation, words)


def word_turns(data: Path, split: str, count: int) -> Iterator[Turn]:
    """One word that is expected and complete."""
    clips = Corpus(data, split).words()
    words = sorted({c.text for c in clips})
    expectation = Expectation(kind="menu", phrases=tuple(words), complete=frozenset(words))
    for clip in clips[:count]:
        yield heard_turn(clip.audio, clip.speaker, expectation, [(clip.audio.size, clip.text)])


def order_turns(data: Path, split: str, count: int) -> Iterator[Turn]:
    """Orders of which nothing is known before they end."""
    splits = ("test",) if split == "test" else ("train", "dev")
    clips = [clip for s in splits for clip in Corpus(data, s).orders()[0]]
    for number, clip in enumerate(clips[:count]):
        yield heard_turn(clip.audio, f"order{number}", Expectation(kind="menu"), [], understood=True)


def sentence_turns(data: Path, split: str, count: int) -> Iterator[Turn]:
    """Whole sentences of speakers that the network was not trained on, each speaker's in a row."""
    made = 0
    kept = "test" if split == "test" else "dev"

    def wanted(path: Path) -> bool:
        return path.suffix == ".ogg" and turn_split("speechocean762", path) == kept

    for path, content in archive_files(data, "speechocean762", wanted):
        speaker = path.parts[1]
        if made < count:
            made += 1
            audio = soundfile.read(io.BytesIO(content), dtype="int16")[0]
            yield heard_turn(audio, speaker, Expectation(kind="free"), [])


def reading_turns(data: Path, split: str, count: int) -> Iterator[Turn]:
    """Sentences read aloud, cut at a pause after at most 8 s, of readers likewise."""
    made = 0
    kept = "test" if split == "test" else "dev"

    def wanted(path: Path) -> bool:
        return path.suffix == ".ogg" and turn_split("librispeech_tc5", path) == kept

    for path, content in archive_files(data, "librispeech_tc5", wanted):
        if made == count:
            break
        reader = path.parts[1]
        audio = soundfile.read(io.BytesIO(content), dtype="int16")[0]
        first, last, pauses = labels(audio)
        ends = [a for a, b in pauses if b - a >= 200 * 8 and 2 * RATE_HZ <= a - first <= 8 * RATE_HZ]
        end = last if last - first <= 8 * RATE_HZ else (ends[-1] if ends else 0)
        if end:
            made += 1
            yield heard_turn(audio[first:end], reader, Expectation(kind="free"), [])


STRATA: dict[str, Callable[[Path, str, int], Iterator[Turn]]] = {
    "digits": digit_turns,
    "words": word_turns,
    "orders": order_turns,
    "sentences": sentence_turns,
    "reading": reading_turns,
}
CLOSED = ("digits", "words")


@dataclass
class Tally:
    """What became of the turns of a stratum."""

    commits_ms: list[float]
    cut_off: int = 0
    unheard: int = 0

    @property
    def count(self) -> int:
        return len(self.commits_ms) + self.cut_off


def commit(turn: Turn, endpointer: Endpointer) -> tuple[float, bool] | None:
    """When the turn is committed, ms after its end, and whether that cuts it off."""
    endpointer.expect(turn.expectation)
    waiting = list(turn.partials)
    for index, probability in enumerate(turn.probabilities):
        end = (index + 1) * WINDOW_SAMPLES
        at_ms = end / 8 - LEAD_MS
        while waiting and waiting[0][0] <= at_ms:
            text = waiting.pop(0)[1]
            endpointer.partial(text)
            if turn.understood:
                endpointer.understood(text)
        event = endpointer.window(float(probability), end, WINDOW_SAMPLES)
        if isinstance(event, EndOfTurn):
            cut_off = any(begin <= at_ms and at_ms < turn.length_ms for begin, _ in turn.pauses)
            # Before the end and in no labelled pause: the detector lost the voice; it counts too.
            return at_ms - turn.length_ms, cut_off or at_ms < turn.length_ms - PAUSE_MS
    return None


def tally(turns: list[Turn], settings: TurnSettings) -> Tally:
    """Turn after turn, a speaker's own in a row: an endpointer lives as long as a call."""
    result = Tally([])
    calls: dict[str, Endpointer] = {}
    turn = turns[0]

    def finished(start_samples: int, now_samples: int) -> float:
        return turn.finished(start_samples, now_samples)

    for turn in turns:
        endpointer = calls.setdefault(turn.speaker, Endpointer(settings, finished))
        outcome = commit(turn, endpointer)
        endpointer.discard()
        if outcome is None:
            result.unheard += 1
        elif outcome[1]:
            result.cut_off += 1
        else:
            result.commits_ms.append(outcome[0])
    return result


def rows(name: str, done: Tally, preset: str) -> list[dict[str, object]]:
    """Figures of one stratum with one preset."""
    closed = name in CLOSED
    gate = preset == "balanced"
    low, high = wilson(done.cut_off, done.count)
    kind = "closed" if closed else "open"
    p50, p95 = percentile(done.commits_ms, 0.5), percentile(done.commits_ms, 0.95)
    limit = 2 if closed else 5
    share = 100 * done.cut_off / done.count
    made = [
        (f"commit p50, {name} ({kind}), {preset}", p50, "ms", 300 if closed else 550, "2"),
        (f"commit p95, {name} ({kind}), {preset}", p95, "ms", 450 if closed else 1200, "2"),
        (f"cut-offs, {name} ({kind}), {preset}", share, "%", limit, "3"),
    ]
    note = f"n={done.count}, 95 % CI {low:.1f}-{high:.1f}" + (
        f", {done.unheard} never heard" if done.unheard else ""
    )
    return [
        row(
            figure,
            round(value, 1),
            unit,
            limit=f"<= {limit}" if gate else "",
            ok=value <= limit or not gate,
            target=target if gate else "",
            note=note if unit == "%" else "",
        )
        for figure, value, unit, limit, target in made
    ]


def sweep(turns: list[Turn], setting: str, values: Sequence[float]) -> list[tuple[float, Tally]]:
    """The same turns with one setting moved."""
    base = TurnSettings()
    return [(v, tally(turns, base.model_copy(update={setting: v}))) for v in values]


def plot(strata: dict[str, list[Turn]], path: Path) -> None:
    """Cut-offs and commit times over the holds that matter, defaults marked."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = [
        ("digits", "hold_digits_ms", [100, 200, 300, 450, 600, 800, 1000, 1250, 1500, 2000]),
        ("words", "hold_complete_ms", [0, 40, 80, 120, 160, 200, 300]),
        ("words", "stable_partial_ms", [0, 40, 70, 100, 150, 200]),
        ("words", "min_onset_ms", [0, 60, 90, 120, 160, 200]),
        ("words", "speech_probability", [0.35, 0.4, 0.5, 0.6, 0.7, 0.8]),
        ("words", "speech_start_windows", [1, 2, 3, 4]),
        ("words", "silence_probability", [0.1, 0.2, 0.3, 0.35, 0.4, 0.5]),
        ("orders", "hold_understood_ms", [100, 200, 300, 400, 500, 600, 700, 800, 1000]),
        ("sentences", "hold_open_ms", [400, 500, 600, 700, 800, 1000]),
        ("sentences", "hold_finished_ms", [200, 250, 300, 350, 400, 450, 500, 600]),
        ("sentences", "finished_probability", [0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 1.0]),
        ("sentences", "hold_unfinished_ms", [600, 700, 800, 900, 1000, 1200]),
        ("sentences", "unfinished_probability", [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("sentences", "hold_open_max_ms", [600, 800, 1000, 1200, 1500]),
        ("sentences", "own_pause_margin", [1.0, 1.15, 1.3, 1.6, 2.0]),
        ("reading", "hold_open_ms", [450, 600, 750, 900, 1050, 1200]),
    ]
    panels = [p for p in panels if strata.get(p[0])]
    lines = -(-len(panels) // PANELS_IN_A_ROW)
    size = (4.2 * PANELS_IN_A_ROW, 3.4 * lines)
    figure, grid = plt.subplots(lines, PANELS_IN_A_ROW, figsize=size, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, setting, values) in zip(grid.flat, panels, strict=False):
        done = sweep(strata[name], setting, values)
        shares = [100 * t.cut_off / t.count for _, t in done]
        bounds = [wilson(t.cut_off, t.count) for _, t in done]
        axes.fill_between(
            values, [b[0] for b in bounds], [b[1] for b in bounds], alpha=0.2, color="tab:red"
        )
        axes.plot(values, shares, "o-", color="tab:red", label="cut off, %")
        axes.set_ylim(0, max(8.0, min(60.0, 1.05 * max(b[1] for b in bounds))))
        axes.set_xlabel(f"turn.{setting}")
        axes.set_ylabel("turns cut off, % (95 % interval)")
        axes.axhline(2 if name in CLOSED else 5, color="tab:red", linestyle=":")
        axes.axvline(getattr(TurnSettings(), setting), color="black", linestyle="--", label="default")
        times = axes.twinx()
        for share, style in ((0.5, "-"), (0.95, "--")):
            line = [percentile(t.commits_ms, share) if t.commits_ms else np.nan for _, t in done]
            times.plot(values, line, style, color="tab:blue", label=f"commit p{share * 100:.0f}, ms")
        times.set_ylabel("commit after the last sound, ms")
        times.set_ylim(bottom=0)
        axes.set_title(f"{name}, n={done[0][1].count}")
        handles = [*axes.get_legend_handles_labels()[0], *times.get_legend_handles_labels()[0]]
    figure.legend(handles, [h.get_label() for h in handles], loc="lower center", ncols=len(handles))
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"plot: {path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings' tar files")
    parser.add_argument(
        "--turns", type=int, default=300, help="of each stratum, as far as there are any"
    )
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--plots", action="store_true", help=f"draw {IMAGE}")
    options = parser.parse_args()
    strata = {
        name: list(make(options.data, options.split, options.turns)) for name, make in STRATA.items()
    }
    table = [row("machine", machine(), ""), row("speakers", options.split, "split")]
    for preset in PRESETS:
        settings = TurnSettings(preset=preset)
        for name, turns in strata.items():
            if turns:
                table += rows(name, tally(turns, settings), preset)
    write("turn_ends", table)
    if options.plots:
        plot(strata, IMAGE)
    return 0 if all(r["ok"] for r in table) else 1


if __name__ == "__main__":
    sys.exit(main())
