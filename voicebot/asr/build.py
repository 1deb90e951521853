"""Settings -> engine."""

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

    return VoskFactory(settings.model_path)
