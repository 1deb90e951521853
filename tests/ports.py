"""Ports for the programs under test: free now, and never those of a suite that runs beside this one.

All lie below the range from which the kernel serves ``bind(0)``, so no socket of a caller can come in
between; each worker of pytest-xdist has a range of its own and goes round in it.
"""

import contextlib
import os
import socket

FIRST, LAST, WORKERS = 12_000, 32_000, 4
SHARE = (LAST - FIRST) // WORKERS
_at = os.getpid() % SHARE


def free_port(kind=socket.SOCK_DGRAM) -> int:
    """An even port of 127.0.0.1 that is free now."""
    return free_port_range(2, kind)


def free_port_range(size, kind=socket.SOCK_DGRAM) -> int:
    """An even start of ``size`` ports in a row that are free now; handed out once in each round."""
    global _at  # noqa: PLW0603 - where the next search begins
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    for _ in range(SHARE):
        if _at + size > SHARE:
            _at = 0
        start = FIRST + worker * SHARE + _at // 2 * 2
        _at += size + size % 2
        with contextlib.ExitStack() as stack:
            try:
                for port in range(start, start + size):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return start
    raise RuntimeError("no free ports")
