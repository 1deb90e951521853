"""``voicebot asr``: try the recogniser on recordings, or let another program measure it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from voicebot.core.errors import ConfigError, RecognitionError

app = typer.Typer(no_args_is_help=True)

ModelOption = Annotated[Path | None, typer.Option("--model", help="Vosk model directory.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="YAML settings file.")]


def _factory(config: Path | None, model: Path | None) -> Any:
    from voicebot.asr.build import build_factory
    from voicebot.config.load import load_settings

    try:
        settings = load_settings(config).asr
        if model is not None:
            settings = settings.model_copy(update={"engine": "vosk", "model_path": model})
        return build_factory(settings)
    except ConfigError as error:
        print(f"voicebot: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


def _samples(path: Path) -> Any:
    import wave

    import numpy as np

    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getframerate(), file.getsampwidth()) != (1, 8000, 2):
            raise RecognitionError(f"{path} is not mono 8 kHz with 16 bits")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)


@app.command()
def transcribe(
    recordings: Annotated[list[Path], typer.Argument(help="WAV files, mono, 8 kHz, 16 bit.")],
    grammar: Annotated[
        str, typer.Option("--grammar", "-g", help="Phrases that may be said, divided by commas.")
    ] = "",
    kind: Annotated[
        str, typer.Option("--kind", "-k", help="Kind of answer: digits, yes_no, date, ... or free.")
    ] = "free",
    model: ModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Print what the recogniser hears in recordings, with confidence, words and other readings."""
    import wave

    import msgspec

    from voicebot.asr.grammar import grammar_for
    from voicebot.asr.transcribing import transcribe as hear
    from voicebot.core.expectation import Expectation

    factory = _factory(config, model)
    phrases = [phrase.strip() for phrase in grammar.split(",") if phrase.strip()]
    try:
        expectation = msgspec.convert({"kind": kind, "phrases": phrases}, Expectation)
        for path in recordings:
            found = hear(factory, _samples(path), grammar=grammar_for(expectation), kind=kind)
            print(f"{path.name}: {found.text or '(nothing)'}   confidence {found.confidence:.2f}")
            for word in found.words:
                print(f"  {word.start_ms / 1000:6.2f} s  {word.word}  {word.confidence:.2f}")
            for other in found.alternatives:
                print(f"  or: {other.text or '(nothing)'}  {other.confidence:.2f}")
    except (RecognitionError, msgspec.ValidationError, wave.Error, OSError) as error:
        print(f"voicebot: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


@app.command()
def answer(model: ModelOption = None, config: ConfigOption = None) -> None:
    """Answer requests: JSON lines on standard input, JSON lines on standard output.

    The first line out names the engine. docs/speech-recognition.md describes both lines.
    """
    import msgspec

    from voicebot.asr.transcribing import answer_requests

    factory = _factory(config, model)
    out = sys.stdout.buffer
    out.write(msgspec.json.encode({"engine": factory.description}) + b"\n")
    out.flush()
    for transcript in answer_requests(factory, sys.stdin.buffer):
        out.write(msgspec.json.encode(transcript) + b"\n")
        out.flush()
