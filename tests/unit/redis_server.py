"""A Redis server of the test's own, on a Unix socket, gone with the test."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


class RedisServer:
    """Started in a folder of its own; nothing listens on TCP."""

    def __init__(self, folder, *options):
        self.folder = Path(folder)
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._options = options
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", "0", "--unixsocket", str(self.socket)),
                *("--dir", str(self.folder), "--save", "", "--appendonly", "no", *self._options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        import redis

        for _ in range(500):
            with contextlib.suppress(redis.RedisError):
                if self.admin().ping():
                    return
            time.sleep(0.01)
        raise RuntimeError("redis-server did not start")

    def admin(self):
        import redis

        return redis.Redis(unix_socket_path=str(self.socket))

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_redis(*options):
    """A server; the test is skipped where Debian's redis-server or PyPI's redis is missing."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server (Debian package) is not installed")
    with tempfile.TemporaryDirectory(prefix="vb-redis-") as folder:
        server = RedisServer(folder, *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
