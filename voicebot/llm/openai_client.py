"""One OpenAI-compatible endpoint (``POST /chat/completions``) over HTTP.

Nothing counts before it is complete: an answer needs its ``finish_reason``, an SSE stream its end. The
total deadline is ours, because a read timeout alone is defeated by keep-alive comments. Servers
close idle connections (llama.cpp after 5 s): a request that meets one in that moment is sent once more.
"""

import asyncio
import ipaddress
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from voicebot.core.errors import ConfigError, LanguageModelError
from voicebot.llm.breaker import CircuitBreaker
from voicebot.llm.protocol import ChatRequest
from voicebot.llm.sse import SseParser

MAX_ANSWER_BYTES = 262_144
CONNECT_TIMEOUT_S = 1.0
WARM_TIMEOUT_S = 2.0
KEPT_OPEN_S = 60
DONE = "[DONE]"
_TIMEOUT = re.compile(r"\btimeout=(\d+)")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is served: ``url`` up to and with ``/v1``; the key comes from the environment."""

    url: str
    model: str
    key_env: str = ""


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Delta | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]


class OpenAiModel:
    """A chat model behind one endpoint.

    Args:
        endpoint: Where.
        offline: Refuse every host that is not this machine.
        breaker: Default: opens after three failures for ten seconds.
        transport: For tests.

    Raises:
        ConfigError: No HTTP address, or not allowed offline.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        offline: bool = False,
        breaker: CircuitBreaker | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = urlsplit(endpoint.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"{endpoint.url!r} is no http or https address", key="llm.endpoint")
        if offline and not is_loopback(parts.hostname):
            raise ConfigError(
                f"{parts.hostname} is not this machine, but llm.offline is set", key="llm.endpoint"
            )
        self.kept_open_s: float = KEPT_OPEN_S
        self.name = parts.netloc.rpartition("@")[2]
        self.breaker = breaker or CircuitBreaker()
        self._endpoint = endpoint
        self._url = endpoint.url.rstrip("/") + "/chat/completions"
        self._models_url = endpoint.url.rstrip("/") + "/models"
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,  # a proxy of the environment would make "offline" a lie
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(
                max_connections=32, max_keepalive_connections=8, keepalive_expiry=KEPT_OPEN_S
            ),
        )

    async def complete(self, request: ChatRequest) -> str:
        """The whole answer.

        Raises:
            LanguageModelError: Late, refused, cut off or nonsense.
        """
        async with self._guarded(request), self._post(request, stream=False) as response:
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise LanguageModelError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
            choice = _choice(body, "the answer")
            if choice is None or choice.finish_reason not in {"stop", "tool_calls"}:
                reason = None if choice is None else choice.finish_reason
                raise LanguageModelError(f"the answer is not complete (finish_reason {reason!r})")
            return (choice.message.content if choice.message else None) or ""

    async def stream(self, request: ChatRequest) -> AsyncGenerator[str, None]:
        """The answer piece by piece, as the server sends it.

        Raises:
            LanguageModelError: Late, refused, nonsense, or cut off: then what was given out is a part.
        """
        async with self._guarded(request), self._post(request, stream=True) as response:
            parser = SseParser()
            finished = ""
            received = 0
            async with aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]  # it is an async generator
                async for chunk in chunks:
                    received += len(chunk)
                    if received > MAX_ANSWER_BYTES:
                        raise LanguageModelError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                    for data in parser.feed(chunk):
                        if data == DONE:
                            break
                        choice = _choice(data.encode(), "an event")
                        if choice is None:
                            continue
                        finished = choice.finish_reason or finished
                        if choice.delta and choice.delta.content:
                            yield choice.delta.content
            if finished != "stop":
                raise LanguageModelError(f"the stream was cut off (finish_reason {finished!r})")

    async def warm(self) -> str:
        """Ask for the list of models: the connection then waits in the pool for the first question.

        Returns:
            What is wrong, or nothing. A server without such a list is as good as any.
        """
        try:
            async with asyncio.timeout(WARM_TIMEOUT_S):
                response = await self._client.get(self._models_url, headers=self._key())
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{self.name}: {type(error).__name__}"
        self._note_idle_limit(response)
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return f"{self.name}: HTTP {response.status_code}, is the key in {self._endpoint.key_env}?"
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return f"{self.name}: HTTP {response.status_code}"
        return ""

    def _note_idle_limit(self, response: httpx.Response) -> None:
        limit = _TIMEOUT.search(response.headers.get("keep-alive", ""))
        self.kept_open_s = min(KEPT_OPEN_S, max(1, int(limit[1]))) if limit else KEPT_OPEN_S

    def _key(self) -> dict[str, str]:
        key = os.environ.get(self._endpoint.key_env) if self._endpoint.key_env else None
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _guarded(self, request: ChatRequest) -> AsyncIterator[None]:
        """Deadline, breaker and the one kind of error."""
        if not self.breaker.allow(time.monotonic() * 1000):
            raise LanguageModelError(f"{self.name} is not asked for now: it failed repeatedly")
        try:
            async with asyncio.timeout(request.deadline_ms / 1000):
                yield
        except TimeoutError as error:
            self.breaker.failed(time.monotonic() * 1000)
            raise LanguageModelError(f"{self.name}: no answer in {request.deadline_ms} ms") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.breaker.failed(time.monotonic() * 1000)
            raise LanguageModelError(f"{self.name}: {type(error).__name__}: {error}") from error
        except LanguageModelError:
            self.breaker.failed(time.monotonic() * 1000)
            raise
        except BaseException:  # cancelled: a faster endpoint has won, or the caller hung up
            self.breaker.abandoned()
            raise
        else:
            self.breaker.succeeded()

    @asynccontextmanager
    async def _post(self, request: ChatRequest, *, stream: bool) -> AsyncIterator[httpx.Response]:
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [msgspec.to_builtins(m) for m in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": 0,
            "stream": stream,
        }
        if request.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": request.schema_name,
                    "strict": True,
                    "schema": request.schema,
                },
            }
        async with self._opened(body) as response:
            if response.status_code != httpx.codes.OK:
                raise LanguageModelError(f"{self.name}: HTTP {response.status_code}")
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            wanted = "text/event-stream" if stream else "application/json"
            if kind != wanted:
                raise LanguageModelError(f"{self.name}: {kind or 'nothing'} instead of {wanted}")
            yield response

    @asynccontextmanager
    async def _opened(self, body: dict[str, Any]) -> AsyncIterator[httpx.Response]:
        request = self._client.build_request("POST", self._url, json=body, headers=self._key())
        try:
            response = await self._client.send(request, stream=True)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # Not a byte came back: most likely an idle connection that the server was just closing.
            # Asking a model twice does no harm.
            response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _choice(raw: bytes, what: str) -> _Choice | None:
    """The first choice; None for events without any (usage reports)."""
    try:
        answer = msgspec.json.decode(raw, type=_Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LanguageModelError(f"{what} is no chat completion: {error}") from error
    return answer.choices[0] if answer.choices else None
