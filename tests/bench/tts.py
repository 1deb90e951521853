"""Synthesis: time to first audio, cost, level, intelligibility; the naive chain beside ours.

Run: ``.venv/bin/python -m tests.bench.tts [--quick] [--words]``. Noise has a fixed level, set from the
nominal -22 dBov: a chain that loses level loses signal-to-noise ratio. Plots go to var/bench/tts_<voice>.svg.
"""

import argparse
import statistics
import threading
import time

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.signal import firwin

from tests.bench import tts_channel as channel
from tests.bench.rows import FOLDER, row, write
from voicebot.audio.active_level import active_speech_level
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.audio.level import first_audible_sample, peak_dbov
from voicebot.audio.narrowband import VoiceProfile, shape
from voicebot.audio.narrowband_trim import fade_out
from voicebot.config.settings import TtsSettings
from voicebot.rtp.playout import PlayoutQueue
from voicebot.tts.build import build_renderer
from voicebot.tts.calibration import calibrate
from voicebot.tts.calibration_plot import draw_calibration
from voicebot.tts.espeak import EspeakVoice
from voicebot.tts.flite import VOICES, FliteVoice
from voicebot.tts.profiles import load_profile
from voicebot.tts.protocol import NEUTRAL
from voicebot.tts.renderer import ShapedVoice, SpeechRenderer
from voicebot.tts.tone import render_tone

LINE_RAILS = 32124
CALLS = 20


def speed():
    """First audible audio and CPU, one utterance at a time."""
    fresh = build_renderer(TtsSettings(cache_bytes=0))
    rows = []
    for name in VOICES:
        firsts, first_cpu, cpu_s, audio_s = [], [], 0.0, 0.0
        for prompt in channel.PROMPTS:
            b"".join(fresh.render(prompt, voice=name))
            asked, cpu = time.perf_counter(), time.process_time()
            first, heard = None, b""
            for piece in fresh.render(prompt, voice=name):
                heard += piece
                if first is None and first_audible_sample(decode_ulaw(heard)) is not None:
                    first = time.perf_counter() - asked
                    first_cpu.append((time.process_time() - cpu) * 1000)
            firsts.append(first * 1000)
            cpu_s += time.process_time() - cpu
            audio_s += len(heard) / 8000
        p50, worst = statistics.median(firsts), max(firsts)
        rows.append(
            row(f"first audible audio, {name}, p50", round(p50, 1), "ms", limit="<= 40", ok=p50 <= 40)
        )
        rows.append(
            row(
                f"first audible audio, {name}, CPU time p50",
                round(statistics.median(first_cpu), 1),
                "ms",
            )
        )
        rows.append(row(f"first audible audio, {name}, worst of {len(firsts)}", round(worst, 1), "ms"))
        factor = cpu_s / audio_s
        rows.append(
            row(
                f"CPU per second of audio, {name}, engine + chain",
                round(factor, 4),
                "s",
                limit="<= 0.03",
                ok=factor <= 0.03,
            )
        )
    cached = build_renderer(TtsSettings(cache_bytes=1_000_000))
    b"".join(cached.render(channel.PROMPTS[0]))
    asked = time.perf_counter()
    next(cached.render(channel.PROMPTS[0]))
    rows.append(
        row(
            "first audio, cached",
            round((time.perf_counter() - asked) * 1000, 2),
            "ms",
            limit="<= 5",
            ok=True,
        )
    )
    return rows


def levels():
    """Through the whole renderer, as a caller gets it."""
    renderer = build_renderer(TtsSettings(cache_bytes=0))
    rows = []
    for name in (*VOICES, "espeak"):
        samples = np.concatenate(
            [decode_ulaw(b"".join(renderer.render(p, voice=name))) for p in channel.PROMPTS]
        )
        level = active_speech_level(samples).level_dbov
        rows.append(
            row(
                f"active level after the band, {name}",
                round(level, 2),
                "dBov",
                limit="-22 +- 1",
                ok=abs(level + 22) <= 1,
            )
        )
        rows.append(
            row(
                f"peak, {name}",
                round(peak_dbov(samples), 2),
                "dBov",
                limit="<= -2.8",
                ok=peak_dbov(samples) <= -2.8,
                note="-3 dBFS before mu-law's rounding",
            )
        )
        clipped = int(np.count_nonzero(np.abs(samples.astype(int)) >= LINE_RAILS))
        rows.append(row(f"samples on mu-law's rails, {name}", clipped, "", limit="0", ok=clipped == 0))
    return rows


def intelligibility(quick, *, words):
    """STOI and PESQ against the clean voice; word error of a recogniser."""
    rows, voices = [], ("rms",) if quick else VOICES
    noises = (
        ("babble", channel.babble(), 5),
        ("babble", channel.babble(), 0),
        ("car", channel.car(), 0),
    )
    for name in voices:
        voice, profile = FliteVoice(name), load_profile(name)
        raw = [channel.record(voice, p) for p in channel.PROMPTS]
        clean = [channel.at_8k(r, 16000) for r in raw]
        chains = {
            "naive": [channel.naive(r, 16000) for r in raw],
            "ours": [channel.ours(r, 16000, profile) for r in raw],
        }
        for noise_name, noise, snr_db in noises:
            for chain, heard in chains.items():
                score = statistics.fmean(
                    _stoi(c, channel.in_noise(h, noise, snr_db, i))
                    for i, (c, h) in enumerate(zip(clean, heard, strict=True))
                )
                bar = chain == "ours" and name == "rms" and (noise_name, snr_db) == ("babble", 5)
                rows.append(
                    row(
                        f"STOI, {name}, {noise_name} {snr_db} dB, {chain}",
                        round(score, 3),
                        "",
                        limit=">= 0.75" if bar else "",
                        ok=not bar or score >= 0.75,
                    )
                )
        for chain, heard in chains.items():
            score = statistics.fmean(_pesq(c, h) for c, h in zip(clean, heard, strict=True))
            rows.append(
                row(
                    f"PESQ-NB in quiet, {name}, {chain}",
                    round(score, 2),
                    "",
                    limit=">= 3.6" if chain == "ours" else "",
                    ok=chain == "naive" or score >= 3.6,
                )
            )
        if words:
            rows += word_errors(name, chains)
    return rows


def word_errors(name, chains):
    try:
        recogniser = channel.Recogniser()
    except ImportError:
        return [
            row(
                f"word error, {name}",
                "-",
                "%",
                note="not measured: pocketsphinx is not installed (group training)",
            )
        ]
    rows, in_babble = [], {}
    for chain, heard in chains.items():
        for condition in ("quiet", "3 % loss", "babble 15 dB"):
            wrong = total = 0
            for i, (samples, prompt) in enumerate(zip(heard, channel.PROMPTS, strict=True)):
                audio = {
                    "quiet": lambda s=samples: s,
                    "3 % loss": lambda s=samples, n=i: channel.lose(s, 3, n),
                    "babble 15 dB": lambda s=samples, n=i: channel.in_noise(s, channel.babble(), 15, n),
                }[condition]()
                errors, words = recogniser.word_errors(audio, prompt)
                wrong, total = wrong + errors, total + words
            percent = 100 * wrong / total
            if condition == "babble 15 dB":
                in_babble[chain] = percent
            rows.append(row(f"word error, {name}, {condition}, {chain}", round(percent, 1), "%"))
    share = 100 * in_babble["ours"] / in_babble["naive"]
    rows.append(
        row(
            f"word error in babble, {name}, ours of naive",
            round(share),
            "%",
            limit="<= 65" if name == "rms" else "",
            ok=name != "rms" or share <= 65,
        )
    )
    return rows


def _stoi(clean, heard):
    size = min(clean.size, heard.size)
    return stoi(clean[:size], heard[:size], 8000)


def _pesq(clean, heard):
    size = min(clean.size, heard.size)
    return pesq(
        8000,
        channel.to_level(clean[:size], -26) / 32768,
        channel.to_level(heard[:size], -26) / 32768,
        "nb",
    )


def chain():
    """Chunked against whole, and the click of an interruption."""
    samples = channel.record(FliteVoice("rms"), channel.PROMPTS[0])
    from voicebot.audio.narrowband import NarrowbandChain

    random, streamed = np.random.default_rng(2), NarrowbandChain(16000, load_profile("rms"))
    pieces, start = [], 0
    while start < samples.size:
        size = int(random.integers(1, 900))
        pieces.append(streamed.feed(samples[start : start + size]))
        start += size
    pieces.append(streamed.flush())
    whole, chunked = shape(samples, 16000, load_profile("rms")), np.concatenate(pieces)
    differing = abs(whole.size - chunked.size) or int(np.count_nonzero(whole != chunked))
    rows = [
        row("samples that differ, chunked against one shot", differing, "", limit="0", ok=differing == 0)
    ]
    hard, faded = _splatter_db(lambda s: s), _splatter_db(fade_out)
    rows.append(
        row(
            "splatter 2.5-4 kHz at a cut, 5 ms fade, worst of 200",
            round(faded, 1),
            "dB",
            limit="<= -50",
            ok=faded <= -50,
            note=f"before mu-law; hard cut {hard:.1f} dB",
        )
    )
    at_cut, codec, hard = _splatter_on_the_line_db()
    rows.append(
        row(
            "the same through the playout queue, above mu-law's own noise, worst of 200",
            round(at_cut, 1),
            "dB",
            limit="<= 3",
            ok=at_cut <= 3,
            note=f"mu-law's noise there {codec:.1f} dB of the sound, which hides -50; hard cut {hard:+.1f} dB",
        )
    )
    return rows


def _voiced(random, size):
    """A sound with nothing above 1 kHz of its own."""
    pitch, time_s = random.uniform(90, 220), np.arange(size) / 8000
    sound = sum(
        np.sin(2 * np.pi * (k * pitch * time_s + random.random()))
        for k in range(2, int(1000 / pitch) + 1)
    )
    return sound * 2600 / np.sqrt(np.mean(sound**2))


def _splatter_on_the_line_db():
    """An interruption as a caller hears it: 2.5-4 kHz in the 15 ms round the cut, against the 90 ms before them."""
    random, high = np.random.default_rng(4), firwin(161, 2500, fs=8000, pass_zero=False)
    end = 8 * 160 + 40  # the queue fades for 5 ms after the eighth packet
    excess, codec = {"faded": [], "hard": []}, []
    for _ in range(200):
        code = encode_ulaw(np.rint(_voiced(random, 3200)).astype(np.int16))
        queue = PlayoutQueue()
        queue.enqueue(0, "u", code)
        faded = b"".join(queue.next_frame().payload for _ in range(8))
        queue.clear(1)
        faded += b"".join(queue.next_frame().payload for _ in range(4))
        for name, line in (("faded", faded), ("hard", code[:end] + b"\xff" * (len(faded) - end))):
            heard = decode_ulaw(line).astype(float)
            energy = np.convolve(heard, high, "same") ** 2
            before = energy[end - 840 : end - 120].mean()
            excess[name].append(10 * np.log10(energy[end - 60 : end + 60].mean() / before))
            codec.append(10 * np.log10(before / np.mean(heard[end - 840 : end - 120] ** 2)))
    return max(excess["faded"]), statistics.median(codec), max(excess["hard"])


def _splatter_db(fade):
    """Energy that a cut puts into 2.5-4 kHz, against that of the sound."""
    random, worst = np.random.default_rng(4), -200.0
    for _ in range(200):
        sound = _voiced(random, 1600)
        cut = np.concatenate((fade(sound), np.zeros(1600)))
        window = np.concatenate((0.5 - 0.5 * np.cos(np.pi * np.arange(1200) / 1200), np.ones(2000)))
        power = np.abs(np.fft.rfft(cut * window)) ** 2
        high = power[int(2500 / 8000 * 3200) :].sum()
        worst = max(worst, 10 * np.log10(high / power.sum()))
    return worst


def together(calls, *, spread_s):
    """20 callers are spoken to, three sentences each; they begin within `spread_s`. Playing begins with the
    first piece of an utterance and takes 20 ms a packet.
    """
    renderer = build_renderer(TtsSettings(cache_bytes=0))
    firsts, latest_s = [], []
    barrier = threading.Barrier(calls)

    def call(number):
        prompt = " ".join(channel.PROMPTS[(number + i) % len(channel.PROMPTS)] for i in range(3))
        barrier.wait()
        time.sleep(spread_s * number / calls)
        asked = time.perf_counter()
        begun, heard, late = None, 0, 0.0
        for piece in renderer.render(prompt):
            now = time.perf_counter()
            if begun is None:
                begun = now
                firsts.append((now - asked) * 1000)
            late = max(late, now - begun - heard / 8000)
            heard += len(piece)
        latest_s.append(late)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(calls)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    underruns = sum(late > 0.02 for late in latest_s)
    when = f"within {spread_s:g} s" if spread_s else "in the same moment"
    name = f"{calls} speak at once, begun {when}"
    limit = "0" if spread_s else ""
    return [
        row(
            f"{name}: with a gap",
            underruns,
            "",
            limit=limit,
            ok=not limit or (underruns == 0 and len(latest_s) == calls),
            note=f"worst lateness {max(latest_s) * 1000:.0f} ms",
        ),
        row(
            f"{name}: first audio p50",
            round(statistics.median(firsts)),
            "ms",
            note=f"worst {max(firsts):.0f} ms",
        ),
    ]


class _Faulty:
    name, sample_rate_hz = "faulty", 8000

    def __init__(self, fault):
        self._fault = fault

    def synthesize(self, text, sink, prosody=NEUTRAL):
        match self._fault:
            case "crash":
                raise OSError("engine died")
            case "hang":
                threading.Event().wait(3)
            case "NaN":
                sink(np.full(800, np.nan))
            case "10 times too slow":
                for _ in range(20):
                    if not sink(render_tone(10)):
                        return
                    time.sleep(0.1)


def faults():
    """From the call to something audible, the default deadline, flite as the next voice."""
    rows = []
    flite = ShapedVoice(FliteVoice("rms"), load_profile("rms"))
    for fault in ("crash", "hang", "NaN", "empty", "10 times too slow"):
        shelf = {"faulty": ShapedVoice(_Faulty(fault), VoiceProfile(0.0, (), ())), "rms": flite}
        renderer = SpeechRenderer(shelf, ["faulty", "rms"], deadline_ms=TtsSettings().deadline_ms)
        asked, gaps, until = time.perf_counter(), [], None
        for piece in renderer.render("Please hold the line."):
            now = time.perf_counter()
            gaps.append(now - (asked if until is None else until))
            until = max(now, until or 0.0) + len(piece) / 8000
        worst = max(gaps) * 1000
        rows.append(
            row(
                f"longest silence, engine fault: {fault}",
                round(worst),
                "ms",
                limit="<= 700",
                ok=worst <= 700,
            )
        )
    return rows


def plots():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for voice in (*(FliteVoice(n) for n in VOICES), EspeakVoice()):
        (FOLDER / f"tts_{voice.name}.svg").write_text(draw_calibration(calibrate(voice)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="intelligibility of the default voice only, no plots"
    )
    parser.add_argument(
        "--words", action="store_true", help="word errors too: minutes, needs pocketsphinx"
    )
    parser.add_argument(
        "--times", action="store_true", help="only what depends on the machine's load: speed, 20 at once"
    )
    options = parser.parse_args()
    rows = [
        *speed(),
        *together(CALLS, spread_s=2.0),
        *together(CALLS, spread_s=0.0),
    ]
    if not options.times:
        rows += [*levels(), *chain(), *faults(), *intelligibility(options.quick, words=options.words)]
    if not options.quick and not options.times:
        plots()
    write("tts", rows)


if __name__ == "__main__":
    main()
