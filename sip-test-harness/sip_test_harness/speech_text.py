"""Words of a script that have no recording: spoken by a synthesiser of the system."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sip_test_harness.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIMIT_S = 30.0
MAX_TEXT_CHARS = 1000


@functools.lru_cache(maxsize=256)
def speak_text(text: str) -> NDArray[np.int16]:
    """Return 8 kHz samples of a text, by ``flite`` or ``espeak-ng``, whichever is installed.

    Raises:
        UsageError: neither is installed, or it failed.
    """
    if not text.strip() or len(text) > MAX_TEXT_CHARS:
        raise UsageError(f"1 to {MAX_TEXT_CHARS} characters expected")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        words = Path(folder) / "speech.txt"
        # Through a file: a text that begins with a dash is no option.
        words.write_text(text, "utf-8")
        if shutil.which("flite"):
            command = ["flite", "-voice", "slt", "-f", str(words), "-o", str(path)]
        elif shutil.which("espeak-ng"):
            command = ["espeak-ng", "-v", "en-us", "-s", "150", "-f", str(words), "-w", str(path)]
        else:
            raise UsageError("a 'text' turn needs the Debian package flite or espeak-ng")
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)  # noqa: S603 - fixed program, text in a file
            with wave.open(str(path), "rb") as file:
                rate = file.getframerate()
                sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        except (subprocess.SubprocessError, OSError, wave.Error, EOFError) as error:
            raise UsageError(f"{command[0]} could not speak {text[:40]!r}: {error}") from error
    if rate != 8000:
        from scipy.signal import resample_poly  # noqa: PLC0415 - scipy takes a second to load

        sound = np.clip(np.rint(resample_poly(sound.astype(np.float64), 8000, rate)), -32768, 32767)
    return sound.astype(np.int16)
