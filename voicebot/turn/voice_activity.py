"""Voice activity by Silero VAD at the line's own 8 kHz, run by onnxruntime without torch.

    int16, any length ─► windows of 256 samples, each with the 32 before it ─► probability of speech
                                         └─► for 1.3 s weaker than any voice: the same again

A call is silent for most of its time, and a window costs as much processor time as all else that is
done with its 32 ms. After 1.3 s of quiet the model has come to rest: it is asked again when there is
something to hear. It then hears a voice no later than if it had been asked all the time: on the mean of
12 clips after 4 to 20 s 6 to 36 ms sooner, because long quiet makes it slow.

The model file comes out of the `silero-vad` wheel by path: importing that package would import torch.
"""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voicebot.core.errors import EngineError

Samples = NDArray[np.int16]

SAMPLE_RATE_HZ: Final = 8000
WINDOW_SAMPLES: Final = 256
CONTEXT_SAMPLES: Final = 32
QUIET_DBOV: Final = -65.0
_SETTLED_WINDOWS: Final = 40
_RESTING_PROBABILITY: Final = 0.1
_MODEL_FILE: Final = "silero_vad.onnx"
_RATE_INPUT: Final = np.array(SAMPLE_RATE_HZ, np.int64)


@dataclass(frozen=True, slots=True)
class VadWindow:
    """The answer for one 32 ms window."""

    probability: float
    """Probability of speech, 0 to 1."""
    end_sample: int
    """Stream position just after the window's last sample, counted from the first sample fed."""


class VoiceActivityDetector(Protocol):
    """What the turn loop asks of a voice activity detector: one instance per call and stream."""

    def feed(self, pcm: Samples) -> list[VadWindow]:
        """Add int16 samples at 8 kHz, shape (n,), any n; one answer per window that became complete."""
        ...

    def reset(self) -> None:
        """Forget what was heard (the stream position too)."""
        ...


class VoiceActivity:
    """Silero VAD for one stream of one call; the model is loaded once per process and shared.

    Args:
        model_path: The model file; by default the one in the installed `silero-vad` wheel.
        quiet_dbov: Windows weaker than this are not looked at once the quiet has lasted for 40 of them.

    Raises:
        EngineError: The wheel or its model file is missing or cannot be loaded.
    """

    def __init__(self, model_path: Path | None = None, quiet_dbov: float = QUIET_DBOV) -> None:
        self._session = _load(str(model_path or find_model()))
        self._quiet_energy = WINDOW_SAMPLES * 10.0 ** (quiet_dbov / 10.0)
        self._quiet_windows = 0
        self._probability = 1.0
        self._state = np.zeros((2, 1, 128), np.float32)
        self._pending = np.zeros(CONTEXT_SAMPLES, np.float32)
        self._end_sample = 0

    def feed(self, pcm: Samples) -> list[VadWindow]:
        """Add int16 samples at 8 kHz, shape (n,), any n; one answer per window that became complete."""
        self._pending = np.concatenate((self._pending, pcm.astype(np.float32) / np.float32(32768.0)))
        windows = []
        while self._pending.size >= CONTEXT_SAMPLES + WINDOW_SAMPLES:
            chunk = self._pending[: CONTEXT_SAMPLES + WINDOW_SAMPLES]
            if not self._at_rest(chunk[CONTEXT_SAMPLES:]):
                output, self._state = self._session.run(
                    None, {"input": chunk[np.newaxis], "state": self._state, "sr": _RATE_INPUT}
                )
                self._probability = float(output[0, 0])
            self._pending = self._pending[WINDOW_SAMPLES:]
            self._end_sample += WINDOW_SAMPLES
            windows.append(VadWindow(self._probability, self._end_sample))
        return windows

    def _at_rest(self, window: NDArray[np.float32]) -> bool:
        """Whether the model would say again what it said last."""
        if float(np.dot(window, window)) >= self._quiet_energy:
            self._quiet_windows = 0
            return False
        self._quiet_windows += 1
        settled = self._quiet_windows > _SETTLED_WINDOWS
        return settled and self._probability < _RESTING_PROBABILITY

    def reset(self) -> None:
        """Forget what was heard (the stream position too)."""
        self._state = np.zeros((2, 1, 128), np.float32)
        self._pending = np.zeros(CONTEXT_SAMPLES, np.float32)
        self._end_sample = 0
        self._quiet_windows = 0
        self._probability = 1.0


class ScriptedVoiceActivity:
    """A fake for tests: hears speech exactly where the script says, on the same window grid.

    Args:
        speech_samples: Half-open ranges of stream positions that count as speech.
        speech_probability: Answer for a window of which at least half is speech.
        silence_probability: Answer for every other window.
    """

    def __init__(
        self,
        speech_samples: Iterable[tuple[int, int]] = (),
        *,
        speech_probability: float = 0.95,
        silence_probability: float = 0.02,
    ) -> None:
        self._speech = tuple(speech_samples)
        self._speech_probability = speech_probability
        self._silence_probability = silence_probability
        self._fed = 0
        self._end_sample = 0

    def feed(self, pcm: Samples) -> list[VadWindow]:
        """Count samples, shape (n,), any n; one scripted answer for each window that became complete."""
        self._fed += pcm.size
        windows = []
        while self._fed - self._end_sample >= WINDOW_SAMPLES:
            start, self._end_sample = self._end_sample, self._end_sample + WINDOW_SAMPLES
            spoken = sum(
                max(0, min(end, self._end_sample) - max(begin, start)) for begin, end in self._speech
            )
            heard = spoken * 2 >= WINDOW_SAMPLES
            windows.append(
                VadWindow(
                    self._speech_probability if heard else self._silence_probability, self._end_sample
                )
            )
        return windows

    def reset(self) -> None:
        """Start the script again from position 0."""
        self._fed = 0
        self._end_sample = 0


def find_model() -> Path:
    """Path of the model file inside the installed `silero-vad` wheel.

    Raises:
        EngineError: The wheel is not installed, or has no such file.
    """
    spec = importlib.util.find_spec("silero_vad")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise EngineError(
            "voice activity needs the model in the silero-vad package, which is not installed: "
            "run `make setup` or `uv pip install --no-deps silero-vad==6.2.3`"
        )
    path = Path(folders[0]) / "data" / _MODEL_FILE
    if not path.is_file():
        raise EngineError(
            f"the installed silero-vad package has no data/{_MODEL_FILE}: "
            "reinstall it with `uv pip install --no-deps --reinstall silero-vad==6.2.3`"
        )
    return path


@lru_cache(maxsize=4)
def _load(path: str) -> Any:
    options = onnxruntime.SessionOptions()
    # A window costs 0.1 ms on one thread; more threads only take cores from other calls.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # the model's unused initialisers are no news
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many unrelated classes
        raise EngineError(f"voice activity model {Path(path).name} cannot be loaded: {error}") from error
