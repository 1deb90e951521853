"""Train the network that hears whether a pause is an end: ``voicebot/turn/models/completion.npz``.

    python -m training.turn_completion --data ../shared/data [--epochs 24] [--out FILE]

Every pause of 150 ms or more inside a recording is an example of going on, every last sound one of an
end. The recordings are whole sentences, of speechocean762 (people who look for words in English), Common
Voice and LibriSpeech, and single words of Speech Commands. Each comes four times: as it is, and three
times over other telephone lines, at other speeds and levels, in noise, begun anywhere. Speakers are
split by `training.splits`; a fifth of those to train with is kept out to choose by. Features: 3 minutes;
training: 2 minutes on one core.
"""

import argparse
import io
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from rich.progress import track
from scipy import signal
from torch import nn

from sip_test_harness.asr_corpus import archive_files
from training.pauses import labels
from training.splits import turn_split
from voicebot.audio.g711 import decode_ulaw, encode_ulaw
from voicebot.turn.completion import CHANNELS, MODEL_FILE, TurnCompletion, features

RATE_HZ = 8000
COPIES = 4
MIN_PAUSE_MS = 150
MIN_VOICE_MS = 300
LONG_PAUSE_MS = 450  # those that a short hold would take for an end
HIDDEN = 32
BATCH = 256
SHARES = {
    "speechocean762": 1.0,
    "commonvoice_en": 1.0,
    "librispeech_tc5": 0.5,  # its ends are often pauses of a longer sentence
    "librispeech_resemblyzer": 0.5,
    "speech_commands": 0.3,  # single words: ends only, so that a short answer is no sentence's beginning
    "speech_commands_bch": 0.3,
}
"""The collections, and how much each counts."""
PACKAGED = Path("voicebot/turn/models") / MODEL_FILE
_BAND = signal.butter(4, [300, 3400], "bandpass", fs=RATE_HZ, output="sos")
_NO_RUMBLE = signal.butter(1, 100, "highpass", fs=RATE_HZ, output="sos")

Examples = tuple[NDArray[np.float16], NDArray[np.int16], NDArray[np.int16]]
"""Features (n, 128, 27); pause in ms, 0 for an end (n,); whether kept out of training (n,)."""


def over_a_line(
    audio: NDArray[np.int16], random: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """The recording at another speed and level, in noise; and its length over the old one."""
    slower = int(random.choice([90, 95, 100, 100, 105, 110]))
    values = signal.resample_poly(audio.astype(float), slower, 100)
    if random.random() < 0.6:
        values = signal.sosfilt(_BAND, values)
    values *= 32767 * 10 ** (-random.uniform(3, 25) / 20) / max(float(np.abs(values).max()), 1.0)
    noise = random.normal(size=values.size)
    if random.random() < 0.5:
        noise = signal.sosfilt(_NO_RUMBLE, np.cumsum(noise))
    level = float(np.sqrt((values**2).mean()))
    return values + noise * (level * 10 ** (-random.uniform(12, 45) / 20) / noise.std()), slower / 100


def examples(
    audio: NDArray[np.int16], random: np.random.Generator, copies: int
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Features of each pause and end of one recording; with them the pause in ms, 0 for the end."""
    first, last, pauses = labels(audio)
    tail = 250 * 8
    sounding = audio[max(0, first - 800) : last + tail]
    sounding = np.pad(sounding, (max(0, 800 - first), max(0, last + tail - audio.size)))
    ends = [(a - first, b - a) for a, b in pauses if b - a >= MIN_PAUSE_MS * 8] + [(last - first, 0)]
    for copy in range(copies):
        if copy:
            line, longer = over_a_line(sounding, random)
        else:
            line, longer = sounding + random.normal(0, 32, sounding.size), 1.0
        coded = decode_ulaw(encode_ulaw(np.clip(np.rint(line), -32768, 32767).astype(np.int16)))
        for end, pause in ends:
            if end < MIN_VOICE_MS * 8:
                continue
            # The detector hears silence some 100 ms after it began; a turn begins about with its sound.
            seen = int((800 + end) * longer) + min(
                int(random.integers(60, 240)) * 8, int((pause or tail) * longer)
            )
            begin = int(800 * longer) + int(random.integers(-100, 60)) * 8
            if copy:  # any length: callers answer in two words, these people read sentences
                begin = int(random.integers(begin, max(begin, seen - 600 * 8) + 1))
            yield features(coded[max(0, begin) : seen]), pause // 8


def gather(data: Path, source: str) -> Examples:
    """All examples of a collection, none of its test speakers."""
    made: list[NDArray[np.float16]] = []
    pauses_ms: list[int] = []
    kept_out: list[int] = []
    files = archive_files(
        data,
        source,
        lambda path: path.suffix in {".ogg", ".flac"} and turn_split(source, path) != "test",
    )
    for number, (path, content) in enumerate(track(files, source)):
        audio, rate = soundfile.read(io.BytesIO(content), dtype="int16")
        if rate != RATE_HZ:
            audio = np.rint(signal.resample_poly(audio.astype(float), RATE_HZ, rate)).astype(np.int16)
        dev = turn_split(source, path) == "dev"
        for seen, pause_ms in examples(audio, np.random.default_rng(number), 1 if dev else COPIES):
            made.append(seen.astype(np.float16))
            pauses_ms.append(pause_ms)
            kept_out.append(dev)
    return np.array(made), np.array(pauses_ms, np.int16), np.array(kept_out, np.int16)


class Network(nn.Module):
    """What `TurnCompletion` computes, to be trained."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (CHANNELS, HIDDEN, HIDDEN, HIDDEN)
        self.conv = nn.ModuleList(
            nn.Conv1d(a, b, 5, stride=2, padding=2) for a, b in itertools.pairwise(sizes)
        )
        self.hidden = nn.Linear(HIDDEN * 9, 32)
        self.out = nn.Linear(32, 1)
        self.drop = nn.Dropout(0.3)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Logits (n,) of features (n, 128, 27)."""
        values = seen.transpose(1, 2)
        for number, layer in enumerate(self.conv):
            values = torch.relu(layer(self.drop(values) if number else values))
        joined = torch.cat([values[:, :, -8:].transpose(1, 2).flatten(1), values.mean(2)], dim=1)
        logits: torch.Tensor = self.out(self.drop(torch.relu(self.hidden(self.drop(joined)))))[:, 0]
        return logits

    def arrays(self) -> dict[str, NDArray[np.float16]]:
        """The weights as `TurnCompletion` takes them."""
        named = {f"conv{k + 1}": layer for k, layer in enumerate(self.conv)}
        named |= {"hidden": self.hidden, "out": self.out}
        found: dict[str, NDArray[np.float16]] = {}
        for name, layer in named.items():
            weight = layer.weight.detach().numpy()
            found[name] = (weight.transpose(0, 2, 1) if weight.ndim == 3 else weight).astype(np.float16)
            found[f"{name}_bias"] = layer.bias.detach().numpy().astype(np.float16)
        return found


def area(ends: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Area under the curve: how often an end scores above a pause."""
    return float((ends[:, None] > others[None, :]).mean())


def report(network: TurnCompletion, kept: dict[str, Examples]) -> None:
    """How well speakers that were not trained on are told apart."""
    for source, (seen, pauses_ms, dev) in kept.items():
        scores = np.array([network.score(one.astype(np.float32)) for one in seen[dev == 1]])
        pauses = pauses_ms[dev == 1]
        ends, long = scores[pauses == 0], scores[pauses >= LONG_PAUSE_MS]
        if not ends.size or not long.size:
            continue
        bar = float(np.quantile(ends, 0.4))
        print(
            f"{source}: {ends.size} ends, area {area(ends, scores[pauses > 0]):.3f};"
            f" pauses of {LONG_PAUSE_MS} ms and more (n={long.size}) {area(ends, long):.3f};"
            f" of them {100 * (long > bar).mean():.0f} % above {bar:.2f}, as 60 % of the ends are"
        )


def fit(network: Network, gathered: dict[str, Examples], epochs: int) -> None:
    """Train on all but the kept out speakers; pauses and ends of a collection weigh the same."""
    train = [(x[dev == 0], p[dev == 0] == 0, SHARES[s]) for s, (x, p, dev) in gathered.items()]
    weights = [
        share * np.where(ends, 0.5 / max(ends.mean(), 0.01), 0.5 / max(1 - ends.mean(), 0.01))
        for _, ends, share in train
    ]
    seen = torch.tensor(np.concatenate([x for x, _, _ in train]))
    ends = torch.tensor(np.concatenate([e for _, e, _ in train])).float()
    weight = torch.tensor(np.concatenate(weights)).float()
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    batches = len(seen) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * batches + 1)
    random = np.random.default_rng(0)
    network.train()
    for _ in track(range(epochs), "epochs"):
        for chosen in torch.randperm(len(seen))[: batches * BATCH].split(BATCH):
            some = seen[chosen].float()
            band = int(random.integers(24))
            some[:, :, band : band + int(random.integers(5))] = 0.0
            wanted = ends[chosen] * 0.94 + 0.03
            each = nn.functional.binary_cross_entropy_with_logits(
                network(some), wanted, reduction="none"
            )
            optimiser.zero_grad()
            (each * weight[chosen]).mean().backward()
            optimiser.step()
            schedule.step()
    network.eval()


def main() -> int:
    """Gather, train, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings' tar files")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--features", type=Path, help="keep the features in this folder, take them from there"
    )
    parser.add_argument("--out", type=Path, default=PACKAGED)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    gathered: dict[str, Examples] = {}
    for source in SHARES:
        kept = options.features / f"{source}.npz" if options.features else None
        if kept and kept.exists():
            with np.load(kept) as arrays:
                gathered[source] = (arrays["seen"], arrays["pauses_ms"], arrays["dev"])
            continue
        gathered[source] = gather(options.data, source)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            seen, pauses_ms, dev = gathered[source]
            np.savez(kept, seen=seen, pauses_ms=pauses_ms, dev=dev)
    network = Network()
    fit(network, gathered, options.epochs)
    arrays = network.arrays()
    packed = TurnCompletion({name: value.astype(np.float32) for name, value in arrays.items()})
    some = gathered["speechocean762"][0][:64].astype(np.float32)
    with torch.no_grad():
        theirs = torch.sigmoid(network(torch.tensor(some))).numpy()
    ours = np.array([packed.score(one) for one in some])
    print(
        f"torch and numpy with 16-bit weights differ by {np.abs(theirs - ours).max():.4f} at most (n=64)"
    )
    report(packed, gathered)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(options.out, **arrays)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
