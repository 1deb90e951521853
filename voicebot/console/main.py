"""Runs the console until SIGTERM or SIGINT."""

import os

import uvicorn

from voicebot.config.settings import Settings
from voicebot.console.app import build_app, installation_secret
from voicebot.telemetry.log import get_logger

TOKEN_FILE = "console-token"  # noqa: S105 - a file's name
SECRET_FILE = "console-secret"  # noqa: S105 - a file's name


def console_token(settings: Settings) -> str:
    """The bearer token: from the environment, else the installation's own, made at first use."""
    return os.environ.get(settings.console.token_env) or installation_secret(
        settings.data_dir, TOKEN_FILE
    )


def handoff_secret(settings: Settings) -> bytes:
    """Key of the tokens for ``GET /handoffs/{id}``: the webhook's, since the webhook carries them."""
    found = os.environ.get(settings.handoff.webhook_key_env)
    return (found or installation_secret(settings.data_dir, SECRET_FILE)).encode()


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
    return uvicorn.Server(config)


async def run_console(settings: Settings) -> None:
    """Serve.

    Raises:
        SystemExit: The address cannot be used.
    """
    server = build_server(settings)
    get_logger().info("console_ready", host=settings.console.host, port=settings.console.port)
    await server.serve()
