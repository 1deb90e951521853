"""Other people's SIP programs as callers: sipp and baresip, from Debian."""

import asyncio
import os
import pty
import shutil
from pathlib import Path

import numpy as np

from sip_test_harness import read_wav
from sip_test_harness.g711 import encode
from tests.ports import free_port

SIPP_FILES = Path(__file__).parent / "sipp"


def need(program, package):
    """Peers are part of `make test`: a missing one is a failure that says what to do."""
    path = shutil.which(program)
    assert path, f"{program} is missing: apt-get install {package} (make install-dev does it)"
    return path


async def run_sipp(scenario, bot, folder, *options, limit_s=60):
    """Run a scenario file; returns (exit status, statistics of the last line as a dictionary)."""
    path = folder / "scenario.xml"
    path.write_text(scenario)
    process = await asyncio.create_subprocess_exec(
        need("sipp", "sip-tester"),
        f"127.0.0.1:{bot.sip_port}",
        "-sf",
        str(path),
        "-s",
        "bank",
        "-i",
        "127.0.0.1",
        "-p",
        str(free_port()),
        "-mp",
        str(free_port()),
        "-nostdin",
        "-trace_stat",
        "-stf",
        str(folder / "stat.csv"),
        "-trace_err",
        "-error_file",
        str(folder / "errors.log"),
        "-timeout",
        f"{limit_s}s",
        *options,
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(limit_s + 10):
            status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process._transport.close()
    head, *_, last = (folder / "stat.csv").read_text().splitlines()
    return status, dict(zip(head.split(";"), last.split(";"), strict=True))


def balance_scenario(folder, speech_wav, keys, *, pause_after):
    """The balance call; `pause_after` maps positions in `keys` to extra milliseconds."""
    samples = read_wav(speech_wav)
    speech, silence = folder / "speech.ul", folder / "silence.ul"
    frames = -(-len(samples) // 160)
    padded = np.zeros(frames * 160, np.int16)
    padded[: len(samples)] = samples
    speech.write_bytes(encode(padded, 0))
    silence.write_bytes(b"\xff" * 8000)
    key = (SIPP_FILES / "info_key.xml").read_text()
    pressed = "".join(
        key.replace("@DIGIT@", digit).replace("@AFTER_MS@", str(150 + pause_after.get(i, 0)))
        for i, digit in enumerate(keys)
    )
    return (
        (SIPP_FILES / "balance.xml")
        .read_text()
        .replace("@SILENCE@", str(silence))
        .replace("@SPEECH@", str(speech))
        .replace("@SPEECH_MS@", str(frames * 20 + 40))
        .replace("@KEYS@", pressed)
    )


BARESIP_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
net_interface 127.0.0.1
audio_player aufile,{heard}
audio_source aufile,{said}
audio_alert aufile,/dev/null
ausrc_srate 8000
auplay_srate 8000
module_path {modules}
module stdio.so
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
rtp_ports 30000-30100
"""


class Baresip:
    """A headless baresip on a terminal of its own, so that keys can be typed.

    Args:
        folder: For its files.
        said_wav: What it says.
        config: More lines of its configuration.
        account: Parameters of its account.
    """

    def __init__(self, folder, said_wav, *, config="", account=""):
        self._folder = folder
        self._said = said_wav
        self._config, self._account = config, account
        self.output = ""

    async def __aenter__(self):
        modules = next(
            iter(sorted(Path("/usr/lib").glob("**/baresip/modules"))), Path("/usr/lib/baresip/modules")
        )
        port = free_port()
        (self._folder / "config").write_text(
            BARESIP_CONFIG.format(
                port=port, said=self._said, heard=self._folder / "heard.wav", modules=modules
            )
            + self._config
        )
        (self._folder / "accounts").write_text(
            f"<sip:tester@127.0.0.1:{port}>;regint=0;audio_codecs=PCMU{self._account}\n"
        )
        self._terminal, child = pty.openpty()
        self._process = await asyncio.create_subprocess_exec(
            need("baresip", "baresip"),
            "-f",
            str(self._folder),
            "-t",
            "60",
            stdin=child,
            stdout=child,
            stderr=child,
            start_new_session=True,
        )
        os.close(child)
        os.set_blocking(self._terminal, False)
        asyncio.get_running_loop().add_reader(self._terminal, self._read)
        await self.wait_for("baresip is ready", 10)
        return self

    def _read(self):
        try:
            self.output += os.read(self._terminal, 65536).decode(errors="replace")
        except (BlockingIOError, OSError):
            asyncio.get_running_loop().remove_reader(self._terminal)

    def type(self, keys):
        os.write(self._terminal, keys.encode())

    async def wait_for(self, text, limit_s):
        try:
            async with asyncio.timeout(limit_s):
                while text not in self.output:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"baresip never printed {text!r}:\n{self.output[-2000:]}") from None

    async def __aexit__(self, *_):
        asyncio.get_running_loop().remove_reader(self._terminal)
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(3):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._process._transport.close()
        os.close(self._terminal)
