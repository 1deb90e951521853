"""The front of docs/operations.md for TLS and SRTP: a telephone that accepts nothing else calls the bot through it."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from sip_test_harness import write_wav
from tests.loopback.bot_program import running_bot
from tests.loopback.peers import Baresip
from tests.loopback.takeover_kit import STUB
from tests.ports import free_port, free_port_range

FOLDERS = os.environ.get("VOICEBOT_TEST_KAMAILIO_MODULES", "").split(":")
MODULES = [
    folder
    for folder in (*map(Path, filter(None, FOLDERS)), *Path("/usr/lib").glob("*/kamailio/modules"))
    if folder.is_dir()
]
pytestmark = [
    *(
        pytest.mark.loopback,
        pytest.mark.models,
        pytest.mark.peer,
        pytest.mark.long,
        pytest.mark.timeout(300),
    ),
    pytest.mark.skipif(
        not any((folder / "tls.so").exists() for folder in MODULES) or not shutil.which("rtpengine"),
        reason="Debian packages kamailio-tls-modules and rtpengine-daemon are not installed",
    ),
]
CONFIGURATION = Path(__file__).parents[2] / "deploy/tls-front/kamailio.cfg"
OUTSIDE, INSIDE, BEHIND = "127.0.7.1", "127.0.7.2", "127.0.0.1"
PLAN = """
version: 1
name: front
routes: [{ match: { to: ["*"] }, flow: main }]
slots: { code: { type: digits, length: 2, input: [dtmf], ask: "Two digits, please." } }
flows: { main: [{ collect: code }, { say: "Goodbye.", hangup: completed }] }
"""


def configuration(folder, ports):
    """The file as it is shipped, with the addresses of this test; everything it says must be found in it."""
    text = CONFIGURATION.read_text()
    for old, new in (
        ("198.51.100.7!g", f"{OUTSIDE}!g"),
        ("10.0.0.2!g", f"{INSIDE}!g"),
        ("10.0.0.9:5060", f"{BEHIND}:{ports['bot']}"),
        ("10.0.0.9/32", f"{BEHIND}/32"),
        ("203.0.113.0/28", "127.0.0.0/8"),
        ("!/etc/kamailio!", f"!{folder}!"),
        ("udp:127.0.0.1:2223", f"udp:{INSIDE}:{ports['control']}"),
        ("listen=tls:OUTSIDE:5061", f"listen=tls:OUTSIDE:{ports['tls']}"),
        ("listen=udp:INSIDE:5060", f"listen=udp:INSIDE:{ports['inside']}"),
        ("log_stderror=no", "log_stderror=yes"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "kamailio.cfg"
    path.write_text(text)
    return path


@contextlib.asynccontextmanager
async def program(folder, name, *command):
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()


async def certificate(folder, name, address):
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={address}"
    command += f" -addext subjectAltName=IP:{address} -keyout {name}-key.pem -out {name}-certificate.pem"
    process = await asyncio.create_subprocess_exec(
        *command.split(), cwd=folder, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0


@contextlib.asynccontextmanager
async def front(folder, bot_port):
    """Kamailio and rtpengine; gives the port for TLS."""
    media = free_port_range(40)
    ports = {"bot": bot_port, "control": free_port(), "inside": free_port()}
    ports["tls"] = free_port(socket.SOCK_STREAM)
    await certificate(folder, "front", OUTSIDE)
    kamailio = shutil.which("kamailio") or "/usr/sbin/kamailio"
    options = ["-DD", "-E", "-L", ":".join(map(str, MODULES)), "-w", str(folder), "-Y", str(folder)]
    async with (
        program(
            *(folder, "rtpengine", "rtpengine", "--foreground", "--log-stderr", "--table=-1"),
            *(f"--interface=external/{OUTSIDE}", f"--interface=internal/{INSIDE}"),
            *(
                f"--listen-ng={INSIDE}:{ports['control']}",
                f"--port-min={media}",
                f"--port-max={media + 39}",
            ),
        ),
        program(folder, "kamailio", kamailio, "-f", str(configuration(folder, ports)), *options),
    ):
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(OUTSIDE, ports["tls"])
                    writer.close()
                    break
                await asyncio.sleep(0.1)
        yield ports["tls"]


@pytest.mark.parametrize("hangs_up", ["bot", "caller"])
async def test_a_call_over_tls_and_srtp(tmp_path, hangs_up):
    """Keys arrive, sound goes both ways, and either side's BYE finds the other."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    write_wav(tmp_path / "said.wav", [0] * 8000 * 60)
    settings = {
        **STUB,
        "dialplan": tmp_path / "plan.yaml",
        "sip__trunks": f"{INSIDE}/32,127.0.0.0/8",
        "sip__fronts": f"{INSIDE}/32",
    }
    async with running_bot(tmp_path / "data", **settings) as bot, front(tmp_path, bot.sip_port) as port:
        await certificate(tmp_path, "phone", "127.0.0.1")
        both = "".join((tmp_path / f"phone-{part}.pem").read_text() for part in ("key", "certificate"))
        (tmp_path / "phone.pem").write_text(both)
        config = f"module srtp.so\nsip_certificate {tmp_path}/phone.pem\n"
        config += f"sip_cafile {tmp_path}/front-certificate.pem\n"
        account = f';mediaenc=srtp-mand;outbound="sip:{OUTSIDE}:{port};transport=tls"'
        async with Baresip(tmp_path, tmp_path / "said.wav", config=config, account=account) as phone:
            phone.type(f"/dial sip:front@{OUTSIDE}:{port};transport=tls\n")
            await phone.wait_for("Call established", 30)
            async with asyncio.timeout(30):
                while not re.search(r"audio=[56]\d{4}/[56]\d{4}", phone.output):
                    await asyncio.sleep(0.1)
            if hangs_up == "bot":
                phone.type("12")
            else:
                phone.type("b")
            await phone.wait_for("terminated", 30)
        async with asyncio.timeout(30):
            while not bot.records():
                await asyncio.sleep(0.1)
        (record,) = bot.records()
        assert record["ended_by"] == hangs_up
        assert record["caller"] == "tester"
        assert record["line"]["received_packets"] > 50
        assert (record["transcript"][-1]["text"] == "Goodbye.") is (hangs_up == "bot")
        (incoming,) = bot.events("call_incoming")
        assert incoming["source_address"].startswith("127.0.")
