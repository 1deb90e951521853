"""The console on a free port, in this process."""

import asyncio
import contextlib
import socket

import httpx

from tests.ports import free_port
from tests.unit.console_kit import TOKEN, settings
from voicebot.console import main


@contextlib.asynccontextmanager
async def running_console(folder, monkeypatch, **sections):
    """Yields its address."""
    port = free_port(socket.SOCK_STREAM)
    monkeypatch.setenv("VOICEBOT_CONSOLE_TOKEN", TOKEN)
    chosen = settings(folder, port=port).model_copy(update=sections)
    server = main.build_server(chosen)
    serving = asyncio.create_task(server.serve())
    base = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as client, asyncio.timeout(15):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await client.get(f"{base}/health")
                break
            await asyncio.sleep(0.05)
    try:
        yield base
    finally:
        server.should_exit = True
        await serving


async def log_in(page, base, name="supervisor"):
    """As a person does it: by keyboard into the form."""
    await page.go(f"{base}/login")
    await page.run(
        f"""(() => {{
          document.getElementById('name').value = '{name}';
          document.getElementById('password').value = '{name}-password';
          document.querySelector('form').requestSubmit();
        }})()"""
    )
    await page.until("location.pathname === '/' && document.readyState === 'complete'")
