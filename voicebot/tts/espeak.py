"""espeak-ng as the last resort: always a child process, because it is GPL-3 and has one global state.

Debian's ``espeak-ng`` is used where it is installed, else PyPI's ``espeakng-loader`` in a child Python.
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import Final

import numpy as np
import structlog

from voicebot.core.errors import SynthesisError
from voicebot.tts.protocol import NEUTRAL, Prosody, Sink

SAMPLE_RATE_HZ: Final = 22050
_WAV_HEADER_BYTES: Final = 44
_READ_BYTES: Final = 2048
_WORDS_PER_MINUTE: Final = 175
_PITCH: Final = 50
"""espeak-ng's own default on its scale of 0 to 99."""
_EXIT_DEADLINE_S: Final = 1.0
_MISSING: Final = (
    "espeak-ng is not installed: apt-get install espeak-ng, "
    "or pip install 'voicebot[espeak]' for PyPI's espeakng-loader"
)

_log = structlog.get_logger(__name__)


class EspeakVoice:
    """espeak-ng, one child process per utterance.

    Args:
        language: An espeak-ng voice name.

    Raises:
        SynthesisError: Neither the program nor the package is installed; the message says what to do.
    """

    name = "espeak"
    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, language: str = "en-us") -> None:
        program = shutil.which("espeak-ng")
        if program is not None:
            self._command = [program, "-v", language, "--stdin", "--stdout"]
            self._skip_bytes = _WAV_HEADER_BYTES
        elif find_spec("espeakng_loader") is not None:
            _log.warning(
                "espeak_from_pypi", hint="speech is poor; apt-get install libflite1 for the real voice"
            )
            self._command = [sys.executable, "-m", "voicebot.tts.espeak_child", "-v", language]
            self._skip_bytes = 0
        else:
            raise SynthesisError(_MISSING)

    def synthesize(self, text: str, sink: Sink, prosody: Prosody = NEUTRAL) -> None:
        """Speak `text` into `sink`; see `Voice`."""
        try:
            child = subprocess.Popen(  # noqa: S603  a fixed program; the text goes to its input, not its arguments
                [
                    *self._command,
                    "-s",
                    f"{_WORDS_PER_MINUTE * prosody.rate:.0f}",
                    "-p",
                    _pitch(prosody.pitch),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise SynthesisError(f"espeak-ng could not be started: {error}") from error
        with child:
            try:
                given = self._stream(child, text, sink)
            except BrokenPipeError as error:
                raise SynthesisError("espeak-ng ended before it read the text") from error
            finally:
                child.kill()
        if given == 0:
            raise SynthesisError("espeak-ng produced no audio")

    def _stream(self, child: "subprocess.Popen[bytes]", text: str, sink: Sink) -> int:
        if child.stdin is None or child.stdout is None:
            raise SynthesisError("espeak-ng was started without pipes")
        child.stdin.write(text.encode())
        child.stdin.close()
        skip, odd, given = self._skip_bytes, b"", 0
        # read1 returns what is there: no waiting for a full buffer.
        while data := child.stdout.read1(_READ_BYTES):  # type: ignore[attr-defined]  # a BufferedReader
            cut = min(skip, len(data))
            skip -= cut
            data = odd + data[cut:]
            whole = len(data) // 2 * 2
            odd = data[whole:]
            samples = np.frombuffer(data[:whole], "<i2").astype(np.int16)
            given += samples.size
            if not sink(samples):
                return given
        if child.wait(_EXIT_DEADLINE_S) != 0:
            raise SynthesisError(f"espeak-ng failed with exit status {child.returncode}")
        return given


def _pitch(factor: float) -> str:
    # Measured: 20 steps of espeak-ng's scale are about a fifth in frequency.
    return str(min(99, max(0, round(_PITCH + 100 * (factor - 1.0)))))
