"""The child process of `espeak` where only PyPI is there: text on stdin, int16 at 22050 Hz on stdout."""

import argparse
import ctypes
import sys
from typing import Any, Final

_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_BUFFER_MS: Final = 60
_CHARS_UTF8: Final = 1
_PARAMETER_RATE: Final = 1
_PARAMETER_PITCH: Final = 3
_EXPECTED_RATE_HZ: Final = 22050

# int (short *wav, int numsamples, espeak_EVENT *events)
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def main() -> int:
    """Speak stdin; takes the options of the ``espeak-ng`` program and returns the exit status."""
    import espeakng_loader  # noqa: PLC0415  the parent must never load this GPL-3 library

    parser = argparse.ArgumentParser()
    parser.add_argument("-v", dest="voice", required=True)
    parser.add_argument("-s", dest="words_per_minute", type=int, default=175)
    parser.add_argument("-p", dest="pitch", type=int, default=50)
    options = parser.parse_args()

    espeak: Any = ctypes.CDLL(espeakng_loader.get_library_path())
    path = str(espeakng_loader.get_data_path()).encode()
    if espeak.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, path, 0) != _EXPECTED_RATE_HZ:
        return 2
    output = sys.stdout.buffer

    def on_audio(samples: int | None, count: int, _events: int | None) -> int:
        try:
            if samples and count > 0:
                output.write(ctypes.string_at(samples, 2 * count))
                output.flush()
        except OSError:
            return 1
        return 0

    callback = _Callback(on_audio)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(options.voice.encode()) != 0:
        return 3
    espeak.espeak_SetParameter(_PARAMETER_RATE, options.words_per_minute, 0)
    espeak.espeak_SetParameter(_PARAMETER_PITCH, options.pitch, 0)
    text = sys.stdin.buffer.read()
    status = espeak.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, _CHARS_UTF8, None, None)
    return 4 if status else 0


if __name__ == "__main__":
    sys.exit(main())
