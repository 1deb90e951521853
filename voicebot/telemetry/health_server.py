"""``/livez``, ``/readyz`` and ``/metrics`` of a process: three GETs, nothing else.

``/livez`` answers as long as the event loop turns. ``/readyz`` is 200 when new calls can be taken and
503 with the reason otherwise. On loopback unless told otherwise: whoever reads the metrics knows how
many calls there are.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from voicebot.config.settings import MetricsSettings
from voicebot.telemetry import metrics_folder
from voicebot.telemetry.log import get_logger

MAX_CONNECTIONS: Final = 16
MAX_REQUEST_BYTES: Final = 8192
REQUEST_LIMIT_S: Final = 5.0
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}

Readiness = Callable[[], str]
"""Gives why no new call can be taken; empty when one can."""


class HealthServer:
    """Answers probes and scrapes.

    Args:
        ready: Why no new call can be taken, empty when one can.
        render: Gives the metrics; runs on a thread.
    """

    def __init__(self, ready: Readiness, render: Callable[[], bytes] = metrics_folder.render) -> None:
        self._ready = ready
        self._render = render
        self._open = 0

    async def answer(self, method: str, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of one request."""
        if method not in {"GET", "HEAD"}:
            return 405, "text/plain", b"only GET\n"
        match path.partition("?")[0]:
            case "/livez":
                return 200, "application/json", b'{"alive":true}\n'
            case "/readyz":
                reason = self._ready()
                body = json.dumps({"ready": not reason, "reason": reason}).encode() + b"\n"
                return (503 if reason else 200), "application/json", body
            case "/metrics":
                return 200, metrics_folder.CONTENT_TYPE, await asyncio.to_thread(self._render)
            case _:
                return 404, "text/plain", b"livez, readyz, metrics\n"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request and close."""
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_LIMIT_S):
                    await self._serve(reader, writer)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a slow or broken client is its own problem
        finally:
            self._open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        status, kind, body = await self.answer(method, rest.partition(" ")[0])
        lines = (
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode() + (b"" if method == "HEAD" else body))
        await writer.drain()


@contextlib.asynccontextmanager
async def serving_health(
    settings: MetricsSettings, ready: Readiness, render: Callable[[], bytes] = metrics_folder.render
) -> AsyncIterator[None]:
    """Answer probes while the block runs; a port that is taken is logged, the calls go on without.

    Args:
        settings: Address; port 0 switches it off.
        ready: Why no new call can be taken, empty when one can.
        render: Gives the metrics.
    """
    if not settings.port:
        yield
        return
    health = HealthServer(ready, render)
    try:
        server = await asyncio.start_server(
            health.connected,
            settings.host,
            settings.port,
            limit=MAX_REQUEST_BYTES,
            backlog=MAX_CONNECTIONS,
        )
    except OSError as error:
        get_logger().warning(
            "metrics_not_served",
            host=settings.host,
            port=settings.port,
            error=error.strerror or str(error),
        )
        yield
        return
    get_logger().info("metrics_served", host=settings.host, port=settings.port)
    async with server:
        yield


def unless_shared(
    settings: MetricsSettings, ready: Readiness
) -> contextlib.AbstractAsyncContextManager[Awaitable[None] | None]:
    """As ``serving_health``; does nothing where a supervisor answers for this process."""
    if metrics_folder.is_shared():
        return contextlib.nullcontext()
    return serving_health(settings, ready)
