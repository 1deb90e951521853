"""A language model that is none: fixed answers after a fixed time, for tests and benchmarks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from voicebot.core.errors import LanguageModelError
from voicebot.llm.protocol import ChatRequest


class FakeChatModel:
    """Answers from a script.

    Args:
        answers: One after the other, the last one for ever; or a function of the request. Without any,
            it answers ``{}``, which no router takes for an intent.
        delay_ms: How long an answer takes.

    Attributes:
        requests: Everything that was asked, for tests of what a model gets to see.
    """

    def __init__(
        self, answers: Sequence[str] | Callable[[ChatRequest], str] = ("{}",), *, delay_ms: int = 0
    ) -> None:
        self._answers = answers
        self._delay_ms = delay_ms
        self.requests: list[ChatRequest] = []

    async def complete(self, request: ChatRequest) -> str:
        """The next answer of the script.

        Raises:
            LanguageModelError: The delay is longer than the request's deadline.
        """
        self.requests.append(request)
        await asyncio.sleep(min(self._delay_ms, request.deadline_ms) / 1000)
        if self._delay_ms > request.deadline_ms:
            raise LanguageModelError(f"fake: no answer in {request.deadline_ms} ms")
        if callable(self._answers):
            return self._answers(request)
        return self._answers[min(len(self.requests), len(self._answers)) - 1]

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """The next answer, word by word."""
        for word in (await self.complete(request)).split(" "):
            yield word + " "

    @property
    def kept_open_s(self) -> float:
        """As long as ours are."""
        return 60.0

    async def warm(self) -> str:
        """Always warm."""
        return ""

    async def close(self) -> None:
        """Nothing to close."""
