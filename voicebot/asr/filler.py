"""How much better the words of a grammar explain a turn than no word at all.

The engine's own confidence compares the few readings that survive its search, all of which may be
wrong. So the same sound is read a second time by a recogniser that knows only ``[unk]`` (common words
and phones of any kind), the *filler model* of keyword spotting. A word that was said explains its sound
about as well as anything does; a word forced on another sound does much worse. The difference of the
two log-likelihoods is one of the features of the calibrated confidence (`voicebot.asr.calibration`).

The search for the best filler is narrow and in large lumps: 12 ms of CPU for a second of audio instead
of 37, and the same score.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any, Final

import vosk

from voicebot.asr.protocol import UNKNOWN_WORD
from voicebot.asr.vosk_model import ModelDirectory

NARROW: Final = {
    "frames-per-chunk": "51",  # 1.5 s: twice as fast as the 0.3 s that partial results need
    "beam": "6.0",
    "max-active": "300",
    "min-active": "20",
    "lattice-beam": "0.1",  # only the best path's score is read
}


class FillerModel:
    """The same model with a narrow search; shared by all turns.

    Args:
        directory: A checked model directory with run-time grammars, ``[unk]`` and the nested layout.
    """

    def __init__(self, directory: ModelDirectory) -> None:
        self._rate_hz = directory.sample_rate_hz
        with tempfile.TemporaryDirectory(prefix="voicebot-filler-") as name:
            self._model: Any = vosk.Model(model_path=str(_narrowed(directory.path, Path(name))))

    def start(self) -> "FillerScore":
        """A score for one turn."""
        return FillerScore(vosk.KaldiRecognizer(self._model, self._rate_hz, f'["{UNKNOWN_WORD}"]'))


class FillerScore:
    """One turn's log-likelihood without any word. To be used by one thread at a time."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._engine.SetMaxAlternatives(1)
        self._sum = 0.0

    def accept(self, samples: bytes) -> None:
        """Take more audio, 16-bit samples at the model's rate."""
        if self._engine.AcceptWaveform(samples):
            self._sum += best_score(json.loads(self._engine.Result()))

    def finish(self) -> float:
        """The log-likelihood of everything; the engine is freed."""
        self._sum += best_score(json.loads(self._engine.FinalResult()))
        self._engine = None
        return self._sum


def filler_works(directory: ModelDirectory) -> bool:
    """Whether a model can be read this way."""
    nested = (directory.path / "am" / "final.mdl").is_file()
    return nested and directory.grammars and directory.has_unknown_word


def best_score(result: dict[str, Any]) -> float:
    """The log-likelihood of a result's best reading; 0.0 for silence, or without alternatives."""
    readings = result.get("alternatives") or [{}]
    return float(readings[0].get("confidence", 0.0))


def _narrowed(model: Path, folder: Path) -> Path:
    """A directory that is the model with another ``model.conf``; Vosk has no other way to say it."""
    for item in model.resolve().iterdir():
        if item.name != "conf":
            (folder / item.name).symlink_to(item)
    (folder / "conf").mkdir()
    for item in (model.resolve() / "conf").iterdir():
        (folder / "conf" / item.name).symlink_to(item)
    conf = folder / "conf" / "model.conf"
    text = conf.read_text(encoding="utf-8")
    conf.unlink()
    kept = [line for line in text.splitlines() if _option(line) not in NARROW]
    lines = [*kept, *(f"--{name}={value}" for name, value in NARROW.items())]
    conf.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _option(line: str) -> str:
    found = re.match(r"--([\w.-]+)=", line)
    return found[1] if found else ""
