"""The second look at an interruption, with the real recogniser and canceller, on virtual time (targets 4, 5).

    python -m tests.bench.interruptions --data FOLDER [--calls 60] [--split test] [--processes 2] [--plots]

The bot says two sentences and asks a question; in the middle of the statement the caller does one thing:

    interrupt    says "stop" or "no"                        honoured: the prompt is cut within 1.5 s
    insist       says it, and 1.2 s later once more         honoured: cut within 1.5 s after it began the second time
    talk         says a whole sentence over the bot         honoured: the same
    backchannel  says "right" or "yes"                      right: the bot goes on (or never paused)
    hum          says "mm-hmm" (synthetic)                  right: the same
    burst        a burst like a cough (synthetic)           right: the same
    tones        a key's tones in the audio (no RFC 4733)   right: the same
    babble       six voices far away, for three seconds     right: the same
    nothing      only our own echo                          right: the same

Half of the lines have an echo (hybrid, 12 to 24 dB). Voices are human. `--split test` takes speakers whom neither the
recogniser nor any threshold has heard, `dev` those that thresholds were chosen with, `train` those whom the
recogniser was trained with. There are few of them, so they are heard at several moments and on several lines: n counts
calls, the note counts voices.

What `voicebot/turn/models/interjection.npz` hears of a voice that it was trained on says nothing: `--held-out FOLDER` asks,
for the words of each caller, the network of `python -m training.interjection --folds 4 --held-out FOLDER` that never heard
him. With `--deaf` the recogniser understands nothing, so that what the sound alone decides is seen.

A whole run takes long: `--first 100 --calls 100 --keep FILE` plays calls 100 to 199 of each kind and counts what an
earlier run has kept in the file too.
"""

import argparse
import datetime as dt
import io
import json
import multiprocessing
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from sip_test_harness.asr_corpus import Clip, Corpus, archive_files
from sip_test_harness.echo_simulator import EchoLine, EchoSimulator
from tests.bench.confidence import wilson
from tests.bench.echo import at_level
from tests.bench.rows import machine, percentile, row, write
from training.splits import fold_of, split_of
from voicebot.asr.vosk_recogniser import VoskFactory
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.audio.level import rms_dbov
from voicebot.config.settings import BudgetSettings, TtsSettings, TurnSettings
from voicebot.dialogue import CallFacts, Conversation, load_dialplan
from voicebot.dialogue.manner import PLAIN
from voicebot.link.messages import Clear, Pause, Start, Unpause
from voicebot.tts.build import build_renderer
from voicebot.turn import interjection
from voicebot.turn.interjection import Interjection
from voicebot.turn.voice_activity import VoiceActivity
from voicebot.turn.voice_history import VoiceHistory
from voicebot.turn.voicing import LOOKED_AT_SAMPLES, cut, periods, power_of
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import ToEdge
from voicebot.worker.hearing import InlineEars
from voicebot.worker.speaking import spoken
from voicebot.worker.virtual_call import VirtualCall, VirtualEngines

TICK = 160
IMAGE = Path("docs/images/turn-resume.svg")
NEAR_IMAGE = Path("docs/images/turn-near.svg")
VOICING_IMAGE = Path("docs/images/turn-voicing.svg")
KINDS = ("interrupt", "insist", "talk", "backchannel", "hum", "burst", "tones", "babble", "nothing")
HONOURED = ("interrupt", "insist", "talk")
WORDS = {"interrupt": ("stop", "no"), "insist": ("stop", "no"), "backchannel": ("right", "yes")}
VOICE_LIKENESS = 0.5
RUMBLE_BINS = 26  # 200 Hz
WITHIN_MS = 1500
INSISTS_AFTER = 800 * 8  # with the quiet around the recordings 1.2 s
AFTER_MS = 2600
LEVEL_DBOV = -24.0
AUDIBLE_DBOV = -42.0
AROUND = 10  # blocks of 20 ms of a recording that are kept before the voice and after the last sound
PLAN = """
version: 1
name: interruptions
locale: en-GB
timezone: Europe/London
routes: [ { match: { to: "*" }, flow: main } ]
flows:
  main:
    - say: "Your parcel left our warehouse on Tuesday morning, and it is on its way to the address on the order. The
        driver will send you a message one hour before the delivery, and will wait at the door for two minutes."
    - menu:
        ask: "Would you like to change the address, choose another day, or speak to a colleague?"
        choices:
          - { intent: address, examples: ["change the address", "the address", "another address"], goto: done }
          - { intent: day, examples: ["another day", "choose another day", "a different day"], goto: done }
          - { intent: colleague, examples: ["a colleague", "speak to a colleague", "agent"], goto: done }
  done:
    - say: "All right."
    - hangup: done
"""
FACTS = CallFacts(session_id="s1", called="bench", now=dt.datetime(2026, 11, 20, 10, tzinfo=dt.UTC))


@dataclass(frozen=True)
class Case:
    """One call."""

    kind: str
    sound: np.ndarray
    word: str
    name: str
    at_ms: int
    line: EchoLine
    lead_ms: int = 0
    """So much of the sound, a breath or the s of "stop", comes before the voice, which is at ``at_ms``."""
    within_ms: int = WITHIN_MS
    """What is to be honoured is honoured so soon."""


@dataclass(frozen=True)
class Seen:
    """What became of it, ms after the caller began; None where it did not happen."""

    kind: str
    name: str
    word: str
    echo: bool
    paused_ms: float | None
    resumed_ms: float | None
    cut_ms: float | None
    within_ms: int = WITHIN_MS

    @property
    def right(self) -> bool:
        """Whether the bot did what the caller wanted."""
        cut = self.cut_ms is not None and self.cut_ms <= self.within_ms
        return cut if self.kind in HONOURED else self.cut_ms is None


class Caller:
    """Hears the bot through an echo path and does its one thing at its time."""

    def __init__(self, case: Case) -> None:
        self._far_end = EchoSimulator(case.line)
        self._sound = np.concatenate((case.sound, np.zeros(-case.sound.size % TICK, np.int16)))
        self._at = case.at_ms * 8
        self._lead = case.lead_ms * 8
        self._began: int | None = None
        self.onset_ms: float | None = None

    def tick(self, now_ms: int, heard: bytes, *, heard_silence: bool) -> bytes | None:
        if self._began is None and not heard_silence:
            self._began = now_ms * 8
            self.onset_ms = now_ms + self._at / 8
        said = np.zeros(TICK, np.int16)
        if self._began is not None:
            start = now_ms * 8 - self._began - self._at + self._lead
            if start >= self._sound.size + AFTER_MS * 8:
                return None
            if 0 <= start < self._sound.size:
                said = self._sound[start : start + TICK]
        return encode_ulaw(self._far_end.tick(decode_ulaw(heard), said))


class Deaf:
    """A recogniser that never understands anything."""

    def accept(self, _payload: bytes) -> str | None:
        return None

    def finish(self) -> tuple[str, float]:
        return "", 0.0


@lru_cache
def engines(*, deaf: bool = False) -> VirtualEngines:
    """The shipped recogniser and voice."""
    renderer = build_renderer(TtsSettings(), clock=lambda: 0.0)
    plan = load_dialplan(PLAN)
    delivery = plan.delivery(PLAIN, plan.locale)
    ears = InlineEars(VoskFactory(None))
    recognise = (lambda _expectation: Deaf()) if deaf else ears.recognise
    audio = lru_cache(lambda text: spoken(renderer, text, delivery, plan.lexicon))
    return VirtualEngines(
        recognise=recognise,
        synthesise=lambda text, _delivery: audio(text),
        asr_final_ms=5,
        synthesis_ms=10,
    )


@lru_cache
def networks(folder: Path) -> list[Interjection]:
    """Those of a cross-validation, by the part of the voices that they were not trained on."""
    count = len(list(folder.glob("interjection-*-of-*.npz")))
    found = []
    for number in range(count):
        with np.load(folder / f"interjection-{number}-of-{count}.npz", allow_pickle=False) as arrays:
            found.append(Interjection({n: arrays[n].astype(np.float32) for n in arrays.files}))
    return found


def play(
    case: Case, settings: TurnSettings | None = None, *, held_out: Path | None = None, deaf: bool = False
) -> Seen:
    """One call."""
    if held_out:
        unheard = networks(held_out)
        stranger = unheard[fold_of(case.name, len(unheard))]
        interjection.packaged = lambda: stranger  # the listener of this call takes it
    caller = Caller(case)
    plan = load_dialplan(PLAN)
    core = CallCore(
        settings or TurnSettings(),
        BudgetSettings(),
        VoiceActivity(),
        lambda _start: Conversation(plan, FACTS),
    )
    record = VirtualCall(core, engines(deaf=deaf), caller).run(
        Start(call_id="c1", session_id="s1", called="bench", edge_monotonic_us=1), limit_ms=20_000
    )
    onset_ms = caller.onset_ms
    assert onset_ms is not None
    first: dict[type, float] = {}
    for at_ms, effect in record.effects:
        # What comes before the caller began is our own echo's doing; it counts where nothing is said.
        if isinstance(effect, ToEdge) and (at_ms >= onset_ms - case.lead_ms or case.kind == "nothing"):
            first.setdefault(type(effect.message), at_ms - onset_ms)
    return Seen(
        case.kind,
        case.name,
        case.word,
        case.line.kind != "none",
        first.get(Pause),
        first.get(Unpause),
        first.get(Clear),
        case.within_ms,
    )


def voice_at(audio: np.ndarray) -> int:
    """The block of 20 ms in which a person begins to speak.

    Recordings begin with breath, clicks, rumble and rustling, up to 1.3 s of it. The voice begins with the sound,
    at most 200 ms long, that leads to the first 60 ms in a row that have a period above 200 Hz and are no more than
    10 dB below the whole.
    """
    power = power_of(cut(np.append(audio, np.zeros(TICK)).astype(np.float32)))
    power[:, :RUMBLE_BINS] = 0.0
    likeness, _, _ = periods(power)
    levels = [rms_dbov(audio[k : k + TICK]) for k in range(0, audio.size - TICK + 1, TICK)]
    loud = [level > AUDIBLE_DBOV for level in levels]
    voiced = [
        level > LEVEL_DBOV - 10 and like > VOICE_LIKENESS
        for level, like in zip(levels, likeness[: len(levels)], strict=True)
    ]
    runs = [k for k in range(len(voiced) - 2) if all(voiced[k : k + 3])]
    first = runs[0] if runs else loud.index(True)
    earliest = max(0, first - AROUND)
    while first > earliest and loud[first - 1]:
        first -= 1
    return first


def whole(audio: np.ndarray) -> tuple[np.ndarray, int]:
    """A recording with 200 ms before and after what is heard in it, and where in it, in ms, the voice begins.

    What is too quiet to be heard alone belongs to a word: "stop" has an s.
    """
    blocks = audio.size // TICK
    loud = [k for k in range(blocks) if rms_dbov(audio[k * TICK : (k + 1) * TICK]) > AUDIBLE_DBOV]
    voice = voice_at(audio)
    first, last = max(0, voice - AROUND), min(blocks, loud[-1] + 1 + AROUND)
    return audio[first * TICK : last * TICK], (voice - first) * 20


def sentences(data: Path, split: str) -> Iterator[Clip]:
    """Whole sentences of other people, 1.5 s and more."""

    def wanted(path: Path) -> bool:
        return path.suffix == ".ogg" and split_of("commonvoice_en", path.as_posix()) == split

    for path, content in archive_files(data, "commonvoice_en", wanted):
        audio = at_level(soundfile.read(io.BytesIO(content), dtype="int16")[0], LEVEL_DBOV)
        if whole(audio)[0].size >= 1.5 * 8000:
            yield Clip(audio, "", path.stem)


def burst(seed: int) -> np.ndarray:
    """Noise through a broad resonance that dies away in 150 to 350 ms, once or twice: like a cough, made here."""
    pick = np.random.default_rng(seed)
    parts = []
    for _ in range(int(pick.integers(1, 3))):
        length = int(pick.integers(1200, 2800))
        noise = pick.normal(0, 1, length)
        shaped = noise + 0.8 * np.concatenate((np.zeros(6), noise[:-6])) - 0.3 * np.roll(noise, 3)
        parts += [
            shaped * np.exp(-np.arange(length) / (length / 4)),
            np.zeros(int(pick.integers(800, 2400))),
        ]
    samples = np.concatenate(parts)
    return np.rint(samples / np.abs(samples).max() * 9000).astype(np.int16)


def hum(seed: int) -> np.ndarray:
    """Like "mm-hmm": two humps of a pulse train through the resonances of a closed mouth, made here."""
    pick = np.random.default_rng(seed)
    pitch_hz = pick.uniform(95, 230)
    resonances = (
        (pick.uniform(220, 320), 80, 0),
        (pick.uniform(900, 1200), 180, -22),
        (pick.uniform(1900, 2400), 250, -28),
    )
    parts = []
    for rise in (pick.uniform(-0.1, 0.05), pick.uniform(0.1, 0.45)):
        length = int(pick.integers(1300, 2300))
        at = np.linspace(0, 1, length)
        pulses = np.diff(np.floor(np.cumsum(pitch_hz * (1 + rise * at)) / 8000), prepend=0)
        voice = np.zeros(length)
        for centre_hz, width_hz, gain_db in resonances:
            radius = np.exp(-np.pi * width_hz / 8000)
            poles = [1, -2 * radius * np.cos(2 * np.pi * centre_hz / 8000), radius**2]
            voice += 10 ** (gain_db / 20) * lfilter([1 - radius], poles, pulses)
        ramp = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 320)
        parts += [voice * ramp, np.zeros(int(pick.integers(400, 900)))]
    samples = np.concatenate(parts[:-1])
    return np.rint(samples / np.abs(samples).max() * 9000).astype(np.int16)


def tones(seed: int) -> np.ndarray:
    """One key of a telephone, 120 ms."""
    low, high = ((697, 1209), (770, 1336), (852, 1477), (941, 1336))[seed % 4]
    at_s = np.arange(960) / 8000
    return np.rint(4000 * (np.sin(2 * np.pi * low * at_s) + np.sin(2 * np.pi * high * at_s))).astype(
        np.int16
    )


def cases(data: Path, split: str, count: int, kinds: tuple[str, ...], first: int = 0) -> list[Case]:
    """So many calls of each kind, from a number on."""
    words = [
        Clip(at_level(c.audio, LEVEL_DBOV), c.text, c.speaker)
        for c in Corpus(data, split).words()
        if c.text in sum(WORDS.values(), ())
    ]
    talk = list(sentences(data, split))
    made = []
    for kind in kinds:
        for number in range(first, first + count):
            pick = random.Random(f"{kind}-{number}")
            clip, lead_ms = Clip(np.zeros(0, np.int16), "", f"{kind}-{number}"), 0
            if kind in WORDS:
                own = [c for c in words if c.text in WORDS[kind]]
                clip = own[number % len(own)]
            elif kind == "talk":
                clip = talk[number % len(talk)]
            elif kind == "hum":
                clip = Clip(at_level(hum(number), LEVEL_DBOV), "", clip.speaker)
            elif kind == "burst":
                clip = Clip(burst(number), "", clip.speaker)
            elif kind == "tones":
                clip = Clip(tones(number), "", clip.speaker)
            elif kind == "babble":
                voices = [
                    np.resize(whole(c.audio)[0], 24000).astype(float) for c in pick.sample(talk, 6)
                ]
                clip = Clip(at_level(np.rint(sum(voices) / 6).astype(np.int16), -42.0), "", clip.speaker)
            if kind in WORDS or kind == "talk":
                audio, lead_ms = whole(clip.audio)
                clip = Clip(audio[: 3 * 8000], clip.text, clip.speaker)
            within_ms = WITHIN_MS
            if kind == "insist":
                within_ms += (clip.audio.size + INSISTS_AFTER) // 8
                twice = np.concatenate((clip.audio, np.zeros(INSISTS_AFTER, np.int16), clip.audio))
                clip = Clip(twice, clip.text, clip.speaker)
            line = EchoLine(
                "hybrid" if number % 2 else "none",
                return_loss_db=pick.choice((12.0, 18.0, 24.0)),
                delay_ms=pick.choice((40, 150, 300)),
                noise_dbov=-60.0,
                seed=number,
            )
            made.append(
                Case(
                    kind,
                    clip.audio,
                    clip.text,
                    clip.speaker,
                    pick.randrange(2500, 6500, 20),
                    line,
                    lead_ms,
                    within_ms,
                )
            )
    return made


def rows(seen: list[Seen]) -> list[dict[str, object]]:
    """Figures by kind."""
    table = []
    limits = {"interrupt": 98, "insist": 98, "talk": 98, "backchannel": 95}
    for kind in dict.fromkeys(s.kind for s in seen):
        mine = [s for s in seen if s.kind == kind]
        right = sum(s.right for s in mine)
        low, high = wilson(right, len(mine))
        share = 100 * right / len(mine)
        paused = [s.paused_ms for s in mine if s.paused_ms is not None]
        name = "honoured" if kind in HONOURED else "not taken for an interruption"
        limit = limits.get(kind, 99.5)
        note = f"n={len(mine)} of {len({s.name for s in mine})} voices or sounds, 95 % CI {low:.1f}-{high:.1f}"
        table.append(
            row(
                f"{kind}: {name}",
                round(share, 1),
                "%",
                limit=f">= {limit:g}",
                ok=share >= limit,
                target="4" if kind in HONOURED else "5",
                note=note,
            )
        )
        table.append(row(f"{kind}: paused", round(100 * len(paused) / len(mine), 1), "%"))
        if kind in HONOURED:
            cut = [s.cut_ms for s in mine if s.cut_ms is not None]
            if cut and paused:
                after = f"cut p50 {percentile(cut, 0.5):.0f}, p95 {percentile(cut, 0.95):.0f} ms"
                table.append(
                    row(f"{kind}: paused after, p50", round(percentile(paused, 0.5)), "ms", note=after)
                )
    return table


def plot(seen: list[Seen], path: Path) -> None:
    """How long after a pause it was undone or the prompt was cut, and the two limits."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings = TurnSettings()
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharex=True, sharey=True)
    for axes, title in zip(panels, ("prompt cut", "prompt goes on"), strict=True):
        for kind in dict.fromkeys(s.kind for s in seen):
            paused = [s for s in seen if s.kind == kind and s.paused_ms is not None]
            ends = [s.cut_ms if title == "prompt cut" else s.resumed_ms for s in paused]
            took = sorted(
                end - (s.paused_ms or 0.0)
                for s, end in zip(paused, ends, strict=True)
                if end is not None
            )
            if took:
                shares = [100 * (n + 1) / len(paused) for n in range(len(took))]
                axes.step(took, shares, where="post", label=f"{kind}, {len(paused)} pauses")
        for name, style in (("barge_in_confirm_ms", "--"), ("barge_in_voice_ms", ":")):
            axes.axvline(getattr(settings, name), color="black", linestyle=style, label=f"turn.{name}")
        axes.set_title(title)
        axes.set_xlabel("after the pause, ms")
        axes.set_xlim(0, 2000)
        axes.legend(fontsize=7)
    panels[0].set_ylabel("of the pauses of this kind, %")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"plot: {path}")


def loudness(sounds: list[np.ndarray], shift_db: float) -> list[float]:
    """The loudest 100 ms of each, dBov, as the listener measures it."""
    found = []
    for sound in sounds:
        history, levels = VoiceHistory(), []
        louder = np.clip(sound * 10 ** (shift_db / 20), -32768, 32767)
        for at in range(0, louder.size - TICK + 1, TICK):
            history.add(np.rint(louder[at : at + TICK]).astype(np.int16))
            levels.append(history.loudness_dbov)
        found.append(max(levels))
    return sorted(found)


def plot_near(data: Path, split: str, path: Path) -> None:
    """How loud callers and others in the room are: where a voice begins to count."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    made = cases(data, split, 60, ("interrupt", "talk", "babble"))
    sounds = {
        kind: [c.sound for c in made if c.kind == kind] for kind in ("interrupt", "talk", "babble")
    }
    curves = [
        ("interrupt", 0.0, "words, active level -24 dBov"),
        ("talk", 0.0, "sentences, -24 dBov"),
        ("interrupt", -10.0, "words, -34 dBov"),
        ("talk", -10.0, "sentences, -34 dBov"),
        ("babble", 0.0, "six voices, -42 dBov"),
        ("babble", 6.0, "six voices, -36 dBov"),
    ]
    figure, axes = plt.subplots(figsize=(6.5, 3.8))
    for kind, shift_db, label in curves:
        levels = loudness(sounds[kind], shift_db)
        axes.step(
            levels, [100 * (n + 1) / len(levels) for n in range(len(levels))], where="post", label=label
        )
    default = TurnSettings().barge_in_near_dbov
    axes.axvline(default, color="black", linestyle="--", label="turn.barge_in_near_dbov")
    axes.set_xlabel("loudest 100 ms, dBov")
    axes.set_ylabel("at most so loud, %")
    axes.legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"plot: {path}")


def likeness_of(sound: np.ndarray, frames: int) -> float:
    """Up to which `barge_in_periodic` a sound has so many frames of a voice in some 220 ms of its first 400."""
    found = []
    for end in range(LOOKED_AT_SAMPLES, min(sound.size, LOOKED_AT_SAMPLES + 1440) + 1, TICK):
        likeness, _, _ = periods(power_of(cut(sound[end - LOOKED_AT_SAMPLES : end].astype(np.float32))))
        found.append(sorted(likeness)[-frames])
    return max(found)


def plot_voicing(data: Path, split: str, path: Path) -> None:
    """How periodic voices, bursts and tones are: what pauses the bot."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    made = cases(data, split, 60, ("interrupt", "backchannel", "talk", "burst", "tones"))
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.8), sharex=True, sharey=True)
    for frames, axes in enumerate(panels, 1):
        for kind in dict.fromkeys(c.kind for c in made):
            sounds = [c.sound[c.lead_ms * 8 :] for c in made if c.kind == kind]
            quiet = np.random.default_rng(1).normal(0, 20, 4000)
            found = sorted(
                likeness_of(np.concatenate((quiet[:1600], s + 0.0, quiet))[:3200], frames)
                for s in sounds
            )
            shares = [100 * (n + 1) / len(found) for n in range(len(found))]
            axes.step(found, shares, where="post", label=kind)
        axes.axvline(
            TurnSettings().barge_in_periodic,
            color="black",
            linestyle="--",
            label="turn.barge_in_periodic",
        )
        axes.set_title(f"barge_in_voiced_frames = {frames}", fontsize=9)
        axes.set_xlabel("likeness one period later")
    panels[0].set_ylabel("at most so periodic, %")
    panels[0].legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    print(f"plot: {path}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings' tar files")
    parser.add_argument("--calls", type=int, default=60, help="of each kind")
    parser.add_argument("--split", choices=["test", "dev", "train"], default="test")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--keep", type=Path, help="JSON of what was seen; grows from run to run")
    parser.add_argument("--held-out", type=Path, help="folder of networks that do not know the voices")
    parser.add_argument("--deaf", action="store_true", help="without a recogniser")
    parser.add_argument("--plots", action="store_true", help=f"draw {IMAGE}")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    kept = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else []
    seen = [Seen(**one) for one in kept]
    todo = cases(options.data, options.split, options.calls, tuple(options.kinds), options.first)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        one_call = partial(play, held_out=options.held_out, deaf=options.deaf)
        for one in pool.imap(one_call, todo, chunksize=4):
            seen.append(one)
            if options.keep:
                options.keep.write_text(json.dumps([asdict(s) for s in seen]))
    if options.plots:
        plot(seen, IMAGE)
        plot_near(options.data, "train", NEAR_IMAGE)
        plot_voicing(options.data, "train", VOICING_IMAGE)
    for wrong in [s for s in seen if not s.right][:60]:
        print("wrong:", wrong)
    table = [row("machine", machine(), ""), *rows(seen)]
    write("interruptions", table)
    return 0 if all(r["ok"] for r in table) else 1


if __name__ == "__main__":
    sys.exit(main())
