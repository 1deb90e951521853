"""Keeps connections to a language model open while somebody may need them."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final

from voicebot.llm.protocol import ChatModel
from voicebot.telemetry.log import get_logger

LOOK_S: Final = 0.5
AGAIN_SHARE: Final = 0.7
"""Of the time after which an idle connection is closed, by us or by the server."""


async def keep_warm(model: ChatModel, busy: Callable[[], bool]) -> None:
    """For ever: while there are calls, the first question must not pay for a connection."""
    warmed_s = -math.inf
    while True:
        if busy() and time.monotonic() - warmed_s > AGAIN_SHARE * model.kept_open_s:
            warmed_s = time.monotonic()
            problem = await model.warm()
            if problem:
                get_logger().warning("language_model_not_warm", problem=problem)
        await asyncio.sleep(LOOK_S)
