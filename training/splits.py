"""Which speakers train, tune and test. Needs nothing installed, so that the bot's benchmarks use it too.

A speaker belongs to exactly one split, decided by a hash of the speaker's name, so that adding data
never moves anybody. FSDD has six speakers only and is split by hand.
"""

import hashlib
from pathlib import Path

FSDD_SPLIT = {"theo": "test", "yweweler": "test", "nicolas": "dev"}
HELD_OUT_PERCENT = {"speech_commands": (30, 12), "barista": (40, 10)}
DEFAULT_HELD_OUT_PERCENT = (8, 6)
ALWAYS_TRAIN = frozenset({"asterisk_en_allison", "shawnhymel_keywords", "synthetic"})

TURN_KEPT_OUT_PERCENT = 18


def split_of(source: str, speaker: str) -> str:
    """The split a speaker of a collection belongs to, for ever: "train", "dev" or "test"."""
    if source in ALWAYS_TRAIN:
        return "train"
    if source == "fsdd":
        return FSDD_SPLIT.get(speaker.removeprefix("fsdd-"), "train")
    test, dev = HELD_OUT_PERCENT.get(source, DEFAULT_HELD_OUT_PERCENT)
    draw = int(hashlib.sha256(f"{source}/{speaker}".encode()).hexdigest()[:8], 16) % 100
    return "test" if draw < test else "dev" if draw < test + dev else "train"


def fold_of(voice: str, folds: int) -> int:
    """The part of a cross-validation a voice belongs to, 0 to ``folds`` - 1."""
    return int(hashlib.sha256(f"fold{voice}".encode()).hexdigest()[:8], 16) % folds


def turn_split(source: str, path: Path) -> str:
    """The same for whole sentences and where they end; more speakers are kept out to choose by.

    Readers of LibriSpeech go by their number: the benchmark of turns judges the even ones.

    Args:
        source: The collection.
        path: A recording inside it.
    """
    if source.startswith("librispeech"):
        speaker = path.parts[1] if source == "librispeech_tc5" else path.stem.split("-")[0]
        found = "test" if int(speaker) % 2 == 0 else "train"
    elif source.startswith("speech_commands"):
        speaker = "sc-" + path.stem.split("_")[0]
        found = split_of("speech_commands", speaker)
    else:
        speaker = path.parts[1] if source == "speechocean762" else path.stem
        found = split_of(source, speaker)
    if found != "train":
        return found
    draw = int(hashlib.sha256(f"turns/{speaker}".encode()).hexdigest()[:8], 16) % 100
    return "dev" if draw < TURN_KEPT_OUT_PERCENT else "train"
