"""``voicebot tts``: try what a voice says, and measure a voice."""

import json
import sys
import time
import wave
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="plain text, or SSML that starts with <speak")],
    voice: Annotated[
        str, typer.Option(help="a voice, a preset, or both: rms, slt/calm, /urgent")
    ] = "rms",
    play_to: Annotated[Path | None, typer.Option(help="WAV file to write, 8 kHz as on the line")] = None,
    locale: Annotated[str, typer.Option(help="en-US or en-GB")] = "en-US",
    model_path: Annotated[
        Path | None, typer.Option(help="Coqui model directory, for the voice coqui")
    ] = None,
) -> None:
    """Say TEXT as a caller would hear it, and show level, length and time to first audio."""
    from voicebot.audio.active_level import active_speech_level
    from voicebot.audio.g711 import decode_ulaw
    from voicebot.audio.level import peak_dbov
    from voicebot.config.settings import TtsSettings
    from voicebot.core.errors import SynthesisError
    from voicebot.tts.build import BUILT_IN_VOICES, build_renderer
    from voicebot.tts.number_words import Locale
    from voicebot.tts.protocol import PROSODY_PRESETS
    from voicebot.tts.speech_plan import plan_speech

    if locale not in {"en-US", "en-GB"}:
        raise typer.BadParameter(f"{locale} is neither en-US nor en-GB", param_hint="--locale")
    # a renderer would fall back to another voice: right in a call, wrong for who tries a voice
    name, _, preset = voice.partition("/")
    for word, known, kind in (
        (name, (*BUILT_IN_VOICES, "coqui"), "voice"),
        (preset, PROSODY_PRESETS, "preset"),
    ):
        if word and word not in known:
            raise typer.BadParameter(f"there is no {kind} {word!r}; there are {', '.join(known)}")
    known_locale: Locale = "en-GB" if locale == "en-GB" else "en-US"
    try:
        renderer = build_renderer(TtsSettings(cache_bytes=100_000, model_path=model_path))
        asked_s = time.perf_counter()
        pieces, first_ms = [], 0.0
        for piece in renderer.render(text, voice=voice, locale=known_locale):
            first_ms = first_ms or (time.perf_counter() - asked_s) * 1000
            pieces.append(piece)
    except SynthesisError as error:
        print(f"voicebot: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    audio = b"".join(pieces)
    for segment in plan_speech(text, locale=known_locale):
        print(f"  says     {segment.words!r}")
    if not audio:
        print("voicebot: there is not a word in this text", file=sys.stderr)
        raise typer.Exit(1)
    samples = decode_ulaw(audio)
    print(f"  length   {len(audio) / 8000:.2f} s, first audio after {first_ms:.0f} ms")
    level_dbov = active_speech_level(samples).level_dbov
    print(f"  level    {level_dbov:.1f} dBov active, peak {peak_dbov(samples):.1f}")
    if play_to is not None:
        with wave.open(str(play_to), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(samples.astype("<i2").tobytes())
        print(f"  written  {play_to}")


@app.command()
def calibrate(
    voice: Annotated[str, typer.Argument(help="rms, slt, awb, espeak, or coqui with --model-path")],
    plot: Annotated[Path | None, typer.Option(help="SVG of spectra and levels before and after")] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file of profiles to update; a Coqui model keeps its own")
    ] = None,
    model_path: Annotated[Path | None, typer.Option(help="Coqui model directory")] = None,
) -> None:
    """Measure VOICE: its gain and its presence equaliser for the telephone band."""
    from voicebot.core.errors import SynthesisError
    from voicebot.tts.build import open_voice
    from voicebot.tts.calibration import calibrate as measure
    from voicebot.tts.calibration_plot import draw_calibration
    from voicebot.tts.profiles import store_profile

    try:
        result = measure(open_voice(voice, model_path=model_path))
    except SynthesisError as error:
        print(f"voicebot: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    profile = result.profile
    print(f"  voice    {result.voice}")
    print(
        f"  level    engine {result.level_wideband_dbov:.1f}, band alone {result.level_before_dbov:.1f}",
        end="",
    )
    print(f", shaped {result.level_after_dbov:.1f} dBov (target -22), peak {result.peak_after_dbov:.1f}")
    print(f"  gain     {profile.gain_db:+.2f} dB")
    points = zip(profile.presence_hz, profile.presence_db, strict=True)
    print("  presence " + "  ".join(f"{hz:.0f}:{db:+.1f}" for hz, db in points))
    if plot is not None:
        plot.write_text(draw_calibration(result))
        print(f"  plot     {plot}")
    target = out or (model_path / "profiles.json" if model_path else None)
    if target is not None:
        try:
            store_profile(target, result.voice, profile)
        except (OSError, json.JSONDecodeError, SynthesisError) as error:
            print(f"voicebot: {target}: {error}", file=sys.stderr)
            raise typer.Exit(1) from error
        print(f"  stored   {target}")


@app.command()
def voices() -> None:
    """List the voices and whether each can speak here."""
    from voicebot.core.errors import SynthesisError
    from voicebot.tts.build import BUILT_IN_VOICES, open_voice
    from voicebot.tts.protocol import PROSODY_PRESETS

    for name in BUILT_IN_VOICES:
        try:
            open_voice(name)
        except SynthesisError as error:
            print(f"  {name:7} missing: {error}")
        else:
            print(f"  {name:7} ready")
    print(f"  presets: {', '.join(PROSODY_PRESETS)}")
