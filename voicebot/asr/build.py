"""Settings -> engines."""

from pathlib import Path

from voicebot.asr.fake import FakeFactory
from voicebot.asr.protocol import RecogniserFactory
from voicebot.config.settings import AsrSettings


def build_factory(settings: AsrSettings) -> RecogniserFactory:
    """Load the engine that the settings name; blocks while a model is read.

    Raises:
        ConfigError: The model directory cannot be used.
    """
    if settings.engine == "fake":
        return FakeFactory(settings.fake_script)
    # Loading the C++ library costs 100 ms that a run with the fake need not pay.
    from voicebot.asr.vosk_recogniser import VoskFactory  # noqa: PLC0415

    return VoskFactory(settings.model_path, alternatives=settings.alternatives)


def build_named_factories(settings: AsrSettings) -> dict[str, RecogniserFactory]:
    """Load the further models that the settings name; each directory once.

    Raises:
        ConfigError: One of the model directories cannot be used.
    """
    if settings.engine == "fake":
        return {}
    loaded: dict[Path, RecogniserFactory] = {}
    for path in settings.models.values():
        key = path.resolve()
        if key not in loaded:
            loaded[key] = build_factory(settings.model_copy(update={"model_path": path}))
    return {name: loaded[path.resolve()] for name, path in settings.models.items()}
