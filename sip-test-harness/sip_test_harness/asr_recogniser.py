"""A recogniser under test: any program that reads requests and writes answers, a JSON line each.

The first line that it writes says what it is (``{"engine": "..."}``). A request has ``id``, ``pcm``
(base64 of mono 8 kHz int16), ``kind``, ``grammar`` or ``phrases``, and ``lost`` (packets of 20 ms to
conceal); an answer has ``id``, ``text``, ``confidence``, ``partials`` (``text``, ``audio_ms``),
``audio_ms``, ``cpu_ms``, ``final_ms`` and ``error``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shlex
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from sip_test_harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

DEFAULT_COMMAND: Final = "voicebot asr answer"
_ENDED_S: Final = 10.0


class RecogniserError(HarnessError):
    """The program under test ended, refused a request or answered something else."""


@dataclass(frozen=True)
class Heard:
    """An answer."""

    text: str
    confidence: float
    partials: tuple[tuple[str, float], ...]
    audio_ms: float
    cpu_ms: float
    final_ms: float


class RecogniserProgram:
    """Runs the program and asks it; a context manager.

    Args:
        command: program and arguments.
        answer_limit_s: an answer that takes longer ends the measurement.
    """

    def __init__(self, command: str = DEFAULT_COMMAND, *, answer_limit_s: float = 120.0) -> None:
        self.engine = ""
        self._words = shlex.split(command)
        self._limit_s = answer_limit_s
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the program the user asked to measure
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise UsageError(f"cannot start {self._words[0]!r}: {error}") from error
        try:
            self.engine = str(self._read().get("engine", ""))
        except RecogniserError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_ENDED_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def hear(
        self,
        samples: NDArray[np.int16],
        *,
        kind: str = "free",
        grammar: Sequence[str] | None = None,
        phrases: Sequence[str] = (),
        lost: Sequence[int] = (),
    ) -> Heard:
        """Return what the program understands.

        Raises:
            RecogniserError: it ended, took too long, or refused.
        """
        self._count += 1
        request: dict[str, Any] = {
            "id": str(self._count),
            "pcm": base64.b64encode(samples.astype("<i2").tobytes()).decode(),
            "kind": kind,
            "phrases": list(phrases),
            "lost": list(lost),
        }
        if grammar is not None:
            request["grammar"] = list(grammar)
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RecogniserError("the recogniser has ended") from error
        answer = self._read()
        if answer.get("error") or answer.get("id") != request["id"]:
            raise RecogniserError(f"the recogniser refused a request: {answer.get('error')}")
        try:
            return Heard(
                text=str(answer["text"]),
                confidence=float(answer["confidence"]),
                partials=tuple((str(p["text"]), float(p["audio_ms"])) for p in answer["partials"]),
                audio_ms=float(answer["audio_ms"]),
                cpu_ms=float(answer["cpu_ms"]),
                final_ms=float(answer["final_ms"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecogniserError(f"the recogniser's answer lacks {error}") from error

    def _read(self) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        # A program that hangs is ended, so that reading from it ends too.
        watchdog = threading.Timer(self._limit_s, process.kill)
        watchdog.start()
        try:
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise RecogniserError("the recogniser ended or did not answer in time")
        try:
            found = json.loads(line)
        except ValueError as error:
            raise RecogniserError(f"the recogniser wrote no JSON: {line[:80]!r}") from error
        if not isinstance(found, dict):
            raise RecogniserError(f"the recogniser wrote no JSON object: {line[:80]!r}")
        return found
