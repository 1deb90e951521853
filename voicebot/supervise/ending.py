"""How a child process is made to end."""

import asyncio
import contextlib
import os
import signal


async def end_process(
    process: asyncio.subprocess.Process | None, grace_s: float, *, whole_group: bool = False
) -> None:
    """SIGTERM, and SIGKILL when it takes longer than ``grace_s``; returns when it is gone.

    Args:
        process: It; nothing is done for one that was never started or has ended.
        grace_s: How long it may take to end by itself.
        whole_group: SIGKILL goes to its children as well (it leads a process group).
    """
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            if whole_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        await process.wait()
