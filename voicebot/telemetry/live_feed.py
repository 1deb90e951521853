"""What is going on right now, from the workers to whoever watches, and commands back.

    worker ── publish(event) ──► DATA/live/console.sock ──► console
    worker ◄── commands ──────── DATA/live/worker-<pid>.sock ◄── console

Unix datagrams: one JSON object each. A call never waits for a watcher: without one the event is gone,
with a slow one the oldest of a bounded backlog goes. The folder is for its owner alone (0700): who may
enter it may read the recordings as well.
"""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

FOLDER: Final = "live"
CONSOLE_SOCKET: Final = "console.sock"
WORKER_PREFIX: Final = "worker-"
MAX_DATAGRAM_BYTES: Final = 65_536
BACKLOG: Final = 256
_BUFFER_BYTES: Final = 1 << 20

Event = dict[str, Any]


class LivePort:
    """One end of the feed: a socket of our own in the folder, and sends to others there.

    Args:
        folder: The data directory.
        name: File name of our socket.
        on_event: Called on the event loop with each object that arrives; garbage is dropped.
    """

    def __init__(self, folder: Path, name: str, on_event: Callable[[Event], None]) -> None:
        self._folder = folder / FOLDER
        self._name = name
        self._on_event = on_event
        self._backlog: deque[tuple[str, bytes]] = deque(maxlen=BACKLOG)
        self._socket: socket.socket | None = None
        self._directory = -1
        self.dropped = 0

    def open(self) -> None:
        """Bind; a socket left behind by a dead process of that name is replaced.

        Raises:
            OSError: The folder cannot be used.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        # A path under /proc is short whatever the data directory is called: sun_path has 108 bytes.
        self._directory = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        (self._folder / self._name).unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        bound.bind(self._path(self._name))
        asyncio.get_running_loop().add_reader(bound, self._read)
        self._socket = bound

    def close(self) -> None:
        """Unbind and remove the socket."""
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        (self._folder / self._name).unlink(missing_ok=True)
        os.close(self._directory)

    def publish(self, event: Event, to: str = CONSOLE_SOCKET) -> None:
        """Send without waiting; never raises for what the other side does."""
        if self._socket is None:
            return
        with contextlib.suppress(UnicodeEncodeError, TypeError):
            data = msgspec.json.encode(event)
            if len(data) <= MAX_DATAGRAM_BYTES:
                self.dropped += len(self._backlog) == BACKLOG
                self._backlog.append((to, data))
        while self._backlog:
            to, data = self._backlog[0]
            try:
                self._socket.sendto(data, self._path(to))
            except BlockingIOError:
                return
            except OSError:  # nobody listens there
                pass
            self._backlog.popleft()

    def workers(self) -> list[str]:
        """Names of the workers' sockets."""
        return sorted(p.name for p in self._folder.glob(f"{WORKER_PREFIX}*.sock"))

    def _path(self, name: str) -> str:
        return f"/proc/self/fd/{self._directory}/{name}"

    def _read(self) -> None:
        for _ in range(64):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            try:
                event = msgspec.json.decode(data, type=dict[str, Any])
            except (msgspec.MsgspecError, UnicodeError):
                continue
            self._on_event(event)


def worker_socket_name() -> str:
    """The name of this process's socket."""
    return f"{WORKER_PREFIX}{os.getpid()}.sock"
