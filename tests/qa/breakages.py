"""Five ways to break the bot, for tests only: what a QA suite must notice.

Three functions break the process that calls them; settings and a dialplan break the other two. Processes
of a bot that runs break themselves at their start: ``broken_processes/sitecustomize.py``.
"""

import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
DELAY_MS = 200
CUTS_OFF = {
    f"turn__{name}": "20"
    for name in (
        *("hold_complete_ms", "hold_phrase_ms", "hold_digits_ms", "hold_open_ms"),
        *("hold_finished_ms", "hold_unfinished_ms", "hold_hesitation_ms", "stable_partial_ms"),
    )
}
"""An endpointer that takes every breath for the end."""


def jitter_buffer_off():
    """What does not come in order is lost."""
    from voicebot.edge import receive_path

    receive_path.JitterBuffer = functools.partial(_no_waiting, receive_path.JitterBuffer)


def _no_waiting(original, *arguments, **options):
    return original(*arguments, **(options | {"max_delay_ms": 1, "initial_delay_ms": 0}))


def concealment_off():
    """Lost packets become silence."""
    import numpy as np

    from voicebot.audio.concealment import Concealer

    Concealer.lost = lambda self, following=None: np.zeros(160, np.int16)
    Concealer.good = lambda self, frame: frame


def late_by_200_ms():
    """Every utterance begins 200 ms later, on virtual time and live."""
    from voicebot.offline import engines

    original = engines.Latencies
    engines.Latencies = lambda asr, tts, tool: original(asr, tts + DELAY_MS, tool)
    late_voices()


def late_voices():
    """The live half of it."""
    import asyncio

    from voicebot.worker.speaking import SpeakingPool

    speak = SpeakingPool.speak

    async def late(self, *arguments, **options):
        await asyncio.sleep(DELAY_MS / 1000)
        async for payload in speak(self, *arguments, **options):
            yield payload

    SpeakingPool.speak = late


def wrong_intent_dialplan(folder):
    """The bank's dialplan, in which whoever asks for the balance is told the opening hours."""
    lines = (ROOT / "dialplans/bank.yaml").read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if "intent: balance" in line)
    # Under another name: a choice's own name is understood as well as its examples.
    lines[at] = lines[at].replace("intent: balance", "intent: statement")
    lines[at] = lines[at].replace("goto: balance", "goto: opening_hours")
    path = Path(folder) / "wrong_intent.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path
