"""Runs a plan's tools over HTTP, and lets nothing through that the plan does not name.

    CallTool ─► address of the plan ─► host allowed? ─► resolve once ─► address allowed? ─► POST
                                                                                              │
               outcome error or timeout ◄── every fault, limit and deadline ◄── typed values ◄┘

Hosts must be allow-listed; what a name resolves to is checked and then used, so that a second answer of
the name server (rebinding) is never asked for. Redirects are not followed. Bodies end at 64 KiB.
"""

import asyncio
import ipaddress
import os
import socket
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import httpx
import msgspec

from voicebot.dialogue.actions import CallTool
from voicebot.dialogue.events import JsonValue, ToolFinished
from voicebot.dialogue.fixtures import FixtureTools
from voicebot.dialogue.grounded_answers import GroundedAnswers, Sentences
from voicebot.dialogue.model import Dialplan, Tool
from voicebot.dialogue.tool_values import typed_values
from voicebot.llm.breaker import CircuitBreaker
from voicebot.telemetry.log import get_logger

MAX_BODY_BYTES = 65_536
CONNECT_TIMEOUT_S = 2.0
RETRY_PAUSE_S = 0.05
MAX_REMEMBERED = 2000  # finished calls whose answers are kept
DENIED_CODES = frozenset([401, 403, 404, 409, 422])
RETRIED_CODES = frozenset([429, 502, 503, 504])

Resolver = Callable[[str, int], Awaitable[list[str]]]


async def unheard(_: str) -> None:
    """Nobody waits for single sentences."""


class ToolFault(Exception):
    """Why a tool gave no answer; ``retry`` when asking again may help."""

    def __init__(self, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.retry = retry


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, without blocking the loop."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class ToolClient:
    """Answers ``CallTool``: fixtures out of the plan, everything else over HTTP.

    Args:
        plan: Its tools and fixtures; default timeouts.
        allowed_hosts: Hosts (``crm.example``), with or without port (``127.0.0.1:8099``), that may be
            asked.
            Private, loopback and link-local addresses are reached only by entries of this list that
            name them (or ``localhost``) themselves.
        answers: Answers tools with ``answer_from``; without it they fail.
        resolver: For tests.
        transport: For tests.

    Attributes:
        done: Finished calls by idempotency key: the same call is answered from here (a resumed turn
            must not act twice within one worker; across workers the key goes to the tool).
    """

    def __init__(
        self,
        plan: Dialplan,
        *,
        allowed_hosts: tuple[str, ...] = (),
        answers: GroundedAnswers | None = None,
        resolver: Resolver = resolve,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._plan = plan
        self._fixtures = FixtureTools(plan)
        self._allowed = frozenset(h.lower() for h in allowed_hosts)
        self._resolve = resolver
        self._answers = answers
        self._breakers: dict[str, CircuitBreaker] = {}
        self._running: dict[str, asyncio.Task[ToolFinished]] = {}
        self.done: dict[str, ToolFinished] = {}
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16),
        )
        self._log = get_logger()

    def may_repeat(self, call: CallTool) -> bool:
        """Whether a call that may have reached the tool already can be made again without harm.

        Reading can; so can a fixture, an answer out of texts, and a tool that knows its keys.
        """
        tool = self._plan.tools[call.tool]
        return tool.post is None or tool.idempotency is not None or not self._reachable(tool)

    async def run(self, call: CallTool, said: Sentences = unheard) -> ToolFinished:
        """The outcome: ok, denied, error or timeout; never raises for what a server does.

        A tool with an address whose host is not allowed, or that needs a language model where there is
        none, is answered by its fixture, if it has one.

        Args:
            call: What is asked.
            said: Gets each sentence of an answer out of texts as soon as it may be said.
        """
        tool = self._plan.tools[call.tool]
        answers = self._answers is not None if tool.answer_from is not None else self._reachable(tool)
        if self._fixtures.knows(call.tool) and not answers:
            return self._fixtures.run(call)
        if tool.answer_from is not None:
            return await self._answer(call, said)
        key = call.idempotency_key
        if key not in self.done:
            task = self._running.get(key)
            if task is None:  # a repeated call waits for the first one
                task = asyncio.ensure_future(self._ask(call))
                self._running[key] = task
            try:
                finished = await asyncio.shield(task)
            finally:
                if task.done():
                    self._running.pop(key, None)
            if finished.outcome in {"ok", "denied"}:
                self.done[key] = finished
                if len(self.done) > MAX_REMEMBERED:
                    self.done.pop(next(iter(self.done)))
            return msgspec.structs.replace(finished, request=call.request)
        return msgspec.structs.replace(self.done[key], request=call.request)

    async def close(self) -> None:
        """Close the pooled connections."""
        for task in self._running.values():
            task.cancel()
        await self._client.aclose()

    async def _answer(self, call: CallTool, said: Sentences) -> ToolFinished:
        tool = self._plan.tools[call.tool]
        question = str(call.arguments.get(tool.send[0]) or "")
        if self._answers is None:
            return ToolFinished(request=call.request, outcome="error")
        answer = await self._answers.answer(question, tool.answer_from or [], tool.timeout, said)
        if answer is None:
            return ToolFinished(request=call.request, outcome="denied")
        return ToolFinished(request=call.request, outcome="ok", values={"answer": answer})

    def _reachable(self, tool: Tool) -> bool:
        parts = urlsplit(tool.post or tool.get or "")
        host = (parts.hostname or "").lower()
        return bool(self._allowed & {host, f"{host}:{parts.port}"})

    async def _ask(self, call: CallTool) -> ToolFinished:
        tool = self._plan.tools[call.tool]
        url = tool.post or tool.get or ""
        began = time.monotonic()
        outcome, reason = "error", ""
        values: dict[str, JsonValue] = {}
        try:
            for attempt in range(tool.retries + 1):
                try:
                    async with asyncio.timeout(tool.timeout / 1000):
                        outcome, values = await self._attempt(tool, url, call)
                    break
                except TimeoutError:
                    outcome, reason = "timeout", f"no answer in {tool.timeout} ms"
                except httpx.HTTPError as error:
                    outcome, reason = "error", type(error).__name__
                except ToolFault as fault:
                    outcome, reason = "error", str(fault)
                    if not fault.retry:
                        break
                if attempt < tool.retries:
                    await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            took_ms = round((time.monotonic() - began) * 1000)
            # names only: arguments and values may be secrets
            self._log.info(
                "tool_called", tool=call.tool, outcome=outcome, reason=reason, took_ms=took_ms
            )
        return ToolFinished(request=call.request, outcome=outcome, values=values)

    async def _attempt(self, tool: Tool, url: str, call: CallTool) -> tuple[str, dict[str, JsonValue]]:
        target, host, sni = await self._target(url)
        breaker = self._breakers.setdefault(host, CircuitBreaker())
        if not breaker.allow(time.monotonic() * 1000):
            raise ToolFault(f"{host} failed repeatedly and is not asked for now")
        headers = {
            "Host": host,
            "Idempotency-Key": call.idempotency_key,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a small body must not unfold into a large one
        }
        secret = os.environ.get(tool.secret) if tool.secret else None
        if tool.secret and not secret:
            raise ToolFault(f"the secret {tool.secret} is not in the environment")
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        try:
            if tool.post is not None:
                request = self._client.build_request(
                    "POST", target, json=call.arguments, headers=headers
                )
            else:
                params = {k: str(v) for k, v in call.arguments.items() if v is not None}
                request = self._client.build_request("GET", target, params=params, headers=headers)
            request.extensions["sni_hostname"] = sni
            response = await self._client.send(request, stream=True)
            try:
                result = await _read(response, tool)
            finally:
                await response.aclose()
        except (httpx.HTTPError, ToolFault, TimeoutError, asyncio.CancelledError):
            breaker.failed(time.monotonic() * 1000)
            raise
        breaker.succeeded()
        return result

    async def _target(self, url: str) -> tuple[str, str, str]:
        """The address to connect to, the Host header, the name for TLS."""
        parts = urlsplit(url)
        name = (parts.hostname or "").lower()
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme not in {"http", "https"} or not name or parts.username:
            raise ToolFault("not an http or https address")
        if name not in self._allowed and f"{name}:{port}" not in self._allowed:
            raise ToolFault(f"{name}:{port} is not in the list of allowed hosts")
        try:
            addresses = await self._resolve(name, port)
        except OSError as error:
            raise ToolFault(f"{name} is not known", retry=True) from error
        named = is_local_name(name)
        usable = [a for a in addresses if named or _is_public(a)]
        if not usable or len(usable) < len(addresses):
            raise ToolFault(f"{name} leads to an address that is not public")
        address = f"[{usable[0]}]" if ":" in usable[0] else usable[0]
        path = parts.path or "/"
        query = f"?{parts.query}" if parts.query else ""
        return f"{parts.scheme}://{address}:{port}{path}{query}", parts.netloc, name


def is_local_name(name: str) -> bool:
    """Whether a plan names an address itself (or localhost), so that it was meant."""
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_global


async def _read(response: httpx.Response, tool: Tool) -> tuple[str, dict[str, JsonValue]]:
    code = response.status_code
    if code in DENIED_CODES:
        return "denied", {}
    if not 200 <= code < 300:
        raise ToolFault(f"HTTP {code}", retry=code in RETRIED_CODES)
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise ToolFault(f"an answer of more than {MAX_BODY_BYTES} bytes")
    if not body.strip():
        return "ok", {}
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ToolFault("the answer is no JSON") from error
    if not isinstance(answer, dict):
        raise ToolFault("the answer is no JSON object")
    outcome = answer.get("outcome", "ok")
    if outcome not in {"ok", "denied"}:
        raise ToolFault("the tool says that it failed")
    if outcome == "denied":
        return outcome, {}
    try:
        return outcome, typed_values(answer, tool.returns)
    except ValueError as error:
        raise ToolFault(str(error)) from error
