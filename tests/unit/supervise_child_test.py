"""A child process under watch: ready, alive, hung, dead."""

import asyncio
import signal
import sys

import pytest

from voicebot.supervise.child import Child

_BEATS = """
import asyncio, signal, sys
from voicebot.telemetry.readiness import announce_ready
async def main():
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    announce_ready()
    await stop.wait()
asyncio.run(main())
"""


def child(code, hang_limit_s=60.0):
    return Child("test", (), hang_limit_s=hang_limit_s, program=(sys.executable, "-c", code))


async def test_a_child_that_lives_is_left_alone_and_ends_on_sigterm():
    program = child(_BEATS)
    assert await program.start()
    assert program.ready
    await program.stop(30)
    assert program.process.returncode == 0


@pytest.mark.timeout(120)
async def test_a_child_that_hangs_is_killed():
    """SIGSTOP: no signal but SIGKILL gets through, and its beats stop."""
    program = child(_BEATS, hang_limit_s=1.5)
    assert await program.start()
    program.process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(60):
        assert await program.process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("code", ["import sys; sys.exit(3)", "raise SystemExit"])
async def test_a_child_that_dies_before_it_is_ready_is_no_start(code):
    program = child(code)
    assert not await program.start()
    async with asyncio.timeout(30):
        await program.process.wait()
