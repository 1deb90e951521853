"""`voicebot serve` brings the console along, and keeps it alive."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from tests.loopback.bot_program import running_bot
from tests.ports import free_port

pytestmark = [pytest.mark.loopback, pytest.mark.timeout(120)]
LIMIT_S = 60


def console_pids(bot):
    return [p for p in bot.children() if b"\0console" in Path(f"/proc/{p}/cmdline").read_bytes()]


async def reachable(client):
    async with asyncio.timeout(LIMIT_S):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                return await client.get("/health")
            await asyncio.sleep(0.05)


async def test_a_newcomer_can_log_in_and_a_dead_console_comes_back(tmp_path):
    """The token is in a file of its owner; the bot says where; a killed console is started again."""
    port = free_port(socket.SOCK_STREAM)
    folder = tmp_path / "var"
    async with (
        running_bot(
            folder,
            console__enabled="true",
            console__port=port,
            asr__engine="fake",
            tts__engine="tone",
            link__standby_workers=0,
        ) as bot,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        said = (await bot.process.stdout.readline()).decode()
        assert f"http://127.0.0.1:{port}/" in said and str(folder / "console-token") in said
        token = (folder / "console-token").read_text()
        assert token not in said
        assert stat.S_IMODE((folder / "console-token").stat().st_mode) == 0o600
        assert (await reachable(client)).json() == {"status": "ok"}
        answer = await client.post("/login", data={"name": "admin", "password": token})
        assert answer.status_code == 303
        assert "Call the bot" in (await client.get("/phone")).text
        (pid,) = console_pids(bot)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(LIMIT_S):
            while pid in console_pids(bot) or not console_pids(bot):
                await asyncio.sleep(0.05)
        assert (await reachable(client)).status_code == 200
