"""Settings to a language model, or to none."""

from voicebot.config.settings import LlmSettings
from voicebot.core.errors import ConfigError
from voicebot.llm.chain import ModelChain
from voicebot.llm.fake import FakeChatModel
from voicebot.llm.openai_client import Endpoint, OpenAiModel
from voicebot.llm.protocol import ChatModel

NO_KEY = "-"


def build_chat_model(settings: LlmSettings) -> ChatModel | None:
    """The model that the settings name; None when the language model is off.

    ``endpoint`` may hold several addresses, separated by blanks: they are asked in that order, or, with
    ``hedge_ms``, raced. ``model`` and ``key_env`` then hold as many names, or one for all of them.

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
            names = _each(settings.model, len(addresses), "llm.model")
            keys = _each(settings.key_env, len(addresses), "llm.key_env")
            models = [
                OpenAiModel(
                    Endpoint(url=address, model=name, key_env="" if key == NO_KEY else key),
                    offline=settings.offline,
                )
                for address, name, key in zip(addresses, names, keys, strict=True)
            ]
            return models[0] if len(models) == 1 else ModelChain(models, hedge_ms=settings.hedge_ms)


def _each(text: str, count: int, key: str) -> list[str]:
    """One name per endpoint."""
    names = text.split() or [""]
    if len(names) == 1:
        return names * count
    if len(names) != count:
        raise ConfigError(f"names {len(names)} things for {count} endpoints", key=key)
    return names
