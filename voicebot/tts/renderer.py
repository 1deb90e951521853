"""From text to G.711, piece by piece: cache, voices in order, deadlines.

    text ─► speech_plan ─► cache? ─► segment by segment:  voice 1 ─✗► voice 2 ─✗► … ─✗► kept prompt
                                                             │
                                                    narrowband chain ─► G.711

A voice fails by an exception, by silence, by no first audio in time, or by falling behind real time; the
next voice then repeats the segment, and a voice that hung is left alone for a while.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import structlog

from voicebot.audio import g711
from voicebot.audio.narrowband import VoiceProfile
from voicebot.core.errors import SynthesisError
from voicebot.tts.cache import CacheKey, CacheStats, PromptCache
from voicebot.tts.lexicon import NO_LEXICON, Lexicon
from voicebot.tts.number_words import Locale
from voicebot.tts.protocol import NEUTRAL, PROSODY_PRESETS, Prosody, Voice
from voicebot.tts.speaking import PlayingTime, SpeakingJob
from voicebot.tts.speaking_slots import SpeakingSlots
from voicebot.tts.speech_plan import Segment, plan_speech
from voicebot.tts.tone import render_tone

Law = Literal["ulaw", "alaw"]

_CACHED_CHUNK_BYTES: Final = 1600
_STALL_S: Final = 0.25
"""How long playing may have waited for a voice that has begun before the next one takes over."""
_SHARE_OF_DEADLINE: Final = 0.5
"""Of the time left, what a voice gets when another one stands behind it."""
_AVOID_S: Final = 10.0
_TICK_S: Final = 0.02
_ALL_FAILED_TONE_MS: Final = 300

_log = structlog.get_logger(__name__)


def never() -> bool:
    """Not cancelled."""
    return False


@dataclass(frozen=True, slots=True)
class ShapedVoice:
    """An engine's voice with what calibration measured of it."""

    voice: Voice
    profile: VoiceProfile


class SpeechRenderer:
    """Renders utterances; one for the whole process, used from any number of threads.

    Args:
        voices: By name; may open its voices when they are first asked for.
        order: Names to try, the first is the default voice.
        deadline_ms: From the call to the first audio, whatever fails.
        cache: Where whole utterances are kept.
        law: What the bytes are.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        voices: Mapping[str, ShapedVoice],
        order: Sequence[str],
        *,
        deadline_ms: int = 700,
        cache: PromptCache | None = None,
        law: Law = "ulaw",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not order:
            raise SynthesisError("no voice is configured")
        self._voices = voices
        self._order = tuple(order)
        self._deadline_s = deadline_ms / 1000.0
        self._cache = cache if cache is not None else PromptCache(0)
        self._law = law
        self._encode = g711.encode_ulaw if law == "ulaw" else g711.encode_alaw
        self._clock = clock
        self._avoid_until_s: dict[str, float] = {}
        self._slots = SpeakingSlots(len(os.sched_getaffinity(0)))
        self._last_resort = self._encode(render_tone(_ALL_FAILED_TONE_MS))
        self._live = 0
        self._live_lock = threading.Lock()

    @property
    def live_renders(self) -> int:
        """Utterances being synthesised now."""
        return self._live

    def render(
        self,
        text: str,
        *,
        voice: str | None = None,
        locale: Locale = "en-US",
        lexicon: Lexicon = NO_LEXICON,
        prosody: Prosody = NEUTRAL,
        cancelled: Callable[[], bool] = never,
        persist: bool = False,
    ) -> Iterator[bytes]:
        """Audio of `text` as G.711 at 8 kHz, in pieces of any length, the first as soon as it is there.

        Blocks the calling thread between pieces. Ends early, without an error, once `cancelled` says so.
        Text without a word gives no pieces.

        Args:
            text: Plain text or an SSML document; digits and symbols are put into words.
            voice: Name of a voice, of a prosody preset, or both, as ``slt``, ``slt/calm``, ``/calm``.
            locale: How numbers and dates are read.
            lexicon: Respellings.
            prosody: On top of a preset in `voice`.
            cancelled: Asked at least every 20 ms.
            persist: Keep the audio in the cache's directory too; never for what a caller told us.

        Raises:
            SynthesisError: Every voice failed; a kept prompt, or a tone, has been yielded all the same.
        """
        name, preset = self._parse_voice(voice)
        segments = plan_speech(text, locale=locale, lexicon=lexicon, prosody=preset * prosody)
        if not segments:
            return
        key = self._key(name, segments)
        audio = self._cache.get(key)
        if audio is not None:
            for start in range(0, len(audio), _CACHED_CHUNK_BYTES):
                if cancelled():
                    return
                yield audio[start : start + _CACHED_CHUNK_BYTES]
            return
        with self._live_lock:
            self._live += 1
        try:
            whole: list[bytes] = []
            as_asked = yield from self._render_fresh(name, segments, whole, cancelled)
            if as_asked:
                self._cache.put(key, b"".join(whole), persist=persist)
        finally:
            with self._live_lock:
                self._live -= 1

    def warm(
        self, texts: Sequence[str], *, voice: str | None = None, cancelled: Callable[[], bool] = never
    ) -> int:
        """Render fixed `texts` into the cache and its directory; returns how many are there.

        One that no voice can say is logged and left out. In the background: `warming.PromptWarmer`.
        """
        done = 0
        for text in texts:
            try:
                for _ in self.render(text, voice=voice, cancelled=cancelled, persist=True):
                    pass
            except SynthesisError as error:
                _log.warning("prompt_not_rendered", reason=str(error))
            else:
                done += not cancelled()
        return done

    def keep_last_resort(self, text: str) -> None:
        """Render what is played when every voice fails; until then, and if this fails, it is a tone."""
        try:
            self._last_resort = b"".join(self.render(text))
        except SynthesisError as error:
            _log.warning("last_resort_is_a_tone", reason=str(error))

    def cache_stats(self) -> CacheStats:
        """What the cache holds and how often it was of use."""
        return self._cache.stats()

    def _parse_voice(self, voice: str | None) -> tuple[str, Prosody]:
        name, _, preset = (voice or "").partition("/")
        if preset not in PROSODY_PRESETS and preset:
            _log.warning("unknown_prosody_preset", preset=preset, known=sorted(PROSODY_PRESETS))
        return name or self._order[0], PROSODY_PRESETS.get(preset, NEUTRAL)

    def _key(self, name: str, segments: tuple[Segment, ...]) -> CacheKey:
        try:
            profile = repr(self._open(name).profile)
        except SynthesisError:
            profile = ""
        return CacheKey(repr(segments), name, profile, self._law)

    def _render_fresh(
        self,
        asked: str,
        segments: tuple[Segment, ...],
        whole: list[bytes],
        cancelled: Callable[[], bool],
    ) -> Generator[bytes, None, bool]:
        """Returns whether all of it is there and in the voice that was asked for."""
        playing = PlayingTime(self._clock, self._deadline_s)
        names = list(dict.fromkeys((asked, *self._order)))
        as_asked = True
        for segment in segments:
            if segment.words:
                spoken_by = yield from self._speak_by_any(names, segment, playing, whole, cancelled)
                as_asked = as_asked and spoken_by == asked
            if cancelled():
                return False
            if segment.pause_ms:
                pause = self._encode(np.zeros(segment.pause_ms * g711.SAMPLE_RATE_HZ // 1000, np.int16))
                whole.append(pause)
                playing.add(len(pause))
                yield pause
        return as_asked

    def _speak_by_any(
        self,
        names: list[str],
        segment: Segment,
        playing: PlayingTime,
        whole: list[bytes],
        cancelled: Callable[[], bool],
    ) -> Generator[bytes, None, str]:
        """Returns the name of the voice that spoke; failing ones are taken out of `names`."""
        while names:
            name = self._next_voice(names)
            try:
                for piece in self._speak(name, segment, playing, len(names) == 1, cancelled):
                    whole.append(piece)
                    yield piece
            except SynthesisError as error:
                _log.warning(
                    "voice_failed", voice=name, reason=str(error), text_characters=len(segment.words)
                )
                names.remove(name)
            else:
                return name
        yield self._last_resort
        raise SynthesisError("every voice failed; the last resort was played instead")

    def _next_voice(self, names: list[str]) -> str:
        now_s = self._clock()
        return next((n for n in names if self._avoid_until_s.get(n, 0.0) <= now_s), names[0])

    def _speak(
        self,
        name: str,
        segment: Segment,
        playing: PlayingTime,
        last: bool,
        cancelled: Callable[[], bool],
    ) -> Iterator[bytes]:
        shaped = self._open(name)
        playing.begin_voice()
        allowed_s = playing.time_left_s() * (1.0 if last else _SHARE_OF_DEADLINE)
        job = SpeakingJob(shaped.voice, shaped.profile, segment, self._slots, playing)
        heard = False
        try:
            while not cancelled():
                try:
                    piece = job.pieces.get(timeout=_TICK_S)
                except queue.Empty:
                    now_s, running_since_s = self._clock(), job.running_since_s
                    if running_since_s is None:
                        continue
                    behind = now_s > max(playing.until_s, running_since_s) + _STALL_S
                    if behind if heard else now_s > running_since_s + allowed_s:
                        self._avoid_until_s[name] = now_s + _AVOID_S
                        raise SynthesisError("fell behind" if heard else "no audio in time") from None
                    continue
                if isinstance(piece, BaseException):
                    raise SynthesisError(f"{type(piece).__name__}: {piece}") from piece
                if piece is None:
                    if not heard:
                        raise SynthesisError("produced only silence")
                    return
                if piece.size:
                    heard = True
                    playing.add(piece.size)
                    yield self._encode(piece)
        finally:
            job.stop()

    def _open(self, name: str) -> ShapedVoice:
        try:
            return self._voices[name]
        except KeyError:
            raise SynthesisError(f"there is no voice {name!r}") from None
