"""One recording recognised as a call would be: 20 ms at a time, lost packets concealed.

Answers JSON lines, so that another program (``sip-test-harness asr``) can measure the recogniser
without knowing anything of the bot.
"""

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from voicebot.asr.grammar import grammar_for
from voicebot.asr.protocol import SAMPLE_RATE_HZ, Alternative, RecogniserFactory, Word
from voicebot.audio.concealment import FRAME_SAMPLES, Concealer
from voicebot.core.errors import RecognitionError
from voicebot.core.expectation import Expectation, ExpectedKind

MAX_AUDIO_S: Final = 120


class TranscribeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of input.

    Attributes:
        id: Comes back in the answer.
        pcm: Base64 of mono 8 kHz int16, little-endian, at most 120 s.
        grammar: Every phrase that may be said; None: what the bot itself would take for ``kind``.
        kind: What kind of answer is expected, an `Expectation.kind`; "free" for no grammar.
        phrases: What may be said besides, where ``grammar`` is None.
        lost: Numbers of the 20 ms packets that never came, from 0; their audio is not looked at.
    """

    id: str
    pcm: str
    grammar: list[str] | None = None
    kind: str = "free"
    phrases: list[str] = []
    lost: list[int] = []


class PartialText(msgspec.Struct, frozen=True):
    """A partial hypothesis, and after how much audio it came, in milliseconds."""

    text: str
    audio_ms: int


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """One line of output.

    Attributes:
        id: Of the request.
        text: What was understood.
        confidence: As `Hypothesis.confidence`.
        words: With times in milliseconds.
        alternatives: Other readings.
        margin: As `Hypothesis.margin`.
        partials: Each text that stood for a while.
        audio_ms: Length of the recording.
        cpu_ms: Processor time of all of it.
        final_ms: Of that, from the commit to the final result.
        error: A sentence when the request could not be served; all else is then empty.
    """

    id: str
    text: str = ""
    confidence: float = 0.0
    words: tuple[Word, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    margin: float | None = None
    partials: tuple[PartialText, ...] = ()
    audio_ms: int = 0
    cpu_ms: float = 0.0
    final_ms: float = 0.0
    error: str = ""


def transcribe(
    factory: RecogniserFactory,
    samples: NDArray[np.int16],
    *,
    request_id: str = "",
    grammar: Sequence[str] | None = None,
    kind: str = "free",
    lost: Iterable[int] = (),
    cpu_s: Callable[[], float] = time.process_time,
) -> Transcript:
    """Recognise a recording in packets of 20 ms.

    Args:
        factory: The engine.
        samples: Mono 8 kHz, int16 (n,).
        request_id: Comes back in the answer.
        grammar: As `RecogniserFactory.start`.
        kind: As `RecogniserFactory.start`.
        lost: Packets to conceal, as the edge would.
        cpu_s: Clock of the processor time.

    Raises:
        RecognitionError: A malformed grammar.
    """
    missing, concealer = frozenset(lost), Concealer()
    recogniser = factory.start(grammar, kind)
    partials: list[PartialText] = []
    began_s = cpu_s()
    try:
        for number, start in enumerate(range(0, len(samples), FRAME_SAMPLES)):
            packet = samples[start : start + FRAME_SAMPLES]
            if missing and len(packet) == FRAME_SAMPLES:
                packet = concealer.lost() if number in missing else concealer.good(packet)
            hypothesis = recogniser.accept(packet)
            if hypothesis is not None:
                partials.append(PartialText(hypothesis.text, hypothesis.audio_ms))
        committed_s = cpu_s()
        final = recogniser.finish()
        done_s = cpu_s()
    finally:
        recogniser.close()
    return Transcript(
        id=request_id,
        text=final.text,
        confidence=final.confidence,
        words=final.words,
        alternatives=final.alternatives,
        margin=final.margin,
        partials=tuple(partials),
        audio_ms=final.audio_ms,
        cpu_ms=round((done_s - began_s) * 1000, 2),
        final_ms=round((done_s - committed_s) * 1000, 2),
    )


def answer_requests(factory: RecogniserFactory, lines: Iterable[bytes]) -> Iterator[Transcript]:
    """Serve one request per line; a bad one gets an answer with ``error`` and the next is served."""
    decoder = msgspec.json.Decoder(TranscribeRequest)
    for line in lines:
        if not line.strip():
            continue
        request_id = ""
        try:
            request = decoder.decode(line)
            request_id = request.id
            yield _answer(factory, request)
        except (msgspec.DecodeError, ValueError, RecognitionError) as error:
            yield Transcript(id=request_id, error=str(error))


def _answer(factory: RecogniserFactory, request: TranscribeRequest) -> Transcript:
    data = base64.b64decode(request.pcm, validate=True)
    if len(data) % 2 or len(data) > MAX_AUDIO_S * SAMPLE_RATE_HZ * 2:
        raise RecognitionError(f"pcm must be 16-bit samples, at most {MAX_AUDIO_S} s")
    if request.kind not in get_args(ExpectedKind):
        raise RecognitionError(
            f"unknown kind {request.kind!r}: one of {', '.join(get_args(ExpectedKind))}"
        )
    grammar: Sequence[str] | None = request.grammar
    if grammar is None and request.kind != "free":
        expectation = msgspec.convert({"kind": request.kind, "phrases": request.phrases}, Expectation)
        grammar = grammar_for(expectation)
    samples = np.frombuffer(data, "<i2").astype(np.int16, copy=False)
    return transcribe(
        factory,
        samples,
        request_id=request.id,
        grammar=grammar,
        kind=request.kind,
        lost=request.lost,
    )
