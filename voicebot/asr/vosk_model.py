"""A Vosk model directory, checked before the C++ code sees it.

Vosk aborts the whole process on several kinds of broken model (an assertion in C++ is no Python
exception), and downloads one when it is given a name instead of a path. So the directory is read
here first: layout, sample rate, words, whether run-time grammars work.
"""

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from voicebot.asr.calibration import Calibration, read_calibration
from voicebot.asr.protocol import UNKNOWN_WORD
from voicebot.core.errors import ConfigError

PACKAGED_MODEL = "en-narrowband-8k"
RATES_HZ = (8000, 16000)
"""Sample rates that Vosk models are made for."""


@dataclass(frozen=True)
class ModelDirectory:
    """What a model directory says about itself.

    Attributes:
        path: The directory.
        sample_rate_hz: From mfcc.conf.
        words: Every word of words.txt.
        grammars: Whether run-time grammars work (HCLr.fst and Gr.fst and no HCLG.fst).
        calibration: What the engine's confidence is worth, where somebody measured it.
    """

    path: Path
    sample_rate_hz: int
    words: frozenset[str]
    grammars: bool
    calibration: Calibration | None = None

    @property
    def has_unknown_word(self) -> bool:
        """Whether the model was built with a word for "none of these"."""
        return UNKNOWN_WORD in self.words


def packaged_model() -> Path:
    """The narrowband model that ships with the bot."""
    return Path(str(resources.files("voicebot.asr") / "models" / PACKAGED_MODEL))


def read_model_directory(path: Path) -> ModelDirectory:
    """Check a model directory of either layout (am/ conf/ graph/, or the older flat one).

    Raises:
        ConfigError: Something is missing or cannot work, with a sentence that says what to do.
    """
    if not path.is_dir():
        raise ConfigError(
            f"no model directory at {path}: set asr.model_path to an unpacked Vosk model",
            key="asr.model_path",
        )
    nested = (path / "am" / "final.mdl").is_file()
    if not nested and not (path / "final.mdl").is_file():
        raise _broken(path, "am/final.mdl is missing; a Vosk model holds am, conf and graph")
    graph = path / "graph" if nested else path
    _need(path, graph / "words.txt")
    features = (
        [path / "conf" / "mfcc.conf", path / "conf" / "fbank.conf"] if nested else [path / "mfcc.conf"]
    )
    readable = [file for file in features if file.is_file()]
    if not readable:
        raise _broken(path, f"{features[0].relative_to(path)} is missing")
    if nested:
        _check_model_conf(path)
    static = (graph / "HCLG.fst").is_file()
    if not static:
        for name in ("HCLr.fst", "Gr.fst"):
            _need(path, graph / name)
    if not static and nested:
        _need(path, graph / "disambig_tid.int")
    return ModelDirectory(
        path,
        _sample_rate_hz(readable[0]),
        _words(graph / "words.txt"),
        not static,
        read_calibration(path, path / "am" / "final.mdl" if nested else path / "final.mdl"),
    )


def _broken(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path} cannot be used as a Vosk model: {what}", key="asr.model_path")


def _need(path: Path, file: Path) -> None:
    if not file.is_file() or file.stat().st_size == 0:
        raise _broken(path, f"{file.relative_to(path)} is missing or empty")


def _check_model_conf(path: Path) -> None:
    """The two lines without which Vosk aborts or reports wrong times."""
    conf = path / "conf" / "model.conf"
    _need(path, conf)
    text = conf.read_text(encoding="utf-8")
    if not re.search(r"^--endpoint\.silence-phones=\d", text, re.MULTILINE):
        raise _broken(path, "conf/model.conf does not set --endpoint.silence-phones")
    if not re.search(r"^--frame-subsampling-factor=3\b", text, re.MULTILINE):
        raise _broken(path, "conf/model.conf does not set --frame-subsampling-factor=3")


def _sample_rate_hz(conf: Path) -> int:
    """--sample-frequency of the feature options; Kaldi's default is 16 kHz."""
    match = re.search(r"^--sample-frequency=([\d.]+)", conf.read_text(encoding="utf-8"), re.MULTILINE)
    rate_hz = round(float(match.group(1))) if match else 16000
    if rate_hz not in RATES_HZ:
        raise ConfigError(
            f"{conf} asks for {rate_hz} Hz; the bot can give {' or '.join(map(str, RATES_HZ))} Hz",
            key="asr.model_path",
        )
    return rate_hz


def _words(file: Path) -> frozenset[str]:
    words = set()
    for line in file.read_text(encoding="utf-8").splitlines():
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word and not word.startswith(("<", "#")):
            words.add(word)
    return frozenset(words)
