"""What calibration measured of each voice, kept beside the code as ``profiles.json``."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from voicebot.audio.narrowband import VoiceProfile
from voicebot.core.errors import SynthesisError

FILE_NAME: Final = "profiles.json"


@cache
def _packaged() -> dict[str, VoiceProfile]:
    return _decode((files("voicebot.tts") / FILE_NAME).read_bytes())


def load_profile(voice: str, directory: Path | None = None) -> VoiceProfile:
    """The measured profile of a voice; an unmeasured one gets no gain and the usual +6 dB presence.

    Args:
        voice: Its name.
        directory: Where a model keeps its own ``profiles.json``.

    Raises:
        SynthesisError: The model's file is there and is no table of profiles.
    """
    if directory is not None and (directory / FILE_NAME).is_file():
        own = _decode((directory / FILE_NAME).read_bytes())
        if voice in own:
            return own[voice]
    return _packaged().get(voice, VoiceProfile())


def store_profile(file: Path, voice: str, profile: VoiceProfile) -> None:
    """Put a profile into a JSON file, beside the others that are there.

    Raises:
        SynthesisError: The file is there and is no table of profiles.
        OSError: It cannot be read or written.
    """
    profiles = _decode(file.read_bytes()) if file.exists() else {}
    profiles[voice] = profile
    text = msgspec.json.format(msgspec.json.encode(dict(sorted(profiles.items()))), indent=2)
    file.write_bytes(text + b"\n")


def _decode(raw: bytes) -> dict[str, VoiceProfile]:
    try:
        return msgspec.json.decode(raw, type=dict[str, VoiceProfile])
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise SynthesisError(f"voice profiles cannot be read: {error}") from error
