"""Checkpoint -> a Vosk model directory, with a numerical check of network and features.

The check decodes recordings with Vosk through a graph in which every frame may be any network output
at no cost, and compares Vosk's total log-likelihood and its path with torch's.
"""

import argparse
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import vosk
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from training.augmentation import phone_channel, with_level
from training.data import Utterance, load_audio, load_index
from training.features import MFCC_CONF, Floats, mfcc
from training.graph import MODEL_CONF, UNKNOWN, write_check_graph, write_graph
from training.lexicon import lexicon, normalise
from training.lm import bigram
from training.model import AcousticModel, averaged_model
from training.network_file import write_final_mdl
from training.phone_set import PhoneSet
from training.texts import Caller, dialplan_phrases, vocabulary

PRIOR_FLOOR = 1e-3
SENTENCES = frozenset({"speechocean762", "librispeech_tc5", "librispeech_resemblyzer", "commonvoice_en"})


def output_shares(model: AcousticModel, clips: list[Floats]) -> NDArray[np.float64]:
    """Mean posterior of each output over some recordings, clean and through the phone."""
    total = np.zeros(model.shape.outputs)
    frames = 0
    with torch.no_grad():
        for clip in track(clips, description="priors"):
            posteriors = model(torch.from_numpy(mfcc(clip))[None])[0].softmax(-1).numpy()
            total += posteriors.sum(axis=0)
            frames += len(posteriors)
    return total / frames


def flattened(shares: NDArray[np.float64], exponent: float, blank: float) -> NDArray[np.float64]:
    """Priors for the decoder: shares ** exponent, with a blank penalty factor, normalised."""
    priors = np.maximum(shares, PRIOR_FLOOR) ** exponent
    priors[0] *= blank
    return np.asarray(priors / priors.sum())


def write_configuration(folder: Path) -> None:
    """conf/mfcc.conf and conf/model.conf."""
    (folder / "conf").mkdir(parents=True, exist_ok=True)
    (folder / "am").mkdir(exist_ok=True)
    (folder / "conf" / "mfcc.conf").write_text(MFCC_CONF)
    (folder / "conf" / "model.conf").write_text(MODEL_CONF)


def dev_clips(work: Path, count: int) -> list[tuple[Utterance, Floats]]:
    """Some recordings of the development speakers."""
    audio = load_audio(work)
    chosen = [u for u in load_index(work) if u.split == "dev"]
    random.Random(5).shuffle(chosen)
    return [(u, audio[u.offset : u.offset + u.samples].astype(np.float32)) for u in chosen[:count]]


def words_and_texts(work: Path, dialplans: Path, extra_words: int) -> tuple[set[str], list[list[str]]]:
    """Vocabulary and sentences for the language model of free speech."""
    rng = random.Random(11)
    caller = Caller(rng, dialplans)
    texts = [caller.utterance().split() for _ in range(30000)]
    heard = [list(u.words) for u in load_index(work) if u.split == "train" and u.source != "synthetic"]
    plan_words: set[str] = set()
    for phrase in dialplan_phrases(dialplans):
        for raw in phrase.split():
            plan_words.update(normalise(raw) or [])
    counts: dict[str, int] = {}
    for sentence in heard:
        for word in sentence:
            counts[word] = counts.get(word, 0) + 1
    common = sorted(counts, key=lambda w: (-counts[w], w))[:extra_words]
    words = vocabulary() | plan_words | set(common)
    return {w for w in words if w in lexicon()}, [*texts, *heard]


def common_words(work: Path, count: int) -> list[str]:
    """The most frequent words of the training sentences (single-word collections do not count)."""
    counts: Counter[str] = Counter()
    for utterance in load_index(work):
        if utterance.split == "train" and utterance.source in SENTENCES:
            counts.update(utterance.words)
    return [word for word, _ in counts.most_common(count)]


def check(model: AcousticModel, clips: list[Floats]) -> Iterator[tuple[float, float, bool]]:
    """For each clip: torch's and Vosk's log-likelihood per frame, and whether the paths agree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_configuration(folder)
        conf = folder / "conf" / "model.conf"
        conf.write_text(conf.read_text().replace("--lattice-beam=2.5", "--lattice-beam=0.01"))
        phones = PhoneSet()
        write_final_mdl(folder / "am" / "final.mdl", model, phones, None)
        names = write_check_graph(folder / "graph", phones)
        engine = vosk.Model(model_path=str(folder))
        for clip in clips:
            samples = np.clip(np.rint(clip), -32768, 32767).astype("<i2")
            with torch.no_grad():
                scores = model(torch.from_numpy(mfcc(samples.astype(np.float32)))[None])[0].log_softmax(
                    -1
                )
            best, path = scores.max(dim=-1)
            recogniser = vosk.KaldiRecognizer(engine, 8000)
            recogniser.SetMaxAlternatives(1)
            recogniser.AcceptWaveform(samples.tobytes())
            result = json.loads(recogniser.FinalResult())["alternatives"][0]
            expected = [names[k] for k in path.tolist()]
            yield (
                float(best.mean()),
                result["confidence"] / len(best),
                result["text"].split() == expected,
            )


def main() -> None:
    """Export, check, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument("--checkpoint", type=Path, help="default: <work>/model.pt")
    parser.add_argument("--out", type=Path, required=True, help="model directory to write")
    parser.add_argument("--dialplans", type=Path, default=Path("dialplans"))
    parser.add_argument("--extra-words", type=int, default=3000, help="frequent words of the corpora")
    parser.add_argument("--prior-exponent", type=float, default=0.4)
    parser.add_argument("--blank-factor", type=float, default=1.0)
    parser.add_argument("--unknown-cost", type=float, default=1.5, help="per phone of [unk]")
    parser.add_argument("--garbage-words", type=int, default=0, help="common words that mean [unk]")
    parser.add_argument("--garbage-cost", type=float, default=3.0, help="of such a word")
    parser.add_argument("--word-cost", type=float, default=0.0)
    parser.add_argument("--check-clips", type=int, default=20)
    args = parser.parse_args()
    console = Console()
    vosk.SetLogLevel(-1)
    model = averaged_model(args.checkpoint or args.work / "model.pt")
    clips = [with_level(audio, 2000.0) for _, audio in dev_clips(args.work, 150)]
    clips += [phone_channel(clip) for clip in clips]
    shares = output_shares(model, clips)
    if args.out.exists():
        shutil.rmtree(args.out)
    write_configuration(args.out)
    phones = PhoneSet()
    priors = flattened(shares, args.prior_exponent, args.blank_factor)
    write_final_mdl(args.out / "am" / "final.mdl", model, phones, priors)
    words, texts = words_and_texts(args.work, args.dialplans, args.extra_words)
    arcs = bigram(texts, words, unknown=UNKNOWN, unknown_share=0.02)
    prons = {word: lexicon()[word] for word in words}
    garbage = {form for word in common_words(args.work, args.garbage_words) for form in lexicon()[word]}
    write_graph(
        args.out / "graph",
        phones,
        prons,
        arcs,
        garbage,
        unknown_cost=args.unknown_cost,
        word_cost=args.word_cost,
        garbage_cost=args.garbage_cost,
    )
    size = sum(f.stat().st_size for f in args.out.rglob("*") if f.is_file())
    console.print(f"{len(words)} words, {len(arcs)} arcs, {size / 1e6:.1f} MB -> {args.out}")
    rows = list(check(model, clips[:: max(1, len(clips) // args.check_clips)]))
    worst = max(abs(torch_score - vosk_score) for torch_score, vosk_score, _ in rows)
    same = sum(agree for *_, agree in rows)
    console.print(
        f"check: {same} of {len(rows)} paths agree, log-likelihood per frame within {worst:.5f}"
    )


if __name__ == "__main__":
    main()
