"""Puts a renderer together from settings; voices open when they are first asked for, then stay open."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from voicebot.config.settings import TtsSettings
from voicebot.core.errors import SynthesisError
from voicebot.tts.cache import PromptCache
from voicebot.tts.coqui import CoquiVoice
from voicebot.tts.espeak import EspeakVoice
from voicebot.tts.flite import VOICES as FLITE_VOICES
from voicebot.tts.flite import FliteVoice
from voicebot.tts.profiles import load_profile
from voicebot.tts.protocol import Voice
from voicebot.tts.renderer import Law, ShapedVoice, SpeechRenderer
from voicebot.tts.repeatable import RepeatableVoice
from voicebot.tts.tone import ToneVoice

Opener = Callable[[], Voice]

ACKNOWLEDGEMENT: Final = "One moment."
"""Always in the cache."""
LAST_RESORT: Final = "I am sorry, there is a technical problem."
"""Played when every voice fails."""
BUILT_IN_VOICES: Final = (*FLITE_VOICES, "espeak", "tone")


class VoiceShelf(Mapping[str, ShapedVoice]):
    """Voices by name. Looking one up opens it once; one that cannot open raises each time.

    Args:
        openers: What opens each voice.
        model_path: Where the profile of the voice ``coqui`` may lie.
    """

    def __init__(self, openers: Mapping[str, Opener], model_path: Path | None = None) -> None:
        self._openers = dict(openers)
        self._model_path = model_path
        self._open: dict[str, ShapedVoice] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> ShapedVoice:
        """The voice, opened.

        Raises:
            KeyError: No voice of that name.
            SynthesisError: Its engine is not installed or does not load.
        """
        with self._lock:
            if name not in self._open:
                voice = self._openers[name]()
                self._open[name] = ShapedVoice(voice, load_profile(name, self._model_path))
            return self._open[name]

    def __iter__(self) -> Iterator[str]:
        """Names."""
        return iter(self._openers)

    def __len__(self) -> int:
        """How many names."""
        return len(self._openers)


def open_voice(name: str, *, model_path: Path | None = None, tone_delay_ms: int = 0) -> Voice:
    """Open one voice.

    Raises:
        SynthesisError: No such voice, or its engine is not there; says what to install.
    """
    if name in FLITE_VOICES:
        return FliteVoice(name)
    if name == "espeak":
        return EspeakVoice()
    if name == "tone":
        return ToneVoice(tone_delay_ms)
    if name == "coqui":
        if model_path is None:
            raise SynthesisError("the voice coqui needs tts.model_path, the directory of a Coqui model")
        return CoquiVoice(model_path)
    raise SynthesisError(f"there is no voice {name!r}; there are {', '.join(BUILT_IN_VOICES)} and coqui")


def build_renderer(
    settings: TtsSettings,
    *,
    law: Law = "ulaw",
    cache_dir: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
    repeatable: bool = False,
) -> SpeechRenderer:
    """The renderer of this process; opens the default voice, so that a missing one shows at start.

    Args:
        settings: Engine, voices, deadline, cache size.
        law: What the audio is.
        cache_dir: Where fixed prompts are kept over a restart; None: in memory only.
        clock: Monotonic seconds, by which slow voices are found.
        repeatable: Say a text with the same samples each time; not for live calls.

    Raises:
        SynthesisError: Neither the default voice nor any fallback can be opened; says what to install.
    """
    names = (*BUILT_IN_VOICES, "coqui")
    openers = {name: _opener(name, settings, repeatable=repeatable) for name in names}
    shelf = VoiceShelf(openers, settings.model_path)
    order = voice_order(settings)
    problems = []
    for name in order:
        try:
            shelf[name]
        except SynthesisError as error:
            problems.append(str(error))
        else:
            break
    else:
        raise SynthesisError("no voice can speak: " + "; ".join(problems))
    cache = PromptCache(settings.cache_bytes, cache_dir)
    renderer = SpeechRenderer(
        shelf, order, deadline_ms=settings.deadline_ms, cache=cache, law=law, clock=clock
    )
    # The first utterance of a process pays for imports and filter design: let it be this one.
    renderer.warm([ACKNOWLEDGEMENT])
    renderer.keep_last_resort(LAST_RESORT)
    return renderer


def voice_order(settings: TtsSettings) -> tuple[str, ...]:
    """Names to try, default first: the configured voice, then each fallback engine's first voice."""
    first = settings.voice if settings.engine == "flite" else settings.engine
    fallback = (FLITE_VOICES[0] if engine == "flite" else engine for engine in settings.fallback)
    return tuple(dict.fromkeys((first, *fallback)))


def _opener(name: str, settings: TtsSettings, *, repeatable: bool) -> Opener:
    def opened() -> Voice:
        voice = open_voice(name, model_path=settings.model_path, tone_delay_ms=settings.tone_delay_ms)
        return RepeatableVoice(voice) if repeatable else voice

    return opened
