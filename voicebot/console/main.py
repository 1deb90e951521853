"""Runs the console until SIGTERM or SIGINT."""

import socket

import uvicorn

from voicebot.config.settings import Settings
from voicebot.console.app import build_app
from voicebot.console.tokens import console_token, handoff_secret
from voicebot.telemetry.log import get_logger
from voicebot.telemetry.readiness import announce_ready


class _Server(uvicorn.Server):
    """Says to a supervisor when it can be reached."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self.started:
            announce_ready()


def build_server(settings: Settings) -> uvicorn.Server:
    """The HTTP server, not started; its access log is off: who did what is in the audit log."""
    app = build_app(settings, token=console_token(settings), token_secret=handoff_secret(settings))
    config = uvicorn.Config(
        app,
        host=settings.console.host,
        port=settings.console.port,
        ws="websockets-sansio",
        ws_max_size=65_536,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config)


async def run_console(settings: Settings) -> None:
    """Serve.

    Raises:
        SystemExit: The address cannot be used.
    """
    server = build_server(settings)
    get_logger().info("console_ready", host=settings.console.host, port=settings.console.port)
    await server.serve()
