"""How a child process tells its supervisor that it can work, and then that it is alive."""

import asyncio
import os
from typing import Final

from voicebot.config.load import READY_VARIABLE

BEAT_S: Final = 0.5


def announce_ready() -> None:
    """Write one byte to the descriptor named by ``VOICEBOT_READY_FD``, then one each half second.

    The bytes come from the running event loop: a loop that hangs falls silent. Nothing happens without
    the variable.
    """
    name = os.environ.pop(READY_VARIABLE, "")
    if name.isdigit():
        descriptor = int(name)
        os.set_blocking(descriptor, False)
        _beat(asyncio.get_running_loop(), descriptor)


def _beat(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    try:
        os.write(descriptor, b"1")
    except BlockingIOError:
        pass  # the supervisor is behind: it has enough to read
    except OSError:
        os.close(descriptor)  # it is gone, and so shall we be in a moment
        return
    loop.call_later(BEAT_S, _beat, loop, descriptor)
