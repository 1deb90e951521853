"""What the dialogue asks of a language model, whichever it is."""

from collections.abc import AsyncGenerator
from typing import Any, Literal, Protocol

import msgspec

CHARACTERS_PER_TOKEN = 3  # pessimistic for English, so that a bound in tokens holds without a tokeniser


class Message(msgspec.Struct, frozen=True):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One question.

    ``schema`` is a JSON Schema that the whole answer must follow (the server is asked to constrain its
    output; the answer is checked again by whoever asked). ``deadline_ms`` is for everything: connecting,
    waiting, reading, other endpoints.
    """

    messages: tuple[Message, ...]
    schema: dict[str, Any] | None = None
    schema_name: str = "answer"
    max_tokens: int = 128
    deadline_ms: int = 900


class ChatModel(Protocol):
    """A language model. Every failure is a ``LanguageModelError``, within the deadline."""

    async def complete(self, request: ChatRequest) -> str:
        """The whole answer; never a part of one."""
        ...

    def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """The answer piece by piece; raises at the end when it was cut off."""
        ...

    @property
    def kept_open_s(self) -> float:
        """How long the server keeps an unused connection open, as far as is known; seconds."""
        ...

    async def warm(self) -> str:
        """Open a connection beforehand; what is wrong with the server, or nothing. Never raises."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


def trim(messages: tuple[Message, ...], max_tokens: int) -> tuple[Message, ...]:
    """The newest messages that fit, always with the system message; a huge last one is cut.

    Args:
        messages: System message first, oldest next.
        max_tokens: Bound for all of them together, estimated at three characters a token.
    """
    head = tuple(m for m in messages[:1] if m.role == "system")
    left = max_tokens * CHARACTERS_PER_TOKEN - sum(len(m.content) for m in head)
    kept: list[Message] = []
    for message in reversed(messages[len(head) :]):
        if len(message.content) > left:
            if not kept and left > 0:
                kept.append(Message(message.role, message.content[:left]))
            break
        kept.append(message)
        left -= len(message.content)
    return (*head, *reversed(kept))
