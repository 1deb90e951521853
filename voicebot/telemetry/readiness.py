"""How a child process tells its supervisor that it can work."""

import os

from voicebot.config.load import READY_VARIABLE


def announce_ready() -> None:
    """Write one byte to the descriptor named by ``VOICEBOT_READY_FD``; nothing happens without one."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdigit():
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))
