"""What a caller gets, measured at the wire: answer, greeting, pacing, response onset, barge-in, CPU.

    python -m tests.bench.wire [--quick] [--engine stub|real] [--only calls onset at-once barge-in echo]
        [--data FOLDER]

Real SIP and RTP on loopback between the bot (`voicebot serve`) and the independent harness. The stub
engines are fakes: a recogniser that knows the answer once the caller has said it, and a tone. A run in
which the harness itself sent late (p99 > 5 ms) is void and says so.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import soundfile

from sip_test_harness import Caller, CallerOptions, read_wav
from sip_test_harness.asr_corpus import Corpus
from sip_test_harness.errors import CallEndedError, WaitTimeoutError
from sip_test_harness.media import MediaOptions
from sip_test_harness.pacer import realtime_section
from sip_test_harness.voice import Voice
from tests.bench.echo import at_level
from tests.bench.rows import at_most, machine, percentile, row, write
from tests.bench.speculation import PLAN, WORDS, last_audible
from tests.loopback.bot_program import ROOT, running_bot
from voicebot.config.settings import TurnSettings
from voicebot.turn.voice_activity import VoiceActivity

LONGEST_PAUSE_MS = 500  # the stub knows a whole turn or nothing: it cannot hear half a sentence
SPEECH = sorted((ROOT / "tests/data/speech").glob("*.flac"))
STUB = {"asr__engine": "fake", "tts__engine": "tone", "recording__enabled": "true"}
MAX_TURN_S = 4.0
BARGE_IN_AFTER_S = (1.0, 2.5, 3.5, 4.5)
PARTS = ("calls", "onset", "at-once", "barge-in", "echo")
ECHOES = [
    Voice(echo=kind, return_loss_db=loss_db, echo_delay_ms=delay_ms)
    for kind, loss_db in (("hybrid", 12.0), ("hybrid", 24.0), ("speakerphone", 18.0))
    for delay_ms in (40.0, 150.0, 300.0)
]
ECHO_LISTENS_S = 7.0
AT_ONCE = 4
AT_ONCE_APART_S = 0.9
STOP_LIMITS_MS = (("p50", 0.5, 160), ("p95", 0.95, 300))
QUIET_END_SAMPLES = 480  # 60 ms
SETTLED_S = 1.0
SETTLED_SHARE = 0.15  # of a core
STAGES = ("speech_end", "endpoint", "asr_final", "route", "tts_first_audio", "packet_out")


def clip(path):
    """8 kHz human speech without silence at its ends, at most four seconds, cut at a quiet place.

    A reader who falls silent for half a second has said a turn: what comes after is left out (what becomes of such
    pauses is measured by tests/bench/turn_ends.py).
    """
    samples, _ = soundfile.read(path, dtype="int16")
    blocks = samples[: len(samples) // 160 * 160].reshape(-1, 160).astype(float)
    level = 10 * np.log10((blocks**2).mean(axis=1) / 32768**2 + 1e-12)
    loud = np.flatnonzero(level > level.max() - 30)
    first, last = loud[0], loud[-1]
    if (last - first) * 0.02 > MAX_TURN_S:
        window = slice(first + 50, first + int(MAX_TURN_S / 0.02))
        last = window.start + int(np.argmin(level[window]))
        last = max(b for b in loud if b <= last)
    for before, after in itertools.pairwise(loud[loud <= last]):
        if (after - before - 1) * 20 >= LONGEST_PAUSE_MS:
            last = before
            break
    return samples[first * 160 : (last + 1) * 160]


def heard_after_ms(samples):
    """How much audio of the turn the recogniser has got when the clip is over: it gets the pre-roll and what
    comes after the detector has heard speech, and that may be late where a clip begins softly.
    """
    windows = VoiceActivity().feed(np.concatenate((samples, np.zeros(1600, np.int16))))
    pairs = itertools.pairwise(w.probability >= 0.5 for w in windows)
    began = next(number for number, pair in enumerate(pairs) if all(pair)) + 2
    settings = TurnSettings()
    return len(samples) // 8 + settings.preroll_ms - 20 - -(-began * 32 // 20) * 20


def cpu_seconds(pid):
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def settled(bot, workers=2, limit_s=30.0):
    """Until standby and prompts are made: they take both cores from the callers of the first seconds."""
    await bot.wait_event("worker_ready", workers)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        before = sum(cpu_seconds(pid) for pid in bot.children())
        await asyncio.sleep(SETTLED_S)
        if sum(cpu_seconds(pid) for pid in bot.children()) - before < SETTLED_SHARE * SETTLED_S:
            return


def voided(measures):
    return [m.void_reason for m in measures if m.void]


async def short_calls(bot, count):
    """Answer and greeting times of calls one after the other."""
    measured = []
    for _ in range(count):
        async with Caller(bot.uri, CallerOptions(limit_s=15)) as call:
            await call.invite()
            await call.wait_bot_audible(5)
            measured.append(call.measures())
    return measured


async def long_call(bot, seconds):
    """A call that listens and presses keys now and then, so that the bot speaks most of the time."""
    async with Caller(bot.uri, CallerOptions(limit_s=seconds + 10)) as call:
        await call.invite()
        end = time.monotonic() + seconds
        while time.monotonic() < end - 4:
            await asyncio.sleep(3.5)
            await call.press("2")
        await asyncio.sleep(max(0, end - time.monotonic()))
        return call.measures()


async def pacing(bot, calls, seconds):
    before = sum(cpu_seconds(pid) for pid in bot.children())
    measured = await asyncio.gather(*(long_call(bot, seconds) for _ in range(calls)))
    spent = sum(cpu_seconds(pid) for pid in bot.children()) - before
    return measured, spent / (calls * seconds / 60)


async def onset_call(bot, clips):
    """One call: each clip is a turn, after the bot has finished."""
    async with Caller(bot.uri, CallerOptions(limit_s=30 + 12 * len(clips))) as call:
        await call.invite()
        for samples in clips:
            await call.wait_bot_silent(700)
            await call.say(samples)
            await call.wait_bot_audible(6)
        await call.wait_bot_silent(500)
        return call.measures()


async def calls_at_once(bot, clips):
    """Onset calls at the same time, begun a little apart so that not all speak in the same instant."""

    async def one(number):
        await asyncio.sleep(number * AT_ONCE_APART_S)
        return await onset_call(bot, clips)

    return await asyncio.gather(*(one(number) for number in range(AT_ONCE)))


async def barge_in_call(bot, samples, after_s, voice=None):
    """Speaks so long into the greeting: until about 2 s nobody knows whether the line has an echo."""
    media = MediaOptions(voice=voice)
    async with Caller(bot.uri, CallerOptions(limit_s=60, media=media)) as call:
        await call.invite()
        await call.wait_bot_audible(5)
        await asyncio.sleep(after_s)
        await call.say(samples)
        await asyncio.sleep(1.0)
        return call.measures()


async def listening_call(bot, voice):
    """Says nothing while the bot speaks, whose voice comes back."""
    media = MediaOptions(voice=voice)
    async with Caller(bot.uri, CallerOptions(limit_s=60, media=media)) as call:
        await call.invite()
        await call.wait_bot_audible(5)
        await asyncio.sleep(ECHO_LISTENS_S)
        return call.measures()


def pauses(bot):
    """How often a voice over the bot has made it pause so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{bot.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(x.split()[-1]) for x in lines if x.startswith("voicebot_interruptions_total{"))


async def stub_rows(quick, parts):
    clips = [clip(path) for path in SPEECH[: 4 if quick else None]]
    heard = ",".join(f"opening hours@{heard_after_ms(c)}" for c in clips)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        async with running_bot(folder, **STUB, asr__fake_script=heard) as bot:
            await settled(bot)
            if "calls" in parts:
                rows += shown(setup_rows(await short_calls(bot, 8 if quick else 30)))
                seconds = 15 if quick else 60
                measured, cpu_s = await pacing(bot, 4, seconds)
                rows += shown(pacing_rows(measured, cpu_s, seconds))
            if "onset" in parts:
                turns, void = [], []
                for _ in range(1 if quick else 3):
                    measures = await onset_call(bot, clips)
                    turns += measures.turns
                    void += voided([measures])
                rows += shown(onset_rows("stub engines, human speech", turns, void, target="1"))
                rows += shown(stage_rows(bot.events("turn")))
            if "at-once" in parts:
                rows += shown(at_once_rows("stub engines", await calls_at_once(bot, clips), target="1"))
        if {"barge-in", "echo"} & set(parts):
            settings = {**STUB, "tts__engine": "flite"}
            async with running_bot(folder, **settings, asr__fake_script=heard) as bot:
                await settled(bot)
                with realtime_section():
                    if "barge-in" in parts:
                        rows += shown(await barge_in_rows(bot, clips[:6], 1 if quick else 2))
                    if "echo" in parts:
                        rows += shown(await echo_rows(bot, clips, ECHOES[::3] if quick else ECHOES))
    return rows


async def echo_rows(bot, clips, lines):
    """Lines on which the bot hears itself: a caller who only listens, and two who interrupt."""
    before, void, turns = pauses(bot), [], []
    for line in lines:
        void += voided([await listening_call(bot, line)])
    false = pauses(bot) - before
    for number, line in enumerate(lines):
        for samples in (clips[number % len(clips)], clips[(number + 5) % len(clips)]):
            measures = await barge_in_call(bot, samples, 3.5, line)
            turns += [t for t in measures.turns if t.barge_in_stop_ms is not None]
            void += voided([measures])
    note = f"{len(lines)} calls of {ECHO_LISTENS_S:g} s: echo 12 to 24 dB weaker, 40 to 300 ms late"
    return [
        at_most("pauses while nobody spoke, lines with echo", false, "pauses", 0, target="5", note=note),
        *stop_rows(", lines with echo", turns, void, target="4"),
    ]


async def barge_in_rows(bot, clips, times):
    """Interruptions at four moments of the greeting; the line has no echo, which takes about 2 s to know."""
    found, void = {}, []
    for after_s in BARGE_IN_AFTER_S:
        found[after_s] = []
        for samples in clips * times:
            measures = await barge_in_call(bot, samples, after_s)
            found[after_s] += [t for t in measures.turns if t.barge_in_stop_ms is not None]
            void += voided([measures])
        shown(stop_rows(f", {after_s:g} s into the call", found[after_s], [], target=""))
    rows = stop_rows("", [t for turns in found.values() for t in turns], void, target="4")
    for after_s, turns in found.items():
        rows += stop_rows(f", {after_s:g} s into the call", turns, [], target="")
    return rows


def shown(rows):
    """Print rows at once: a run that is cut short has measured something too."""
    for r in rows:
        print(f"   {r['figure']}: {r['value']} {r['unit']} {r['limit']} {r['note']}", flush=True)
    return rows


def setup_rows(measured):
    answers = [m.invite_to_200_ms for m in measured]
    greetings = [m.greeting_ms for m in measured]
    note = f"n={len(measured)}"
    rows = []
    for name, times, limit_ms in (
        ("INVITE to 200", answers, 50),
        ("INVITE to greeting audio", greetings, 150),
    ):
        rows.append(row(f"{name}, p50", round(percentile(times, 0.5), 1), "ms", note=note))
        rows.append(at_most(f"{name}, p95", percentile(times, 0.95), "ms", limit_ms, target="15"))
    return rows


def pacing_rows(measured, cpu_s, seconds):
    streams = [m.bot_streams[0] for m in measured]
    worst = max(s.gap.p999_ms for s in streams)
    contiguous = all(s.contiguous for s in streams)
    void = "; ".join(voided(measured))
    note = f"4 calls, {seconds} s{'; VOID: ' + void if void else ''}"
    return [
        at_most("RTP send gap p99.9, worst of 4 calls", worst, "ms", 25, target="8", note=note),
        row(
            "sequence and timestamps contiguous",
            int(contiguous),
            "",
            limit="1",
            ok=contiguous,
            target="8",
            note=note,
        ),
        at_most(
            "CPU per call-minute, stub recogniser", cpu_s, "s", 2.5, target="6", note="worker and edge"
        ),
    ]


def onset_rows(name, turns, void, *, target):
    """Onsets of the turns that were answered, and how many were answered before they were over."""
    onsets = [t.response_onset_ms for t in turns if t.response_onset_ms is not None and not t.cut_off]
    note = f"n={len(onsets)}{'; VOID: ' + void[0] if void else ''}"
    if not onsets:
        return []
    middle, high = percentile(onsets, 0.5), percentile(onsets, 0.95)
    cut_off = sum(t.cut_off for t in turns)
    return [
        at_most(f"response onset p50, {name}", middle, "ms", 300, target=target, note=note),
        at_most(f"response onset p95, {name}", high, "ms", 450, target=target),
        at_most(f"response onset max, {name}", max(onsets), "ms", 1200, target=target),
        row(f"turns answered before their end, {name}", cut_off, "turns", note=f"n={len(turns)}"),
    ]


def at_once_rows(name, measured, *, target):
    """Onsets of all calls together."""
    turns = [turn for measures in measured for turn in measures.turns]
    return onset_rows(f"{name}, {len(measured)} calls at once", turns, voided(measured), target=target)


def stage_rows(events):
    """Where the time of an onset went, as the bot itself accounts it; the slowest turns are printed."""
    spoken = [e for e in events if e.get("end_reason")]
    for event in sorted(spoken, key=lambda e: -(e["response_onset_ms"] or 0))[:5]:
        wanted = ("response_onset_ms", "end_reason", "hold_ms", "speculation", "stages_ms")
        print("   slow:", {key: event[key] for key in wanted})
    stages = {
        stage: [e["stages_ms"][stage] for e in spoken if stage in e["stages_ms"]] for stage in STAGES
    }
    return [
        row(
            f"of it {stage}, p50",
            round(percentile(took, 0.5), 1),
            "ms",
            note=f"p95 {percentile(took, 0.95):.1f}",
        )
        for stage, took in stages.items()
        if took
    ]


def stop_rows(name, turns, void, *, target):
    stops = [t.barge_in_stop_ms for t in turns]
    missed = sum(not t.yielded for t in turns)
    note = f"n={len(stops)}, {missed} missed{'; VOID: ' + void[0] if void else ''}"
    if not stops:
        return []
    figures = [(f"barge-in stop {p}{name}", percentile(stops, q), x) for p, q, x in STOP_LIMITS_MS]
    if not target:
        return [row(figure, round(value, 1), "ms", note=note) for figure, value, _ in figures]
    return [
        at_most(figure, value, "ms", limit, target=target, note=note) for figure, value, limit in figures
    ]


def answers(data, count):
    """Words of a menu by test speakers, each up to its last audible block; without a folder one that is here.

    Recordings in which something is audible to their very end are left out: nobody knows when the word was over.
    """
    if data is None:
        return [("balance", read_wav(ROOT / "tests/data/caller/balance.wav"))] * count
    clips = [c for c in Corpus(data, "test").words() if c.text in WORDS]
    random.Random(5).shuffle(clips)
    found = []
    for clip_ in clips:
        samples = at_level(clip_.audio, -22.0)
        end = last_audible(samples)
        if samples.size - end >= QUIET_END_SAMPLES:
            found.append((clip_.text, samples[:end]))
    return found[:count]


async def answer_call(uri, samples):
    """A call that answers the first question with one word."""
    async with Caller(uri, CallerOptions(limit_s=40)) as call:
        await call.invite()
        await call.wait_bot_silent(900)
        await call.say(samples)
        with contextlib.suppress(CallEndedError, WaitTimeoutError):
            await call.wait_bot_audible(6)
            await call.wait_bot_silent(300)
        return call.measures()


async def heard_first(bot, measures):
    """The first words of the caller as the record of the call has them."""
    record = await bot.record_of(measures.call_id, limit_s=15)
    return next((line["text"] for line in record.get("transcript", ()) if line["who"] == "caller"), "")


async def real_rows(quick, data):
    """Words that were rightly heard: one call after the other, then four at once."""
    told = answers(data, 8 if quick else 36)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.yaml"
        plan.write_text(PLAN)
        async with running_bot(folder, **({} if data is None else {"dialplan": plan})) as bot:
            await settled(bot)
            uri = bot.uri if data is None else bot.uri.replace("bank@", "words@")
            for at_once in (1, AT_ONCE):
                turns, void = [], []
                for at in range(0, len(told), at_once):
                    group = told[at : at + at_once]
                    measured = await asyncio.gather(*(answer_call(uri, s) for _, s in group))
                    void += voided(measured)
                    for (text, _), measures in zip(group, measured, strict=True):
                        turns += measures.turns if await heard_first(bot, measures) == text else []
                name = f"real engines, {len(turns)} of {len(told)} words rightly heard"
                name += f", {at_once} calls at once" if at_once > 1 else ""
                if turns:
                    rows += shown(onset_rows(name, turns, void, target="2"))
            rows += stage_rows(bot.events("turn"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--engine", choices=["stub", "real", "both"], default="both")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="of the stub's part")
    parser.add_argument(
        "--data", type=Path, help="folder of the recordings' tar files: words of many speakers (real)"
    )
    options = parser.parse_args()
    rows = [row("machine", machine(), "")]
    if options.engine != "real":
        rows += asyncio.run(stub_rows(options.quick, options.only))
    if options.engine != "stub":
        rows += asyncio.run(real_rows(options.quick, options.data))
    write("wire", rows)


if __name__ == "__main__":
    main()
