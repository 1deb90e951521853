"""Our own voice coming back: false pauses, missed interruptions and their delay, per kind of line (targets 4, 5).

Run: .venv/bin/python -m tests.bench.echo [--calls 160] [--first 0] [--processes 2] [--plots]

Each call plays two prompts of human speech over a simulated line (sip_test_harness.echo_simulator: hybrid or
speakerphone, 6 to 30 dB, 10 to 900 ms, delay steps, loss, noise) on virtual time. In half of the calls a
human caller of another voice speaks into one of the prompts. What is counted:

    false pause   a prompt in which the trigger fired without the caller having spoken (every prompt counts)
    missed        the caller spoke and the trigger did not fire within 1.2 s
    detection     first packet of the caller's speech (within 15.9 dB of its active level) to the trigger

Echo, loss and noise are simulated; nothing here was run over a real line. With --plots each threshold of the
trigger is moved while the others keep their defaults, on the same calls, and docs/images/turn-echo-*.svg are drawn.
"""

import argparse
import json
import math
import multiprocessing
import random
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sip_test_harness.echo_simulator import EchoLine, EchoSimulator
from tests.bench.concealment import CLIPS, load_clips
from tests.bench.confidence import wilson
from voicebot.audio import g711
from voicebot.audio.active_level import active_speech_level
from voicebot.audio.level import first_audible_sample, rms_dbov
from voicebot.config.echo_settings import EchoTriggerSettings
from voicebot.config.settings import TurnSettings
from voicebot.turn.echo_canceller import Aec3
from voicebot.turn.echo_path import EchoPath, EchoState
from voicebot.turn.echo_trigger import EchoTrigger
from voicebot.turn.voice_activity import VoiceActivity
from voicebot.turn.voice_history import VoiceHistory
from voicebot.turn.voicing import LOOKED_AT_SAMPLES, is_voice

RESULT = Path("var/bench/echo.json")
IMAGES = Path("docs/images")
TICK = 160
TICK_MS = 20
PROMPT_DBOV = -20.0
CALLER_DBOV = (-20.0, -26.0, -32.0)
PROMPT_MS = 6000
GAP_MS = 1000
SPEECH_MARGIN_DB = 15.9
LEAD_MS = 400
DETECT_WITHIN_MS = 1200
KINDS = ("hybrid", "speakerphone", "none")
SHIPPED: dict[str, float] = {
    **TurnSettings().echo_trigger.model_dump(),
    "no_echo_ms": TurnSettings().barge_in_ms,
}
# What --plots moves, and over what kind of line that matters.
SWEEPS: dict[str, tuple[str, tuple[float, ...]]] = {
    "unknown_odds": ("echo", (6, 10, 14, 17, 20, 22, 25, 30)),
    "unechoed_odds_per_s": ("echo", (0, 6, 12, 18, 24)),
    "echo_ms": ("echo", (40, 60, 80, 100, 140, 200)),
    "unexplained_share": ("echo", (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)),
    "echo_evidence": ("echo", (4.5, 5.5, 6.5, 8.0)),
    "likeness_ratio": ("echo", (12, 16, 20, 25)),
    "no_echo_ms": ("none", (40, 60, 80, 100, 140, 200)),
    "above_noise_db": ("none", (4, 6, 8, 10, 14)),
}
VARIANTS = tuple(
    (name, value, {**SHIPPED, name: value}) for name, (_, values) in SWEEPS.items() for value in values
)


@dataclass(frozen=True)
class Scenario:
    """One call: the line, and whether, when and how loud the caller speaks into a prompt."""

    line: EchoLine
    caller_dbov: float | None
    caller_prompt: int
    caller_at_ms: int

    @property
    def caller_over_echo_db(self) -> float:
        if self.caller_dbov is None or self.line.kind == "none":
            return math.inf
        return self.caller_dbov - (PROMPT_DBOV - self.line.return_loss_db)


@dataclass
class Outcome:
    """What happened in one call."""

    scenario: Scenario
    false_pauses: int
    prompts: int
    detection_ms: float | None
    cpu_s: float
    audio_s: float


def scenario(kind: str, seed: int, caller: bool) -> Scenario:
    """A seeded call on a line of this kind."""
    pick = random.Random(f"{kind}-{seed}")
    steps = ((pick.randrange(3000, 12000), pick.choice((-20, 20))),) if pick.random() < 0.4 else ()
    line = EchoLine(
        kind,
        return_loss_db=pick.choice((6.0, 12.0, 18.0, 24.0, 30.0)),
        delay_ms=pick.choice((10, 40, 150, 300, 600, 900)),
        delay_steps=steps,
        loss_rate=pick.choice((0.0, 0.0, 0.01, 0.03)),
        noise_dbov=pick.choice((-70.0, -60.0, -55.0)),
        seed=seed,
    )
    level_dbov = pick.choice(CALLER_DBOV)
    return Scenario(
        line,
        level_dbov if caller else None,
        pick.randrange(2),
        pick.choice((500, 800, 1500, 3000, 4000)),
    )


_CLIPS: list[np.ndarray] = []


def at_level(samples: np.ndarray, level_dbov: float) -> np.ndarray:
    """Int16 samples brought to an active speech level."""
    gain_db = level_dbov - active_speech_level(samples).level_dbov
    return np.clip(np.rint(samples * 10 ** (gain_db / 20)), -32768, 32767).astype(np.int16)


def trimmed(samples: np.ndarray) -> np.ndarray:
    """Without the quiet blocks at both ends."""
    levels = [rms_dbov(samples[k : k + TICK]) for k in range(0, samples.size - TICK + 1, TICK)]
    loud = [k for k, level in enumerate(levels) if level > -42]
    return samples[loud[0] * TICK : (loud[-1] + 1) * TICK]


def speech(given: Scenario) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]], int | None]:
    """What the bot sends and the caller says, where the prompts lie and the caller begins, all in samples."""
    if not _CLIPS:
        _CLIPS.extend(trimmed(at_level(clip, PROMPT_DBOV)) for clip in load_clips())
    pick = random.Random(f"speech-{given.line.kind}-{given.line.seed}")
    voices = pick.sample(range(len(_CLIPS)), 5)
    gap = np.zeros(GAP_MS * 8, np.int16)
    parts, prompts, position = [np.zeros(LEAD_MS * 8, np.int16)], [], LEAD_MS * 8
    for pair in (voices[0:2], voices[2:4]):
        pause = np.zeros(pick.randrange(100, 400) * 8, np.int16)
        sound = np.concatenate((_CLIPS[pair[0]], pause, _CLIPS[pair[1]]))[: PROMPT_MS * 8]
        sound = sound[: sound.size // TICK * TICK]
        parts += [sound, gap]
        prompts.append((position, position + sound.size))
        position += sound.size + gap.size
    sent = g711.decode_ulaw(g711.encode_ulaw(np.concatenate(parts)))
    caller = np.zeros_like(sent)
    if given.caller_dbov is None:
        return sent, caller, prompts, None
    onset = prompts[given.caller_prompt][0] + given.caller_at_ms * 8
    voice = at_level(_CLIPS[voices[4]][: 3 * 8000], given.caller_dbov)[: caller.size - onset]
    caller[onset : onset + voice.size] = voice
    # Speech begins where its level comes within 15.9 dB of the active speech level (ITU-T P.56), after the breath.
    return sent, caller, prompts, first_audible_sample(caller, given.caller_dbov - SPEECH_MARGIN_DB)


def play(given: Scenario) -> Outcome:
    """One call on virtual time, with the shipped thresholds."""
    return play_each(given, (SHIPPED,))[0]


def play_swept(given: Scenario) -> list[Outcome]:
    """The same with the shipped thresholds, then with each of `VARIANTS`."""
    return play_each(given, (SHIPPED, *(thresholds for _, _, thresholds in VARIANTS)))


def make_trigger(thresholds: dict[str, float]) -> EchoTrigger:
    """A trigger with these thresholds."""
    echo = {k: v for k, v in thresholds.items() if k != "no_echo_ms"}
    return EchoTrigger(EchoTriggerSettings(**echo), int(thresholds["no_echo_ms"]))


def play_each(given: Scenario, variants: Sequence[dict[str, float]]) -> list[Outcome]:
    """One call as triggers of several settings hear it; the first is the one whose CPU counts."""
    sent, caller, prompts, onset = speech(given)
    far_end = EchoSimulator(given.line)
    path, detector, history, settings = EchoPath(), VoiceActivity(), VoiceHistory(), TurnSettings()
    triggers = [make_trigger(thresholds) for thresholds in variants]
    fired: list[list[int]] = [[] for _ in triggers]
    cpu_s = 0.0
    for start in range(0, sent.size, TICK):
        block = slice(start, start + TICK)
        heard = far_end.tick(sent[block], caller[block])
        speaking = any(first <= start < last for first, last in prompts)
        before_s = time.thread_time()
        result = path.process(heard, sent[block], speaking)
        windows = detector.feed(heard)
        cancelled = result.echo_expected and result.state is EchoState.ECHO
        history.add(result.residual if cancelled else heard)
        triggered = [triggers[0].feed(result, windows)]
        if triggered[0]:
            triggered[0] = near_voice(history, settings, cancelled=cancelled)
        cpu_s += time.thread_time() - before_s
        triggered += [trigger.feed(result, windows) for trigger in triggers[1:]]
        voice = triggered[0] or (any(triggered) and near_voice(history, settings, cancelled=cancelled))
        for times, one in zip(fired, triggered, strict=True):
            if one and voice:
                times.append(start + TICK)
    return [
        Outcome(given, *judged(given, times, prompts, onset), cpu_s, sent.size / 8000) for times in fired
    ]


def near_voice(history: VoiceHistory, settings: TurnSettings, *, cancelled: bool) -> bool:
    """Whether the listener would let the trigger pause the bot."""
    latest = history.latest(LOOKED_AT_SAMPLES)
    return is_voice(latest, settings.barge_in_near_dbov, settings, cancelled=cancelled)


def judged(
    given: Scenario, fired: list[int], prompts: list[tuple[int, int]], onset: int | None
) -> tuple[int, int, float | None]:
    """False pauses, prompts that counted, and how long the caller's interruption took."""
    false_pauses, counted, detection_ms = 0, 0, None
    for index, (first, last) in enumerate(prompts):
        counted += 1
        end = last + GAP_MS * 8 - TICK
        if onset is not None and index == given.caller_prompt:
            false_pauses += any(first < at <= onset for at in fired)
            after = [at for at in fired if onset < at <= onset + DETECT_WITHIN_MS * 8]
            detection_ms = (after[0] - onset) / 8 if after else None
            break  # what comes after an interruption is another dialogue
        false_pauses += any(first < at <= end for at in fired)
    return false_pauses, counted, detection_ms


def plot(outcomes: list[list[Outcome]]) -> None:
    """False pauses, misses and delay over each threshold, the default marked."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    for name, (lines, values) in SWEEPS.items():
        found = []
        for index, (swept, _, _) in enumerate(VARIANTS, 1):
            if swept == name:
                mine = [
                    o[index]
                    for o in outcomes
                    if (o[0].scenario.line.kind == "none") == (lines == "none")
                ]
                found.append(summarise(mine, loud_enough=True))
        figure, axes = plt.subplots(figsize=(5.2, 3.4))
        for label, counts, colour in (
            ("false pauses, % of prompts", [(f.false_pauses, f.prompts) for f in found], "tab:red"),
            ("missed interruptions, %", [(f.missed, f.spoken) for f in found], "tab:orange"),
        ):
            bounds = [wilson(*c) for c in counts]
            axes.fill_between(
                values, [b[0] for b in bounds], [b[1] for b in bounds], alpha=0.15, color=colour
            )
            axes.plot(values, [100 * k / n for k, n in counts], "o-", color=colour, label=label)
        axes.axhline(2, color="grey", linestyle=":", linewidth=1)
        axes.axvline(SHIPPED[name], color="black", linestyle="--", label="default")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("%, 95 % interval")
        axes.set_xlabel(f"{name} (lines {'without' if lines == 'none' else 'with'} echo)")
        times = axes.twinx()
        times.plot(
            values,
            [np.median(f.detection_ms) for f in found],
            "-",
            color="tab:blue",
            label="detection p50, ms",
        )
        times.set_ylim(bottom=0)
        times.set_ylabel("ms")
        handles = [*axes.get_legend_handles_labels()[0], *times.get_legend_handles_labels()[0]]
        axes.legend(handles, [h.get_label() for h in handles], fontsize=7)
        axes.set_title(f"{found[0].prompts} prompts, {found[0].spoken} interruptions", fontsize=9)
        figure.tight_layout()
        IMAGES.mkdir(parents=True, exist_ok=True)
        figure.savefig(IMAGES / f"turn-echo-{name.replace('_', '-')}.svg", metadata={"Date": None})
        plt.close(figure)
        for value, part in zip(values, found, strict=True):
            print(part.row(f"{name} {value:g}"))


def echo_return_loss_enhancement_db(delay_ms: float, seed: int) -> float:
    """By how much AEC3 behind the bulk delay lowers the echo of the second prompt, dB."""
    given = Scenario(EchoLine("hybrid", 12.0, delay_ms, noise_dbov=-75.0, seed=seed), None, 0, 0)
    sent, _, prompts, _ = speech(given)
    far_end, path = EchoSimulator(given.line), EchoPath(make_canceller=Aec3)
    heard_power = residual_power = 0.0
    for start in range(0, sent.size, TICK):
        heard = far_end.tick(sent[start : start + TICK])
        speaking = any(first <= start < last for first, last in prompts)
        residual = path.process(heard, sent[start : start + TICK], speaking).residual
        if prompts[1][0] + 8000 < start < prompts[1][1]:
            heard_power += float(np.sum(heard.astype(float) ** 2))
            residual_power += float(np.sum(residual.astype(float) ** 2))
    return 10 * math.log10(heard_power / (residual_power + 1.0))


@dataclass(frozen=True)
class Summary:
    """Counts of a set of calls."""

    false_pauses: int
    prompts: int
    missed: int
    spoken: int
    detection_ms: np.ndarray

    def row(self, name: str) -> str:
        false_low, false_high = wilson(self.false_pauses, self.prompts)
        miss_low, miss_high = wilson(self.missed, self.spoken)
        p50, p95 = (
            np.percentile(self.detection_ms, (50, 95))
            if self.detection_ms.size
            else (math.nan, math.nan)
        )
        return (
            f"{name:34s} false {self.false_pauses:3d}/{self.prompts:<4d} [{false_low:4.1f}, {false_high:4.1f}] %   "
            f"missed {self.missed:3d}/{self.spoken:<4d} [{miss_low:4.1f}, {miss_high:4.1f}] %   p50 {p50:4.0f} p95 {p95:5.0f} ms"
        )


def summarise(outcomes: Iterable[Outcome], loud_enough: bool = False) -> Summary:
    """Count; `loud_enough` keeps only callers at least as loud as the echo among the interruptions."""
    outcomes = list(outcomes)
    spoken = [o for o in outcomes if o.scenario.caller_dbov is not None]
    if loud_enough:
        spoken = [o for o in spoken if o.scenario.caller_over_echo_db >= 0]
    return Summary(
        sum(o.false_pauses for o in outcomes),
        sum(o.prompts for o in outcomes),
        sum(o.detection_ms is None for o in spoken),
        len(spoken),
        np.array([o.detection_ms for o in spoken if o.detection_ms is not None]),
    )


def rows(outcomes: list[Outcome], erle: dict[int, float]) -> list[dict[str, object]]:
    """The rows of the bench file."""
    echo = summarise((o for o in outcomes if o.scenario.line.kind != "none"), loud_enough=True)
    clean = summarise(o for o in outcomes if o.scenario.line.kind == "none")
    cpu = 100 * sum(o.cpu_s for o in outcomes) / sum(o.audio_s for o in outcomes)
    table: list[dict[str, object]] = []

    def add(
        target: str, figure: str, value: float, unit: str, limit: float | None, note: str = ""
    ) -> None:
        passed = limit is None or value <= limit
        table.append(
            {
                "target": target,
                "figure": figure,
                "value": round(value, 2),
                "unit": unit,
                "limit": "" if limit is None else f"<= {limit:g}",
                "ok": passed,
                "note": note,
            }
        )

    for name, part in (("echo", echo), ("no echo", clean)):
        low, high = wilson(part.false_pauses, part.prompts)
        share = 100 * part.false_pauses / max(1, part.prompts)
        add(
            "5",
            f"false pause per prompt, {name}",
            share,
            "%",
            2.0,
            f"n={part.prompts}, 95 % CI {low:.1f}-{high:.1f}",
        )
        low, high = wilson(part.missed, part.spoken)
        share = 100 * part.missed / max(1, part.spoken)
        limit = 2.0 if name == "echo" else 1.0
        add(
            "4",
            f"missed interruption, {name}",
            share,
            "%",
            limit,
            f"n={part.spoken}, 95 % CI {low:.1f}-{high:.1f}",
        )
        if part.detection_ms.size:
            p50, p95 = np.percentile(part.detection_ms, (50, 95))
            add("4", f"detection p50, {name}", float(p50), "ms", None)
            add("4", f"detection p95, {name}", float(p95), "ms", 350.0 if name == "no echo" else None)
    add("", "CPU of echo path, voice activity and trigger", cpu, "% of a core", 3.0)
    for delay_ms, gain_db in erle.items():
        add("", f"AEC3 echo return loss enhancement at {delay_ms} ms", gain_db, "dB", None)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--calls", type=int, default=160, help="calls per kind of line, without and with a caller each"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="seed of the first call: others, other calls"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--plots", action="store_true", help="move each threshold, draw docs/images/*.svg"
    )
    arguments = parser.parse_args()
    assert CLIPS.is_dir()
    scenarios = [
        scenario(kind, seed, caller)
        for kind in KINDS
        for caller in (False, True)
        for seed in range(arguments.first, arguments.first + arguments.calls)
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        swept = pool.map(play_swept if arguments.plots else play, scenarios, chunksize=8)
    outcomes = [o[0] for o in swept] if arguments.plots else swept
    for kind in KINDS:
        mine = [o for o in outcomes if o.scenario.line.kind == kind]
        print(summarise(mine).row(kind))
        print(summarise(mine, loud_enough=True).row(f"{kind}, caller >= echo"))
        if kind == "none":
            continue
        for low_db, high_db in ((6, 12), (18, 30)):
            part = [o for o in mine if low_db <= o.scenario.line.return_loss_db <= high_db]
            print(summarise(part, loud_enough=True).row(f"  {low_db}-{high_db} dB"))
        for low_ms, high_ms in ((10, 150), (300, 900)):
            part = [o for o in mine if low_ms <= o.scenario.line.delay_ms <= high_ms]
            print(summarise(part, loud_enough=True).row(f"  {low_ms}-{high_ms} ms"))
    erle = {
        delay_ms: echo_return_loss_enhancement_db(delay_ms, delay_ms) for delay_ms in (60, 300, 600, 900)
    }
    if arguments.plots:
        plot(swept)
    table = rows(outcomes, erle)
    for row in table:
        print(
            f"{row['figure']}: {row['value']} {row['unit']} {row['limit']} {'' if row['ok'] else 'MISSED'} {row['note']}"
        )
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(table, indent=1))
    return 0 if all(row["ok"] for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
