"""Lets coqui-tts import on a machine without a CUDA build of torchaudio and torchcodec.

Coqui's package asks for both when it is imported; speaking with VITS, GlowTTS or FastPitch uses neither.
The real ones are left alone where they import. Training and voice cloning need the real ones.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def install_stand_ins() -> list[str]:
    """Put empty modules where the real import fails; returns the names that were replaced."""
    replaced = []
    if not _imports("torchaudio"):
        _install("torchaudio.functional", resample=_refuse)
        _install("torchaudio.transforms", Resample=_Absent, MelSpectrogram=_Absent, Vad=_Absent)
        _install(
            "torchaudio",
            load=_refuse,
            save=_refuse,
            functional=sys.modules["torchaudio.functional"],
            transforms=sys.modules["torchaudio.transforms"],
        )
        replaced.append("torchaudio")
    if not _imports("torchcodec"):
        _install("torchcodec")
        replaced.append("torchcodec")
    return replaced


class _Absent:
    """Instead of a torchaudio transform."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse()


def _refuse(*_: Any, **__: Any) -> None:
    raise RuntimeError("this needs the real torchaudio, which does not import on this machine")


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, OSError):  # OSError: a CUDA library that is not there
        for loaded in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[loaded]
        return False
    return True


def _install(name: str, **contents: Any) -> None:
    module = ModuleType(name)
    # Coqui asks importlib.util.find_spec, which wants a spec that is not None.
    module.__spec__ = ModuleSpec(name, loader=None, is_package=True)
    module.__path__ = []
    module.__dict__.update(contents, __version__="0")
    sys.modules[name] = module
