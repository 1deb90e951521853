"""OpenTelemetry, where it is switched on and installed (extra ``otel``): a trace per session.

The trace id is made of the session id, so that all workers that served a call write to one trace, and
whoever has a call record can look its trace up.
"""

import hashlib
from typing import TYPE_CHECKING, Any, Final

from voicebot.config.settings import TraceSettings
from voicebot.core.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

EXPORT_LIMIT_S: Final = 2
"""How long a collector that is away is tried again, also when the worker ends; then spans are lost."""


def trace_id_of(session_id: str) -> int:
    """The 128-bit trace id of a session, never 0."""
    return int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:16]) or 1


class SessionTracing:
    """Gives spans whose trace id belongs to a session.

    Args:
        provider: What the spans go to.
        ids: The provider's id generator.
    """

    def __init__(self, provider: "TracerProvider", ids: Any) -> None:
        self._provider = provider
        self._ids = ids
        self.tracer: Tracer = provider.get_tracer("voicebot")

    def start_root(self, name: str, session_id: str, *, at_ns: int) -> Any:
        """Begin the span of a call; ``at_ns`` is time of day, as in all spans."""
        from opentelemetry.context import Context  # noqa: PLC0415 - an extra

        self._ids.wanted = trace_id_of(session_id)
        return self.tracer.start_span(name, context=Context(), start_time=at_ns)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def open_tracing(settings: TraceSettings, *, exporter: Any = None) -> SessionTracing | None:
    """Tracing as set up; None when it is off.

    Args:
        settings: Endpoint and name.
        exporter: Where spans go; OTLP over HTTP when None.

    Raises:
        ConfigError: It is on, but the packages are missing.
    """
    if not settings.enabled:
        return None
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )

            exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=EXPORT_LIMIT_S)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"traces need the extra otel (uv sync --extra otel): {error.name} is missing",
            key="traces.enabled",
        ) from error

    class SessionIds(RandomIdGenerator):
        """Random ids, but for the trace id that was asked for."""

        wanted = 0

        def generate_trace_id(self) -> int:
            wanted, self.wanted = self.wanted, 0
            return wanted or super().generate_trace_id()

    ids = SessionIds()
    provider = TracerProvider(
        resource=Resource.create({"service.name": settings.service_name}), id_generator=ids
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return SessionTracing(provider, ids)
