"""Synthetic voices read the texts: espeak-ng with its variants, flite, festival.

Needs the Debian packages espeak-ng, flite, festival, festvox-kallpc16k, festvox-kdlpc16k and
festvox-us-slt-hts; voices whose program is missing are left out. Writes
``<work>/data/synthetic/<batch>.jsonl`` and one WAV per utterance; a finished batch is not made again.
"""

import argparse
import json
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile
from rich.progress import track

from training.data import read_8khz
from training.features import RATE_HZ
from training.lexicon import normalise
from training.texts import Caller, words

ESPEAK_ACCENTS = ["en-us", "en-us", "en-us", "en-gb", "en-gb", "en-gb-x-rp", "en-gb-scotland",
                  "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"]  # fmt: skip
ESPEAK_VARIANTS = words(
    """
    adam Alex Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david
    Denis Diogo ed edward edward2 Gene Gene2 Gustave Henrique Hugo iven iven2 iven3 iven4
    Jacky john kaukovalta Lee linda marcelo Marco Mario max Michael michel miguel mike
    Nguyen pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 Storm travis
    victor zac anika f1 f2 f3 f4 f5 m1 m2 m3 m4 m5 m6 m7 m8 grandma grandpa klatt klatt2
    klatt3 klatt4 croak
    """
)
FLITE_VOICES = ["kal16", "awb", "rms", "slt", "awb", "rms", "slt"]
FESTIVAL_VOICES = ["kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"]
BATCH = 200


@dataclass(frozen=True)
class Line:
    """One text with the file it is read into."""

    path: Path
    text: str


def _run(command: list[str], **options: object) -> bool:
    done = subprocess.run(command, check=False, capture_output=True, timeout=120, **options)  # type: ignore[call-overload]  # options are only input= and text=
    return bool(done.returncode == 0)


def espeak(line: Line, rng: random.Random) -> str:
    """Read with a random accent, variant, speed and pitch; returns the voice's name."""
    accent, variant = rng.choice(ESPEAK_ACCENTS), rng.choice(ESPEAK_VARIANTS)
    voice = f"{accent}+{variant}"
    speed, pitch = str(rng.randint(120, 210)), str(rng.randint(20, 80))
    _run(["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w", str(line.path), line.text])
    return f"espeak-{voice}"


def flite(line: Line, rng: random.Random) -> str:
    """Read with a random flite voice, stretch and pitch."""
    voice = rng.choice(FLITE_VOICES)
    stretch, pitch = f"{rng.uniform(0.78, 1.25):.2f}", str(rng.randint(85, 230))
    _run(
        ["flite", "-voice", voice, "--setf", f"duration_stretch={stretch}",
         "--setf", f"int_f0_target_mean={pitch}", "-t", line.text, "-o", str(line.path)]
    )  # fmt: skip
    return f"flite-{voice}"


def festival(lines: list[Line], rng: random.Random) -> str:
    """Read many lines with one festival process: starting it costs more than speaking."""
    voice = rng.choice(FESTIVAL_VOICES)
    script = [f"(voice_{voice})"]
    for line in lines:
        stretch = rng.uniform(0.8, 1.25)
        text = line.text.replace('"', "")
        script.append(f"(Parameter.set 'Duration_Stretch {stretch:.2f})")
        script.append(f'(utt.save.wave (SynthText_ "{text}") "{line.path}" \'riff)')
    head = "(define (SynthText_ t) (utt.synth (eval (list 'Utterance 'Text t))))"
    _run(["festival", "--pipe"], input="\n".join([head, *script]), text=True)
    return f"festival-{voice}"


def make_batch(folder: Path, name: str, caller: Caller) -> int:
    """Synthesise one batch and its list; returns how many utterances came out."""
    rng = random.Random(name)
    caller.rng = rng
    lines = []
    for index in range(BATCH):
        words = normalise(caller.utterance())
        if words:
            lines.append(Line(folder / f"{name}_{index}.wav", " ".join(words)))
    with_festival = lines[-BATCH // 5 :] if shutil.which("festival") else []
    engines = [
        f for f in (espeak, espeak, flite) if shutil.which(f.__name__.replace("espeak", "espeak-ng"))
    ]
    alone = lines[: len(lines) - len(with_festival)]
    voices = [rng.choice(engines)(line, rng) for line in alone]
    if with_festival:
        voices += [festival(with_festival, rng)] * len(with_festival)
    rows = []
    for line, voice in zip(lines, voices, strict=True):
        try:
            audio = read_8khz(line.path)
        except (soundfile.LibsndfileError, OSError):
            continue
        if len(audio) < RATE_HZ // 10:
            continue
        soundfile.write(line.path, audio, RATE_HZ, subtype="PCM_16")
        file = f"{folder.name}/{line.path.name}"
        rows.append({"file": file, "voice": voice, "words": line.text.split()})
    temporary = folder / f"{name}.tmp"
    temporary.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    temporary.replace(folder / f"{name}.jsonl")
    return len(rows)


def main() -> None:
    """Synthesise batches until the number or the time is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--dialplans", type=Path, default=Path("dialplans"))
    parser.add_argument("--batches", type=int, default=30, help=f"of {BATCH} utterances each")
    parser.add_argument("--first", type=int, default=0, help="number of the first batch")
    parser.add_argument(
        "--alone", action="store_true", help="only the words with which callers steer a call, one by one"
    )
    parser.add_argument("--budget-min", type=float, default=60.0, help="stop after this time")
    args = parser.parse_args()
    folder = args.work / "data" / "synthetic"
    folder.mkdir(parents=True, exist_ok=True)
    caller = Caller(random.Random(0), args.dialplans, alone=args.alone)
    began = time.monotonic()
    for number in track(range(args.first, args.first + args.batches), description="voices"):
        if time.monotonic() - began > args.budget_min * 60:
            break
        name = f"words-{number}" if args.alone else f"{number}"
        if not (folder / f"{name}.jsonl").exists():
            make_batch(folder, name, caller)


if __name__ == "__main__":
    main()
