"""The webhook of a handoff, from the worker to a receiver, and the token in it at the console."""

import asyncio
import contextlib
import json
import time

import pytest

from tests.unit.console_kit import context, settings
from voicebot.config.settings import HandoffSettings
from voicebot.console.tokens import handoff_secret
from voicebot.handoff.signing import SIGNATURE_HEADER, body_is_genuine, token_opens
from voicebot.worker.call_watch import LiveCalls
from voicebot.worker.effects import HandoffNews

pytestmark = pytest.mark.loopback


async def test_the_webhook_is_signed_and_its_token_opens_the_handoff(tmp_path, monkeypatch):
    """Body, signature and token as a receiver checks them; the console accepts the same key."""
    monkeypatch.setenv("VOICEBOT_HANDOFF_KEY", "shared key")
    got = asyncio.get_running_loop().create_future()

    async def receive(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(
            int({k.lower(): v for k, v in headers.items()}["content-length"])
        )
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        got.set_result(({k.lower(): v for k, v in headers.items()}, body))

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/handoffs"
        live = LiveCalls(tmp_path, HandoffSettings(webhook_url=url))
        await live.record(HandoffNews("h1", "begin", context=context("h1")))
        async with asyncio.timeout(5):
            headers, body = await got
            while live._tasks:
                await asyncio.sleep(0.01)
    now_s = int(time.time())
    assert body_is_genuine(b"shared key", body, headers[SIGNATURE_HEADER.lower()], now_s)
    said = json.loads(body)
    assert said["handoff"]["caller"] == "+442071838750"
    assert token_opens(handoff_secret(settings(tmp_path)), said["token"], "h1", now_s)


async def test_a_webhook_s_answer_is_not_read(tmp_path, monkeypatch):
    """A body without an end, or a redirect, costs neither memory nor time: the status is all."""
    monkeypatch.setenv("VOICEBOT_HANDOFF_KEY", "shared key")
    asked, sent = [], 0

    async def receive(reader, writer):
        nonlocal sent
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\n\r\n")
            while sent < 50_000_000:
                writer.write(b"x" * 100_000)
                await writer.drain()
                sent += 100_000
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/handoffs"
        live = LiveCalls(tmp_path, HandoffSettings(webhook_url=url))
        async with asyncio.timeout(10):
            await live._tell_webhook(context("h1"))
    assert len(asked) == 1
    assert sent < 50_000_000


def test_without_a_key_the_console_has_its_own(tmp_path, monkeypatch):
    monkeypatch.delenv("VOICEBOT_HANDOFF_KEY", raising=False)
    chosen = settings(tmp_path)
    assert handoff_secret(chosen) == handoff_secret(chosen)
    assert (tmp_path / "console-secret").stat().st_mode & 0o777 == 0o600
