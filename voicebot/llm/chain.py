"""Several models as one: the next is asked when one fails, or when it takes too long."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec.structs import replace

from voicebot.core.errors import LanguageModelError
from voicebot.llm.protocol import ChatModel, ChatRequest

MIN_TRY_MS = 50  # with less time left no endpoint can answer


class ModelChain:
    """Asks models in order, within one deadline.

    Args:
        models: The preferred one first (usually local, then cloud).
        hedge_ms: After so long without an answer the next one is asked as well and the first good
            answer wins; None asks the next one only after a failure.

    Attributes:
        answered: How many requests were answered, by each model.
    """

    def __init__(self, models: Sequence[ChatModel], *, hedge_ms: int | None = None) -> None:
        self._models = tuple(models)
        self._hedge_ms = hedge_ms
        self.answered = [0] * len(self._models)

    async def complete(self, request: ChatRequest) -> str:
        """The first good answer; the losers are cancelled.

        Raises:
            LanguageModelError: None of the models gave one in time.
        """
        deadline_ms = _now_ms() + request.deadline_ms
        waiting: dict[asyncio.Task[str], int] = {}
        problems: list[str] = []
        following = 0
        try:
            while True:
                left_ms = deadline_ms - _now_ms()
                may_start = following < len(self._models) and left_ms > MIN_TRY_MS
                if may_start and (not waiting or self._hedge_ms is not None):
                    limited = replace(request, deadline_ms=int(left_ms))
                    task = asyncio.ensure_future(self._models[following].complete(limited))
                    waiting[task] = following
                    following += 1
                if not waiting:
                    raise LanguageModelError("; ".join(problems) or "no time left")
                more = following < len(self._models) and self._hedge_ms is not None
                limit_ms = min(left_ms, self._hedge_ms) if more and self._hedge_ms else left_ms
                done, _ = await asyncio.wait(
                    waiting, timeout=max(limit_ms, 0) / 1000, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    number = waiting.pop(task)
                    problem = task.exception()
                    if problem is None:
                        self.answered[number] += 1
                        return task.result()
                    if not isinstance(problem, LanguageModelError):
                        raise problem
                    problems.append(str(problem))
                if not done and _now_ms() >= deadline_ms:
                    raise LanguageModelError(f"no answer in {request.deadline_ms} ms")
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """Streams from the first model that says anything; never mixes two answers.

        Raises:
            LanguageModelError: None began in time, or the one that began was cut off.
        """
        deadline_ms = _now_ms() + request.deadline_ms
        problem = LanguageModelError("no time left")
        for number, model in enumerate(self._models):
            left_ms = int(deadline_ms - _now_ms())
            if left_ms <= MIN_TRY_MS:
                break
            begun = False
            try:
                async with aclosing(model.stream(replace(request, deadline_ms=left_ms))) as pieces:
                    async for piece in pieces:
                        begun = True
                        yield piece
            except LanguageModelError as error:
                if begun:
                    raise
                problem = error
            else:
                self.answered[number] += 1
                return
        raise problem

    @property
    def kept_open_s(self) -> float:
        """The shortest of all."""
        return min(model.kept_open_s for model in self._models)

    async def warm(self) -> str:
        """Warm all, at the same time."""
        problems = await asyncio.gather(*(model.warm() for model in self._models))
        return "; ".join(problem for problem in problems if problem)

    async def close(self) -> None:
        """Close all."""
        for model in self._models:
            await model.close()


def _now_ms() -> float:
    return time.monotonic() * 1000
