"""Settings to a language model, or to none."""

from voicebot.config.settings import LlmSettings
from voicebot.core.errors import ConfigError
from voicebot.llm.chain import ModelChain
from voicebot.llm.fake import FakeChatModel
from voicebot.llm.openai_client import Endpoint, OpenAiModel
from voicebot.llm.protocol import ChatModel


def build_chat_model(settings: LlmSettings) -> ChatModel | None:
    """The model that the settings name; None when the language model is off.

    ``endpoint`` may hold several addresses, separated by blanks: they are asked in that order.

    Raises:
        ConfigError: An address or a model name is missing or wrong.
    """
    match settings.engine:
        case "off":
            return None
        case "fake":
            return FakeChatModel(delay_ms=settings.fake_delay_ms)
        case "openai":
            addresses = settings.endpoint.split()
            if not addresses or not settings.model:
                raise ConfigError("needs llm.endpoint and llm.model", key="llm.engine")
            models = [
                OpenAiModel(
                    Endpoint(url=address, model=settings.model, key_env=settings.key_env),
                    offline=settings.offline,
                )
                for address in addresses
            ]
            return models[0] if len(models) == 1 else ModelChain(models)
