"""Drives Debian's chromium over its DevTools protocol: one WebSocket, no further package."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import websockets

START_LIMIT_S = 60


def chromium_path():
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab; ``errors`` collects what the page complained about (exceptions, CSP, failed loads)."""

    def __init__(self, connection):
        self._connection = connection
        self._numbers = itertools.count(1)
        self._waiting = {}
        self.errors = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self):
        with contextlib.suppress(websockets.ConnectionClosed):
            async for data in self._connection:
                message = json.loads(data)
                if "id" in message:
                    self._waiting.pop(message["id"]).set_result(message)
                elif message["method"] == "Runtime.exceptionThrown":
                    self.errors.append(
                        message["params"]["exceptionDetails"].get("exception", {}).get("description")
                    )
                elif (
                    message["method"] == "Log.entryAdded"
                    and message["params"]["entry"]["level"] == "error"
                ):
                    self.errors.append(message["params"]["entry"]["text"])

    async def send(self, method, **params):
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(30):
            answer = await future
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def run(self, code):
        """The value of a JavaScript expression; promises are awaited."""
        answer = await self.send(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    async def go(self, url):
        await self.send("Page.navigate", url=url)
        await self.until(
            f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})"
        )

    async def until(self, code, limit_s=20):
        """Wait until an expression is true."""
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    with contextlib.suppress(RuntimeError):  # between two pages there is no context
                        if value := await self.run(code):
                            return value
                    await asyncio.sleep(0.02)
        except TimeoutError:
            text = await self.run("document.body.innerText")
            raise AssertionError(f"never true: {code}\nerrors: {self.errors}\npage: {text}") from None

    async def size(self, width, height, *, dark=False):
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, path):
        shot = await self.send("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(shot["data"]))


@contextlib.asynccontextmanager
async def chromium(profile, *, microphone=None):
    """A browser with one tab; its microphone plays a WAV file over and over."""
    arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    ]
    # A short path, because its socket is in it; what it leaves there goes with the folder.
    left = tempfile.mkdtemp(prefix="chromium")
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    process = await asyncio.create_subprocess_exec(
        chromium_path(),
        *arguments,
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": left},
    )
    port_file = Path(profile) / "DevToolsActivePort"
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not (port_file.exists() and port_file.read_text().count("\n")):
                await asyncio.sleep(0.05)
        port = port_file.read_text().split()[0]
        import httpx

        async with httpx.AsyncClient() as client:
            targets = (await client.get(f"http://127.0.0.1:{port}/json")).json()
        url = next(t["webSocketDebuggerUrl"] for t in targets if t["type"] == "page")
        async with websockets.connect(url, max_size=1 << 26) as connection:
            page = Page(connection)
            for domain in ("Page", "Runtime", "Log"):
                await page.send(f"{domain}.enable")
            yield page
            page._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await page._reader
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()
        shutil.rmtree(left, ignore_errors=True)
