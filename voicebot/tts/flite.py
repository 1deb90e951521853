"""Flite's voices in this process, by ctypes: audio after 13 to 19 ms of CPU, stopped within a callback.

The streaming callback is a feature of each *utterance* here, not of the voice as in flite's examples, so
that several threads can speak with one voice at the same time.
"""

import ctypes
import threading
from functools import cache
from typing import Any, Final

import numpy as np

from voicebot.core.errors import SynthesisError
from voicebot.tts.pitch import PitchShift
from voicebot.tts.protocol import NEUTRAL, Prosody, Sink

VOICES: Final = ("rms", "slt", "awb")
SAMPLE_RATE_HZ: Final = 16000
_LIBRARY: Final = "libflite.so.1"
_CHUNK_SAMPLES: Final = 256
_CONTINUE: Final = 0
_STOP: Final = -1
_WITHOUT_PITCH: Final = frozenset({"rms"})
"""Voices whose pitch model takes no shift."""
_INSTALL: Final = "install Flite (apt-get install libflite1) or choose another tts.engine"


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


# int (const cst_wave *wave, int start, int size, int last, cst_audio_streaming_info *)
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Wave), ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
)


class _StreamingInfo(ctypes.Structure):
    _fields_ = (
        ("min_buffsize", ctypes.c_int),
        ("callback", _Callback),
        ("userdata", ctypes.c_void_p),
        ("utterance", ctypes.c_void_p),
        ("item", ctypes.c_void_p),
    )


class _UtteranceHead(ctypes.Structure):
    _fields_ = (("features", ctypes.c_void_p),)


class FliteVoice:
    """One voice of Flite 2.

    Args:
        name: ``rms`` (default voice, male), ``slt`` (female) or ``awb`` (Scottish).

    Raises:
        SynthesisError: Flite or the voice is not installed; the message says what to do.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, name: str = "rms") -> None:
        if name not in VOICES:
            raise SynthesisError(f"Flite has no voice {name!r}; there are {', '.join(VOICES)}")
        self.name = name
        self._flite = _load_flite()
        self._voice = _register(name)

    def synthesize(self, text: str, sink: Sink, prosody: Prosody = NEUTRAL) -> None:
        """Speak `text` into `sink`; see `Voice`."""
        if self.name not in _WITHOUT_PITCH or prosody.pitch == 1.0:
            self._stream(text, sink, 1.0 / prosody.rate, prosody.pitch)
            return
        shift = PitchShift(prosody.pitch, SAMPLE_RATE_HZ, sink)
        if self._stream(text, shift, shift.rate_factor / prosody.rate, 1.0):
            shift.finish()

    def _stream(self, text: str, sink: Sink, stretch: float, pitch: float) -> bool:
        """Returns False when the sink stopped it."""
        stopped = False
        failure: list[BaseException] = []
        samples_given = 0

        def on_audio(wave: Any, start: int, size: int, _last: int, _info: int | None) -> int:
            nonlocal samples_given, stopped
            try:
                if size <= 0:
                    return _CONTINUE
                address = ctypes.addressof(wave.contents.samples.contents) + 2 * start
                # A copy: flite frees the wave when the utterance ends.
                samples = np.frombuffer(ctypes.string_at(address, 2 * size), np.int16)
                samples_given += size
                stopped = not sink(samples)
            except BaseException as error:  # noqa: BLE001  ctypes would swallow it and flite go on
                failure.append(error)
                return _STOP
            return _STOP if stopped else _CONTINUE

        callback = _Callback(on_audio)
        spoken = self._speak(text, callback, stretch, pitch)
        if failure:
            raise failure[0]
        if not spoken:
            raise SynthesisError(
                f"Flite's voice {self.name} made no utterance of {len(text)} characters"
            )
        if samples_given == 0:
            raise SynthesisError(f"Flite's voice {self.name} produced no audio")
        return not stopped

    def _speak(self, text: str, callback: Any, stretch: float, pitch: float) -> bool:
        flite = self._flite
        utterance = flite.new_utterance()
        if not utterance:
            return False
        # NUL would end the C string early.
        flite.utt_set_input_text(utterance, text.replace("\0", " ").encode("ascii", "ignore"))
        info = flite.new_audio_streaming_info()
        info.contents.min_buffsize = _CHUNK_SAMPLES
        info.contents.callback = callback
        features = ctypes.cast(utterance, ctypes.POINTER(_UtteranceHead)).contents.features
        # The utterance owns the streaming info from here on and frees it with itself.
        flite.feat_set(features, b"streaming_info", flite.audio_streaming_info_val(info))
        flite.feat_set_float(features, b"duration_stretch", stretch)
        flite.feat_set_float(features, b"f0_shift", pitch)
        synthesizer = ctypes.cast(flite.utt_synth, ctypes.c_void_p)
        spoken = flite.flite_do_synth(utterance, self._voice, synthesizer)
        if not spoken:  # flite_do_synth has deleted the utterance
            return False
        flite.delete_utterance(spoken)
        return True


_register_lock = threading.Lock()


@cache
def _load_flite() -> Any:
    flite = _load(_LIBRARY)
    for name in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
        _load(name)
    pointer = ctypes.c_void_p
    signatures: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("flite_init", ctypes.c_int, ()),
        ("new_utterance", pointer, ()),
        ("delete_utterance", None, (pointer,)),
        ("utt_set_input_text", ctypes.c_int, (pointer, ctypes.c_char_p)),
        ("new_audio_streaming_info", ctypes.POINTER(_StreamingInfo), ()),
        ("audio_streaming_info_val", pointer, (ctypes.POINTER(_StreamingInfo),)),
        ("feat_set", None, (pointer, ctypes.c_char_p, pointer)),
        ("feat_set_float", None, (pointer, ctypes.c_char_p, ctypes.c_float)),
        ("flite_do_synth", pointer, (pointer, pointer, pointer)),
        ("utt_synth", pointer, (pointer,)),
    )
    for name, result, arguments in signatures:
        try:
            function = getattr(flite, name)
        except AttributeError as error:
            raise SynthesisError(f"{_LIBRARY} is not Flite 2 (it lacks {name}): {_INSTALL}") from error
        function.restype, function.argtypes = result, list(arguments)
    flite.flite_init()
    return flite


@cache
def _register(name: str) -> Any:
    library = _load(f"libflite_cmu_us_{name}.so.1")
    register = getattr(library, f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    with _register_lock:
        voice = register(None)
    if not voice:
        raise SynthesisError(f"Flite could not load its voice {name}")
    return ctypes.c_void_p(voice)


def _load(soname: str) -> Any:
    try:
        return ctypes.CDLL(soname, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise SynthesisError(f"{soname} is not installed: {_INSTALL}") from error
