"""Kamailio in front of several edges: its configuration out of our settings, and its process.

It is the Debian package, started as a child with a configuration under ``data_dir``; the service that
the package installs is not used. As root it is started as the user ``kamailio``
or ``nobody``.
"""

import asyncio
import contextlib
import importlib.resources
import ipaddress
import os
import pwd
import secrets
import shutil
import socket
from collections.abc import Sequence
from typing import Final

from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError
from voicebot.supervise.child import die_with_parent
from voicebot.supervise.ending import end_process
from voicebot.supervise.fleet import CALLS_PER_EDGE
from voicebot.telemetry.log import get_logger

FOLDER: Final = "front"
CONFIGURATION: Final = "kamailio.cfg"
DISPATCHER_LIST: Final = "dispatcher.list"
HERE: Final = "/proc/self/cwd"
CHILDREN: Final = 2
READY_LIMIT_S: Final = 15.0
PROBE_S: Final = 0.1
STOP_LIMIT_S: Final = 3.0
REQUESTS_PER_CALL_S: Final = 8
_SEARCH_PATH: Final = os.pathsep.join((os.defpath, "/usr/sbin", "/sbin", "/usr/local/sbin"))


def find_kamailio(program: str) -> str:
    """Where the program is.

    Raises:
        ConfigError: It is not installed; says what to install.
    """
    found = shutil.which(program) or shutil.which(program, path=_SEARCH_PATH)
    if found is None:
        raise ConfigError(
            f"more than {CALLS_PER_EDGE} calls need Kamailio in front of the edges, and {program!r} is "
            "not installed: apt-get install kamailio (Debian, Ubuntu), or ask for at most "
            f"{CALLS_PER_EDGE} calls",
            key="scale.front_program",
        )
    return found


def configuration(settings: Settings) -> str:
    """The text of kamailio.cfg."""
    sip = settings.sip
    listen = f"{sip.host}:{sip.port}"
    if sip.advertised_host:
        listen += f" advertise {sip.advertised_host}:{sip.port}"
    networks = [ipaddress.ip_network(trunk, strict=False) for trunk in sip.trunks]
    allowed = " || ".join(f'is_in_subnet("$si", "{network}")' for network in networks)
    values = {
        "LISTEN": listen,
        "ADDRESS": f"{sip.host}:{sip.port}",
        "CHILDREN": str(CHILDREN),
        "ALLOWED": allowed or "0 == 1",
        "REQUESTS_PER_S": str(100 + REQUESTS_PER_CALL_S * settings.scale.calls),
        "DISPATCHER_LIST": f"{HERE}/{DISPATCHER_LIST}",
        "LONGEST_CALL_S": str(sip.max_call_s + 60),
        "RETRY_AFTER_S": str(sip.retry_after_s),
        "RTPENGINE": settings.scale.rtpengine,
        "MEDIA": "#!define WITH_RTPENGINE" if settings.scale.rtpengine else "",
    }
    text = importlib.resources.files("voicebot.supervise").joinpath(CONFIGURATION).read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"%%{name}%%", value)
    return text


def dispatcher_list(edges: Sequence[str]) -> str:
    """One line for each edge (``host:port``): set, address, flags, priority, name and most calls."""
    lines = [
        f"1 sip:{address} 0 0 duid=e{number};maxload={CALLS_PER_EDGE}"
        for number, address in enumerate(edges)
    ]
    return "\n".join(lines) + "\n"


class Front:
    """The Kamailio process.

    Args:
        settings: The whole tree.
        edges: The edges behind it, ``host:port`` each.

    Raises:
        ConfigError: Kamailio is not installed.
    """

    def __init__(self, settings: Settings, edges: Sequence[str]) -> None:
        self._program = find_kamailio(settings.scale.front_program)
        self._sip = settings.sip
        self._folder = settings.data_dir.absolute() / FOLDER
        self._texts = {
            CONFIGURATION: configuration(settings),
            DISPATCHER_LIST: dispatcher_list(edges),
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> bool:
        """Write the configuration, start, wait until it answers; False when it does not."""
        self._write()
        user = _unprivileged_user()
        if user is not None:
            os.chown(self._folder, user.pw_uid, user.pw_gid)
        self.process = await asyncio.create_subprocess_exec(
            self._program,
            *("-f", f"{HERE}/{CONFIGURATION}", "-DD", "-E", "-m", "64", "-M", "8", "-w", ".", "-Y", "."),
            # Paths go through the open directory: as another user it could not pass through data_dir.
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            # Not by its own option: changing the user later would make the kernel forget the parent.
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            preexec_fn=die_with_parent,
        )
        return await self._answers()

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL to the whole group."""
        await end_process(self.process, STOP_LIMIT_S, whole_group=True)

    def _write(self) -> None:
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, text in self._texts.items():
            path = self._folder / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)

    async def _answers(self) -> bool:
        assert self.process is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_LIMIT_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.bind((self._sip.host, 0))
            while loop.time() < deadline and self.process.returncode is None:
                try:
                    probe.sendto(self._ping(probe), (self._sip.host, self._sip.port))
                    async with asyncio.timeout(PROBE_S * 5):
                        if (await loop.sock_recv(probe, 2048)).startswith(b"SIP/2.0"):
                            return True
                except (OSError, TimeoutError):
                    await asyncio.sleep(PROBE_S)
        get_logger().error("front_not_ready", folder=str(self._folder))
        return False

    def _ping(self, probe: socket.socket) -> bytes:
        host, port = probe.getsockname()
        token = secrets.token_hex(6)
        lines = (
            f"OPTIONS sip:{self._sip.host}:{self._sip.port} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{token}",
            "Max-Forwards: 5",
            f"From: <sip:supervisor@{host}>;tag={token}",
            f"To: <sip:front@{self._sip.host}>",
            f"Call-ID: {token}@{host}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        )
        return "\r\n".join((*lines, "", "")).encode()


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to become when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("kamailio", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None
