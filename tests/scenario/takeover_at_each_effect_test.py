"""A worker dies at each single effect of a call: the next one makes it whole, whatever the moment.

Random kills hit moments by chance; here, on virtual time, none is left out. The edge's side is its own code:
the ring of what nobody has acknowledged, and the queue of what is still to be played.
"""

import dataclasses
import datetime as dt
import itertools
from collections import Counter

import msgspec
import pytest

from tests.scenario.virtual_callers import HearsTheCaller, LineWithoutEcho, ScriptedCaller, engines
from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.dialogue.actions import CallTool
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.events import ToolFinished
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.state import CallFacts
from voicebot.edge.caller_ring import CallerRing
from voicebot.link.binary_media import CallerAudio
from voicebot.link.messages import (
    Acknowledge,
    Clear,
    Dtmf,
    Hangup,
    Resume,
    Start,
    Stop,
    UtteranceProgress,
)
from voicebot.rtp.playout import PlayoutQueue
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import BeginSynthesis, CallState, Persist, SaveState, ToEdge
from voicebot.worker.virtual_call import FRAME_MS, FRAME_SAMPLES, Key, VirtualCall

ORDERS = ("13", "24")
DOUBT = "Who knows."
LIMIT_MS = 30_000
PLAN = load_dialplan(
    f"""
version: 1
name: t
routes: [{{ match: {{ to: ["*"] }}, flow: main }}]
slots:
  one: {{ type: digits, length: 2, input: [dtmf], ask: "First?" }}
  two: {{ type: digits, length: 2, input: [dtmf], ask: "Second?" }}
tools:
  book_one: {{ post: "http://127.0.0.1:1/book", send: [one], returns: {{ number: text }} }}
  book_two: {{ post: "http://127.0.0.1:1/book", send: [two], returns: {{ number: text }} }}
flows:
  main:
    - say: "Hi."
    - collect: one
    - call: book_one
      result: {{ ok: {{ say: "Yes." }}, error: {{ say: "{DOUBT}" }} }}
    - collect: two
    - call: book_two
      result: {{ ok: {{ say: "Yes." }}, error: {{ say: "{DOUBT}" }} }}
    - say: "Bye."
      hangup: completed
"""
)
FACTS = CallFacts(session_id="s1", called="bank", now=dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC))
DEADLY = (Persist, SaveState, ToEdge, CallTool, BeginSynthesis)


class WorkerDiedError(Exception):
    """At this effect."""


class MortalCall(VirtualCall):
    """Dies instead of carrying out one of its effects."""

    def __init__(self, core, world, dies_at):
        super().__init__(core, world.engines)
        self._world, self._playout, self._hang_up = world, world.playout, world.hangs_up
        self._dies_at, self._done = dies_at, 0

    def _carry_out(self, effects, now_ms):
        for effect in effects:
            if isinstance(effect, DEADLY):
                if self._done == self._dies_at:
                    raise WorkerDiedError
                self._done += 1
                self._world.happened(effect)
            super()._carry_out([effect], now_ms)


class World:
    """All that outlives a worker: edge, store, the house of the tools, the caller."""

    def __init__(self, plan=PLAN, caller=None, recognise=None):
        keys = [("listen",), *(("key", digit) for digit in ORDERS[0])]
        keys += [("listen",), *(("key", digit) for digit in ORDERS[1])]
        self.plan, self.caller = plan, caller or ScriptedCaller(*keys)
        self.engines = engines(call_tool=self.tool, tool_ms=40)
        if recognise is not None:
            self.engines = dataclasses.replace(self.engines, recognise=recognise)
        self.playout, self.ring = PlayoutQueue(), CallerRing()
        self.turns, self.state, self.generation, self.hangs_up = {}, None, 0, False
        self.begun, self.told, self.asked, self.effects = set(), {}, Counter(), 0
        self.workers = 0

    def tool(self, call):
        key = call.idempotency_key
        if key not in self.begun:
            self.begun.add(key)
            self.asked[key] += 1
            self.told[key] = ToolFinished(request=call.request, outcome="ok", values={"number": "7"})
        return msgspec.structs.replace(self.told[key], request=call.request)

    def happened(self, effect):
        """What a worker has done cannot be taken back."""
        self.effects += 1
        match effect:
            case Persist(turn=turn):
                self.turns[turn.turn] = (turn.who, turn.text)
            case SaveState(state=state):
                self.state = msgspec.json.encode(state)
            case ToEdge(message=Acknowledge(frame=frame, keys=keys)):
                self.ring.acknowledge(frame, keys)
            case ToEdge(message=Clear(generation=generation)):
                self.generation = generation
            case ToEdge(message=Hangup()):
                self.hangs_up = True

    def worker(self, now_ms, dies_at):
        """The first worker, or the next one, which is told what the edge knows."""
        core = CallCore(
            TurnSettings(),
            BudgetSettings(),
            HearsTheCaller(),
            lambda start: Conversation(self.plan, FACTS),
            LineWithoutEcho(),
        )
        call = MortalCall(core, self, dies_at)
        resume = None
        if self.workers:
            if self.state is not None:
                state = msgspec.json.decode(self.state, type=CallState)
                core.take_over(Conversation.restore(self.plan, FACTS, state.conversation), state)
            resume = Resume(
                session_id="s1",
                generation=self.generation,
                lease=self.workers,
                acknowledged_frame=self.ring.acknowledged_frame,
                acknowledged_keys=self.ring.acknowledged_keys,
                talk_ms=now_ms,
                utterances=tuple(
                    UtteranceProgress(
                        utterance=u.utterance,
                        played_ms=round(u.played_ms),
                        complete=u.complete,
                        finished=u.finished,
                        received_samples=u.received_samples,
                    )
                    for u in self.playout.utterances()
                ),
            )
        self.workers += 1
        call.put(now_ms, Start(call_id="c1", session_id="s1", answered=bool(resume), resume=resume))
        for missed in self.ring.replay() if resume else ():
            call.put(now_ms, missed)
        return call

    def run(self, *dies_at, died_ms=()):
        """The whole call, with deaths at effects or at times; whether it came to its end."""
        lives = itertools.chain(dies_at, itertools.repeat(-1))
        call = self.worker(0, next(lives))
        for frame, now_ms in enumerate(range(0, LIMIT_MS, FRAME_MS)):
            if now_ms in died_ms:
                call = self.worker(now_ms, next(lives))
            try:
                out = call.send(now_ms)
                said = self.caller.tick(now_ms, out.payload, heard_silence=out.silence)
                audio = said if isinstance(said, bytes) else b"\xff" * FRAME_SAMPLES
                position = call.position_samples
                came = [CallerAudio(frame, frame * FRAME_SAMPLES, now_ms * 1000, position, audio)]
                self.ring.append(came[0])
                if isinstance(said, Key):
                    came.append(Dtmf(digit=said.digit))
                    self.ring.append_key(came[1])
                for item in came:
                    call.put(now_ms, item)
                call.deliver(now_ms)
                if call.finish_tick(now_ms, Stop(reason="bot hung up", ended_by="bot")):
                    return True
            except WorkerDiedError:
                call = self.worker(now_ms, next(lives))
        return False

    def problems(self):
        """What must hold, as sentences."""
        lines = [self.turns[n] for n in sorted(self.turns)]
        said = [text for who, text in lines if who == "caller"]
        bot = [text for who, text in lines if who == "bot"]
        wanted = ["Hi. First?", "Yes. Second?", "Yes. Bye."]
        found = []
        if said != list(ORDERS):
            found.append(f"the caller's turns are {said}")
        if bot != wanted:
            found.append(f"the bot's turns are {bot}")
        if sorted(self.asked.values()) != [1, 1]:
            found.append(f"tools were asked {dict(self.asked)}")
        if sorted(self.turns) != list(range(len(lines))):
            found.append(f"turns are numbered {sorted(self.turns)}")
        return found


def whole_life():
    """How many effects a call has when nobody dies."""
    world = World()
    assert world.run()
    assert world.problems() == []
    return world.effects


def broken(deaths):
    """What is wrong with the calls whose workers die so."""
    found = {}
    for dies_at in deaths:
        world = World()
        ended = world.run(*dies_at)
        if wrong := world.problems() + ([] if ended else ["the call stands still"]):
            found[dies_at] = wrong
    return found


def test_a_worker_that_dies_at_any_effect_leaves_the_call_whole():
    """Each turn once and under its number, each tool once, and the call comes to its end."""
    assert broken((dies_at,) for dies_at in range(whole_life())) == {}


def test_the_next_worker_dies_too():
    """Soon after it took over: what was answered, and not acknowledged, comes a third time.

    Found here: the keys of one answer were taken for the answer to the next question as well.
    """
    assert broken(itertools.product(range(whole_life()), (1, 3, 5))) == {}


@pytest.mark.long
def test_two_workers_die_at_any_two_effects():
    """All pairs."""
    count = whole_life()
    assert broken(itertools.product(range(count), range(count))) == {}
