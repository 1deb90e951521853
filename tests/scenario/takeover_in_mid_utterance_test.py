"""A worker dies while the caller speaks, at any frame: the next one hears all of it, once.

The recogniser here does not guess: it knows each frame of what the caller says, and understands an answer
only when it has heard its frames in order, none twice and none missing but for soft edges.
"""

import pytest

from tests.scenario.takeover_at_each_effect_test import World
from tests.scenario.virtual_callers import SILENCE, ScriptedCaller, voice
from voicebot.dialogue.loader import load_dialplan

FRAME_MS = 20
FRAMES = 40
WORD_FRAMES = 20
INTO_IT_MS = 600
EDGE_FRAMES = 3
"""What an endpointer may cut off at either end."""
ANSWERS = ("one three", "two four")
FIRST, SECOND = "The first two digits of your account, please.", "And now, please, the last two of them."
"""Long enough: who speaks right after the bot began goes on with what he said before."""
PLAN = load_dialplan(
    f"""
version: 1
name: t
routes: [{{ match: {{ to: ["*"] }}, flow: main }}]
slots:
  one: {{ type: digits, length: 2, ask: "{FIRST}" }}
  two: {{ type: digits, length: 2, ask: "{SECOND}" }}
flows:
  main:
    - collect: one
    - collect: two
    - say: "Bye."
      hangup: completed
"""
)
"""Digits, spoken."""


def frames_of(answer):
    audio = voice(10 + answer, FRAMES * FRAME_MS)
    return [audio[at : at + 160] for at in range(0, len(audio), 160)]


KNOWN = {frame: (n, i) for n in range(len(ANSWERS)) for i, frame in enumerate(frames_of(n))}


class SpeakingCaller(ScriptedCaller):
    """Gives each answer in frames that can be told apart: after the question, or into it."""

    def __init__(self, *, interrupts=False):
        super().__init__(("listen",), ("listen",))
        self.began_ms = []
        self._interrupts, self._question_ms = interrupts, 0
        self._saying = []

    def tick(self, now_ms, heard, *, heard_silence):
        waiting = len(self.steps)
        self._question_ms = 0 if heard_silence else self._question_ms + FRAME_MS
        if not self._interrupts:
            super().tick(now_ms, heard, heard_silence=heard_silence)
        elif waiting and self._question_ms == INTO_IT_MS:
            self.steps.pop(0)
        if len(self.steps) < waiting:
            self._saying = frames_of(len(ANSWERS) - waiting)
            self.began_ms.append(now_ms)
        return self._saying.pop(0) if self._saying else SILENCE


class StrictRecogniser:
    """Understands an answer that it heard whole."""

    def __init__(self):
        self.heard = []

    def accept(self, payload):
        if payload in KNOWN:
            self.heard.append(KNOWN[payload])
            if len(self.heard) == WORD_FRAMES:
                return ANSWERS[self.heard[0][0]].split()[0]
        return None

    def finish(self):
        if not self.heard:
            return "", 0.0
        first, last = self.heard[0], self.heard[-1]
        answer = first[0]
        whole = self.heard == [(answer, i) for i in range(first[1], last[1] + 1)]
        if whole and first[1] <= EDGE_FRAMES and last[1] >= FRAMES - 1 - EDGE_FRAMES:
            return ANSWERS[answer], 0.95
        return f"garbled {first} {last} {len(self.heard)}", 0.95


def spoken_world(*, interrupts=False):
    return World(PLAN, SpeakingCaller(interrupts=interrupts), lambda _expectation: StrictRecogniser())


def wrong(world, ended):
    lines = [world.turns[n] for n in sorted(world.turns)]
    said = [text for who, text in lines if who == "caller"]
    bot = [text for who, text in lines if who == "bot"]
    found = [] if ended else ["the call stands still"]
    if said != list(ANSWERS):
        found.append(f"the caller's turns are {said}")
    if bot != [FIRST, SECOND, "Bye."]:
        found.append(f"the bot's turns are {bot}")
    return found


def broken(times, *, interrupts):
    found = {}
    for died_ms in times:
        world = spoken_world(interrupts=interrupts)
        if bad := wrong(world, world.run(died_ms=died_ms)):
            found[died_ms] = bad
    return found


def moments(step_ms, *, interrupts):
    """From before the caller speaks until the answer to it is long out."""
    world = spoken_world(interrupts=interrupts)
    assert wrong(world, world.run()) == []
    return [
        (at_ms,)
        for began_ms in world.caller.began_ms
        for at_ms in range(began_ms - 100, began_ms + FRAMES * FRAME_MS + 1500, step_ms)
    ]


@pytest.mark.parametrize("interrupts", [False, True], ids=["after the question", "into the question"])
def test_a_worker_that_dies_while_the_caller_speaks_loses_no_word(interrupts):
    assert broken(moments(140, interrupts=interrupts), interrupts=interrupts) == {}


@pytest.mark.long
@pytest.mark.parametrize("interrupts", [False, True], ids=["after the question", "into the question"])
@pytest.mark.parametrize("again_ms", [0, 60, 240, 700])
def test_a_worker_dies_at_any_frame_and_so_does_the_next(again_ms, interrupts):
    """Every frame; the next worker dies in the middle of what it hears again, or a little later."""
    times = moments(20, interrupts=interrupts)
    assert broken([(at_ms, at_ms + again_ms) for (at_ms,) in times], interrupts=interrupts) == {}
