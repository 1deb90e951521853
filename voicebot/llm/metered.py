"""A language model whose times are metered: whole answers, first piece, pieces."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from voicebot.core.errors import LanguageModelError
from voicebot.llm.protocol import ChatModel, ChatRequest
from voicebot.telemetry import metrics


class MeteredModel:
    """Asks ``model``; a request that is cancelled counts as neither answered nor failed."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def complete(self, request: ChatRequest) -> str:
        """See ``ChatModel``."""
        began_s = time.monotonic()
        try:
            answer = await self._model.complete(request)
        except LanguageModelError:
            metrics.LLM_REQUESTS.labels("failed").inc()
            raise
        metrics.LLM_REQUESTS.labels("answered").inc()
        metrics.LLM_SECONDS.observe(time.monotonic() - began_s)
        return answer

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """See ``ChatModel``."""
        began_s = before_s = time.monotonic()
        first = True
        try:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    now_s = time.monotonic()
                    found = metrics.LLM_FIRST_TOKEN_SECONDS if first else metrics.LLM_TOKEN_SECONDS
                    found.observe(now_s - before_s)
                    first, before_s = False, now_s
                    yield piece
        except LanguageModelError:
            metrics.LLM_REQUESTS.labels("failed").inc()
            raise
        metrics.LLM_REQUESTS.labels("answered").inc()
        metrics.LLM_SECONDS.observe(time.monotonic() - began_s)

    @property
    def kept_open_s(self) -> float:
        """See ``ChatModel``."""
        return self._model.kept_open_s

    async def warm(self) -> str:
        """See ``ChatModel``; not metered."""
        return await self._model.warm()

    async def close(self) -> None:
        """See ``ChatModel``."""
        await self._model.close()
