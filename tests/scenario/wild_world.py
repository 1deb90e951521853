"""A call in which anything may happen at any moment, drawn from a seed: on virtual time, with real dialplans.

    caller       words of any confidence, over the bot or not, keys, silence, hold, hangs up
    outside      tools and language model answer at once, late, wrongly or never
    colleagues   busy, no answer, decline, hang up, press the wrong key, leave the browser
    ourselves    a voice or a recogniser fails, a worker dies at any effect and the next one goes on

What must hold all the time is looked at in every frame, and kept as sentences in ``wrong``.
"""

import datetime as dt
import random
import re

import msgspec

from tests.scenario.virtual_callers import (
    SILENCE,
    SPEECH,
    HearsTheCaller,
    LineWithoutEcho,
    noise,
)
from voicebot.config.settings import BudgetSettings, HandoffSettings, Settings, SipSettings, TurnSettings
from voicebot.dialogue.actions import AskRouter, CallTool
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.events import RouteFinished, ToolFinished, ToolSaid
from voicebot.dialogue.opening import open_ring_back
from voicebot.dialogue.state import CallFacts
from voicebot.edge.caller_ring import CallerRing
from voicebot.handoff.handoff import Stage
from voicebot.link.binary_media import CallerAudio
from voicebot.link.messages import (
    NO_CALL_SLOT,
    Acknowledge,
    Bridge,
    Clear,
    Dial,
    Dtmf,
    Hangup,
    Held,
    LegDtmf,
    LegEnded,
    LegPlayed,
    Record,
    Reject,
    Result,
    Resume,
    Start,
    Stop,
    Transfer,
    TransferProgress,
    Unbridge,
    UtteranceProgress,
)
from voicebot.rtp.playout import PlayoutQueue
from voicebot.worker.effects import (
    AskAhead,
    BeginSynthesis,
    CallState,
    ConsoleCommand,
    EndRecognition,
    FeedRecognition,
    HandoffNews,
    Heard,
    LegSpeech,
    Persist,
    RecognitionFailed,
    RenderAhead,
    SaveState,
    SpeechAudio,
    SpeechDone,
    ToEdge,
    TurnMeasured,
)
from voicebot.worker.handoff_call import BROWSER, HOLD_MUSIC, HandoffCall
from voicebot.worker.handoff_rules import handoff_rules
from voicebot.worker.plan_shelf import PlanInUse
from voicebot.worker.virtual_call import FRAME_MS, FRAME_SAMPLES, VirtualCall, VirtualEngines

SECRET = "7395"
SECRET_SHAPES = re.compile(r"(?<![0-9a-f])7395(?![0-9a-f])|7 3 9 5|seven[ ,.]+three[ ,.]+nine[ ,.]+five")
SILENT_TURN_MS = 12_000
"""A caller who is asked: the longest time that a sample plan gives, and an answer that was no answer."""
SILENT_WAIT_MS = 3_000
"""Nobody waits so long for anything else without hearing something."""
FACTS = {"session_id": "s1", "called": "*", "caller": "+442079460000"}
START = {"call_id": "c1", **FACTS}
WORDS = (
    "balance", "block my card", "yes", "no", "no i said one", "one two three four", "five six seven eight",
    "one two three four five six seven eight", "agent", "help", "go back", "cancel", "repeat", "smith",
    "tomorrow", "at ten", "friday at noon", "lost", "um", "one hundred", "the weather", "goodbye",
    "track a parcel and cancel", "chest pain", "yesterday", "one double oh two double oh three double oh",
    "where is my parcel", "i have a question", "book an appointment", "the fourth of may nineteen eighty",
    "{{ passcode }}", "nothing", "porch", "what does it cost to come again",
)  # fmt: skip
DEADLY = (Persist, SaveState, ToEdge, CallTool, BeginSynthesis, HandoffNews)


class WorkerDiedError(Exception):
    """At this effect."""


class DrawnRecogniser:
    """Hears what the dice say, some frames after the caller began."""

    def __init__(self, dice):
        self._text = dice.choice((*WORDS, ""))
        self._confidence = dice.choice((0.0, 0.3, 0.9, 1.0))
        self._after, self._frames = dice.randrange(5, 40), 0
        self._lost = dice.random() < 0.1

    def accept(self, payload):
        self._frames += 1
        return self._text if self._frames == self._after and self._text else None

    def finish(self):
        return ("", 0.0) if self._lost else (self._text, self._confidence, "yes")


class WildCall(VirtualCall):
    """One worker's life of it."""

    def __init__(self, core, world, lives):
        engines = VirtualEngines(
            recognise=lambda expectation: DrawnRecogniser(world.dice), synthesise=lambda text, how: b""
        )
        super().__init__(core, engines)
        self.core = core
        self._world, self._playout, self._hang_up = world, world.playout, world.hangs_up
        self.lives = lives

    def _carry_out(self, effects, now_ms):
        if self._world.ended and effects:
            self._world.wrong.append(f"{effects} after the end")
        for effect in effects:
            if isinstance(effect, DEADLY):
                self.lives -= 1
                if self.lives == 0:
                    raise WorkerDiedError
            self._world.happened(effect, now_ms)
            if not self._world.takes(effect, now_ms, self):
                super()._carry_out([effect], now_ms)

    def end_of_turn(self, effect, now_ms):
        """The recogniser answers, late, not at all, or fails."""
        dice, recogniser, self._recogniser = self._world.dice, self._recogniser, None
        if recogniser is None:
            return
        if dice.random() < 0.05:
            self.put(now_ms + 30, RecognitionFailed(effect.turn, "drawn"))
            return
        text, confidence, *others = recogniser.finish()
        heard = Heard(effect.turn, text, confidence, final=True, alternatives=tuple(others))
        self.put(now_ms + dice.choice((0, 40, 200, 3000)), heard)


class WildWorld:
    """All that outlives a worker, and the dice.

    Args:
        plan: The application.
        seed: Of the dice.
        agents: Where colleagues are, ``sip`` or ``console``.
        deaths: Whether workers die.
        edited: What the file of the plan says when a worker takes over.
        earlier: What the last call of this caller left, when it was cut off.
        mute: Share of the utterances for which the voice fails.
        patience_ms: So long the caller does something; then silence until ``limit_ms``, then hangs up.
    """

    def __init__(
        self,
        plan,
        seed,
        *,
        agents="sip",
        deaths=True,
        edited=None,
        earlier=None,
        mute=0.0,
        patience_ms=40_000,
        limit_ms=60_000,
    ):
        self.plan, self.dice = plan, random.Random(seed)
        self.mute, self.edited, self.anew = mute, edited, 0
        self.earlier, self.offered = earlier, False
        self.deaths, self.patience_ms, self.limit_ms = deaths, patience_ms, limit_ms
        self.settings = Settings(
            sip=SipSettings(allow_outgoing=True, outgoing_hosts=("127.0.0.1",)),
            handoff=HandoffSettings(agents=agents, countries=("44",), return_keys="**", wait_s=30.0),
        )
        self.now = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
        self.playout, self.ring = PlayoutQueue(), CallerRing()
        self.state, self.generation, self.hangs_up, self.ended = None, 0, False, False
        self.workers, self.frame, self.held, self.paused = 0, 0, False, False
        self.call, self.wrong, self.effects = None, [], []
        self.outside = []  # what is on its way from edge and console: it outlives a worker
        self.legs, self.bridged, self.asked = {}, "", {}
        self.silent_ms, self.waited_ms, self.last_said, self.talks_until_ms = 0, 0, "", None
        self.doing, self.until_ms, self.keys = "wait", 500, []
        self.handed_over = self.ended_by = ""

    # ------------------------------------------------------------ workers

    def worker(self, now_ms):
        """The first worker, or the next one."""
        facts = CallFacts(**FACTS, now=self.now)
        core = HandoffCall(
            TurnSettings(),
            BudgetSettings(),
            HearsTheCaller(),
            lambda start: Conversation(self.plan, facts),
            handoff_rules(self.settings, self.plan, self.now),
        )
        core._listener._echo = LineWithoutEcho(TurnSettings().echo)
        lives = self.dice.randrange(1, 200) if self.deaths and self.dice.random() < 0.7 else 0
        self.call = WildCall(core, self, lives)
        resume = None
        if not self.workers and self.earlier is not None:
            state = msgspec.json.decode(self.earlier, type=CallState)
            offer = open_ring_back(self.plan, facts, state.conversation)
            if offer is not None:
                core.begin_with(offer)
                self.offered = True
        if self.workers:
            self.plan = self.edited or self.plan
            if self.state is not None:
                state = msgspec.json.decode(self.state, type=CallState)
                known = PlanInUse(self.plan, None, self.now).restore(Start(**START), state)
                if known is not None:
                    core.take_over(known, state)
                self.anew += known is None
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
            for leg in [leg for leg in self.legs if leg != self.bridged]:
                del self.legs[leg]
        self.workers += 1
        self.silent_ms = 0  # the time for an answer begins anew
        start = Start(**START, answered=bool(resume), resume=resume)
        self.call.put(now_ms, start)
        for missed in self.ring.replay() if resume else ():
            self.call.put(now_ms, missed)
        if self.held:
            self.call.put(now_ms, Held(held=True))

    @property
    def stage(self):
        """Of the handoff under way."""
        handoff = self.call.core._handoff
        return None if handoff is None or handoff.over else handoff.stage

    @property
    def dialogue(self):
        return self.call.core._dialogue

    # ------------------------------------------------------------ what a worker does

    def happened(self, effect, now_ms):
        """What a worker has done cannot be taken back."""
        if not isinstance(effect, FeedRecognition):
            self.effects.append((now_ms, effect))
        match effect:
            case SaveState(state=state):
                self.state = msgspec.json.encode(state)
            case ToEdge(message=Acknowledge(frame=frame, keys=keys)):
                self.ring.acknowledge(frame, keys)
            case ToEdge(message=Clear(generation=generation)):
                self.generation = generation
            case ToEdge(message=Hangup(reason=reason)):
                self.hangs_up = True
                if self.last_said == "caller" and reason not in {"transferred", "ended at the console"}:
                    self.wrong.append(f"hung up ({reason}) without another word to the caller")
            case ToEdge(message=Record(paused=paused)):
                self.paused = paused
            case ToEdge(message=Reject()):
                self.wrong.append("rejected")
            case Persist(turn=turn):
                self.last_said = "caller" if turn.who == "caller" else self.last_said
            case BeginSynthesis(delivery=delivery) if delivery.voice != HOLD_MUSIC:
                self.last_said = "bot"
            case _:
                pass
        told = (Persist, SaveState, HandoffNews, LegSpeech, TurnMeasured, BeginSynthesis, RenderAhead)
        if isinstance(effect, (*told, AskRouter, AskAhead)) and SECRET_SHAPES.search(repr(effect)):
            self.wrong.append(f"a secret in {effect}")

    def takes(self, effect, now_ms, call):
        """Whether this is done here, not by the base."""
        match effect:
            case EndRecognition():
                call.end_of_turn(effect, now_ms)
            case BeginSynthesis(utterance=utterance, text=text, delivery=delivery):
                long_ms = 10_000 if delivery.voice == HOLD_MUSIC else 300 + 15 * len(text)
                audio = noise(2, 1000) * (long_ms // 1000 + 1)
                at_ms = now_ms + self.dice.choice((0, 0, 60, 300))
                if self.dice.random() >= self.mute or delivery.voice == HOLD_MUSIC:
                    call.put(at_ms, SpeechAudio(utterance, audio[: 8 * long_ms]))
                call.put(at_ms, SpeechDone(utterance))
            case CallTool():
                self._tool(effect, now_ms, call)
            case AskRouter():
                self._router(effect, now_ms, call)
            case ToEdge(message=Transfer() as transfer):
                self._transfer(transfer, now_ms)
            case ToEdge(message=Dial() as dial):
                self._dial(dial, now_ms)
            case ToEdge(message=Bridge() as bridge):
                alive = bridge.leg in self.legs
                if alive:
                    self.bridged = bridge.leg
                    self._colleague_talks(bridge.leg, now_ms)
                answer = Result(request=bridge.request, ok=alive, code=200 if alive else 481)
                if self.dice.random() < 0.95:
                    self.later(now_ms + 20, answer)
            case ToEdge(message=Unbridge(leg=leg)):
                self.legs.pop(leg, None)
                self.bridged = "" if leg == self.bridged else self.bridged
            case LegSpeech(leg=leg, utterance=utterance):
                self.later(now_ms + 2000, LegPlayed(leg=leg, utterance=utterance))
                if utterance.endswith("b"):
                    self._colleague_decides(leg, now_ms + 2500)
            case HandoffNews(stage="waiting"):
                self._console(now_ms)
            case HandoffNews(stage="end", outcome=outcome):
                self.handed_over = outcome
            case _:
                return False
        return True

    def later(self, at_ms, item):
        """Something comes from the edge or the console, to whichever worker is there then."""
        self.outside.append((at_ms, item))

    def _tool(self, call_tool, now_ms, call):
        key = call_tool.idempotency_key
        arguments = (call_tool.tool, {n: v for n, v in call_tool.arguments.items() if v != SECRET})
        if self.asked.setdefault(key, arguments) != arguments:
            self.wrong.append(f"{key} names {self.asked[key]} and {arguments}")
        dice, tool = self.dice, self.plan.source.tools[call_tool.tool]
        outcome = dice.choice(("ok", "ok", "ok", "ok", "denied", "error", "timeout", "never", "strange"))
        if outcome == "never":
            return
        fixture = self.plan.source.fixtures.get(tool.fixture or "", ())
        good = next((f.values for f in fixture if f.values), {})
        values = dict(good) if outcome == "ok" and dice.random() < 0.9 else {}
        at_ms = now_ms + dice.choice((0, 100, 1500, 4000))
        if tool.answer_from is not None:
            call.put(at_ms, ToolSaid(request=call_tool.request, text="A second delivery is free."))
            values = {"answer": "A second delivery is free."}
        call.put(at_ms + 1, ToolFinished(request=call_tool.request, outcome=outcome, values=values))

    def _router(self, ask, now_ms, call):
        if self.dice.random() < 0.2:
            return
        intent = self.dice.choice((*ask.intents, None, "evil"))
        answer = RouteFinished(
            request=ask.request, intent=intent, confidence=self.dice.random(), slots={"x": "y"}
        )
        call.put(now_ms + self.dice.choice((0, 100, 400, 2000)), answer)

    def _transfer(self, transfer, now_ms):
        code = self.dice.choice((200, 200, 486, 603, 408, 0))
        if code == 0:
            self.later(now_ms + 60_000, Result(request=transfer.request, ok=False, code=408))
            return
        progress = TransferProgress(request=transfer.request, code=100)
        self.later(now_ms + 50, progress)
        done = msgspec.structs.replace(progress, code=code, final=True)
        self.later(now_ms + self.dice.choice((300, 4000)), done)

    def _dial(self, dial, now_ms):
        self.legs[dial.leg] = dial.request
        code = self.dice.choice((200, 200, 200, 486, 480, 408, 603, 404, 503))
        reason = NO_CALL_SLOT if code == 503 else ""
        if code != 200:
            at_ms = now_ms + (dial.timeout_s * 1000 if code == 408 else 700)
            self.later(at_ms, Result(request=dial.request, ok=False, code=code, reason=reason))
            return
        self.later(
            now_ms + self.dice.choice((500, 3000)), Result(request=dial.request, ok=True, code=200)
        )
        if self.dice.random() < 0.1:
            self.later(now_ms + 3500, LegEnded(leg=dial.leg, code=200))

    def _colleague_decides(self, leg, at_ms):
        match self.dice.choice(("accept", "accept", "other key", "hang up", "nothing")):
            case "accept":
                self.later(at_ms, LegDtmf(leg=leg, digit="1"))
            case "other key":
                self.later(at_ms, LegDtmf(leg=leg, digit="7"))
            case "hang up":
                self.later(at_ms, LegEnded(leg=leg))
            case _:
                pass

    def _colleague_talks(self, leg, now_ms):
        at_ms = now_ms + self.dice.choice((100, 5000))
        if self.dice.random() < 0.3:
            self.later(at_ms, LegDtmf(leg=leg, digit="*"))
            self.later(at_ms + 200, LegDtmf(leg=leg, digit="*"))
        elif self.dice.random() < 0.1:
            self.later(at_ms, ConsoleCommand("take_back"))
        self.later(at_ms + 3000, LegEnded(leg=leg))

    def _console(self, now_ms):
        at_ms = now_ms
        for _ in range(self.dice.randrange(4)):
            at_ms += self.dice.randrange(20, 9000)
            name = self.dice.choice(
                ("place", "offer_callback", "overflow", "accept", "browser", "take_back", "summary")
            )
            uri = {
                "accept": "sip:ann@127.0.0.1",
                "overflow": self.dice.choice((*self.plan.source.queues, "")),
            }
            command = ConsoleCommand(
                name, uri=uri.get(name, ""), position=2, wait_s=90, text="About a card."
            )
            if name == "browser":
                command = ConsoleCommand("accept", uri=BROWSER)
                self.talks_until_ms = at_ms + self.dice.choice((300, 4000))
            self.later(at_ms, command)

    # ------------------------------------------------------------ the caller

    def caller(self, now_ms):
        """What comes of the caller in this frame: audio and keys."""
        came = []
        if now_ms >= self.until_ms:
            self._what_next(now_ms)
        if self.keys and now_ms >= self.keys[0][0]:
            came.append(Dtmf(digit=self.keys.pop(0)[1]))
        if self.held:
            return [], came
        at = now_ms % 9000 * 8
        speaks = self.doing == "speak"
        audio = SPEECH[at : at + 160] if speaks else SILENCE
        position = self.call.position_samples
        frame = CallerAudio(self.frame, self.frame * FRAME_SAMPLES, now_ms * 1000, position, audio)
        self.frame += 1
        return [frame], came

    def _what_next(self, now_ms):
        dice = self.dice
        was_held = self.doing == "hold"
        if was_held:
            self.held = False
            self.later(now_ms, Held(held=False))
        if now_ms >= self.patience_ms:
            self.doing, self.until_ms = "wait", 10**9
            return
        self.doing = dice.choice(
            ("wait", "speak", "speak", "speak", "keys", "keys", "long", "hold", "secret")
        )
        lasts = {
            "wait": 2000,
            "speak": 2500,
            "keys": 3000,
            "long": 20_000,
            "hold": 15_000,
            "secret": 2000,
        }
        self.until_ms = now_ms + dice.randrange(20, lasts[self.doing])
        if self.doing == "hold":
            if dice.random() < 0.7:
                self.doing = "wait"
                return
            self.held = True
            self.later(now_ms, Held(held=True))
        if self.doing == "keys":
            digits = dice.choice(("12345678", "100200300", "04051980", *"1234567890*#", "2511", "1000"))
            self._press(digits, now_ms)
        if self.doing == "secret" and self.call.core.listens_to_secret and not self.keys:
            self._press(SECRET, now_ms)

    def _press(self, digits, now_ms):
        gap_ms = self.dice.choice((40, 100, 400))
        self.keys += [(now_ms + gap_ms * n, digit) for n, digit in enumerate(digits)]

    # ------------------------------------------------------------ the call

    def run(self):
        """The whole call; what was wrong with it, as sentences."""
        self.worker(0)
        for now_ms in range(0, self.limit_ms, FRAME_MS):
            try:
                if self._tick(now_ms):
                    return self.wrong
            except WorkerDiedError:
                self.worker(now_ms)
            if self.wrong:
                return self.wrong
        self._over(now_ms, Stop(reason="caller hung up"))
        return self.wrong

    def _tick(self, now_ms):
        call = self.call
        out = call.send(now_ms)
        frames, keys = self.caller(now_ms)
        for frame in frames:
            self.ring.append(frame)
        for key in keys:
            self.ring.append_key(key)
        for item in [*frames, *keys]:
            call.put(now_ms, item)
        due = [item for at_ms, item in self.outside if at_ms <= now_ms]
        self.outside = [(at_ms, item) for at_ms, item in self.outside if at_ms > now_ms]
        for item in due:
            if not isinstance(item, LegDtmf | LegEnded | LegPlayed) or item.leg in self.legs:
                call.put(now_ms, item)
        if self.talks_until_ms is not None and self.call.core._handoff is not None:
            if self.call.core._handoff.here and now_ms % 200 == 0:
                call.put(now_ms, ConsoleCommand("talk", audio=noise(3, 200)))
            if now_ms > self.talks_until_ms:
                self.talks_until_ms = None
                if self.dice.random() < 0.5:
                    call.put(now_ms, ConsoleCommand("colleague_done"))
        call.deliver(now_ms)
        self._look(now_ms, out, keyed=bool(keys))
        if call.finish_tick(now_ms, Stop(reason="bot hung up", ended_by="bot")):
            self.ended_by = "bot"
            self.ended = True
            self._after(now_ms)
            return True
        return False

    def _over(self, now_ms, stop):
        self.call.lives = 0
        self.call.put(now_ms, stop)
        self.call.deliver(now_ms)
        self.ended, self.ended_by = True, "caller"
        self._after(now_ms)

    def _after(self, now_ms):
        """Nothing that comes late does anything."""
        if not self.call.core.over:
            self.wrong.append("not over after the end")
        late = [item for _, item in self.outside] + [item for _, _, item in self.call._pending]
        for item in late:
            if self.call.core.handle(item, now_ms + 100):
                self.wrong.append(f"{item} had an effect after the end")
        if self.call.core.advance(now_ms + 100_000):
            self.wrong.append("time had an effect after the end")

    def _look(self, now_ms, out, *, keyed):
        stage, core = self.stage, self.call.core
        elsewhere = stage in {Stage.REFERRING, Stage.JOINING, Stage.TALKING, Stage.STEPPING_OUT}
        heard = not out.silence or self.doing == "speak" or self.held or elsewhere or keyed
        self.silent_ms = 0 if heard else self.silent_ms + FRAME_MS
        asked = core._listener.listening is not None
        self.waited_ms = 0 if heard or asked else self.waited_ms + FRAME_MS
        bears = 2 if self.mute else 1
        too_long = self.silent_ms > bears * SILENT_TURN_MS or self.waited_ms > bears * SILENT_WAIT_MS
        if too_long and not self.hangs_up:
            wait = self.dialogue.snapshot()["wait"]
            self.wrong.append(
                f"{self.silent_ms} ms of silence at {now_ms} ms, {asked=}, {stage=}, {wait}"
            )
        wait = self.dialogue._state.wait if self.dialogue is not None else None
        secret = (
            wait is not None
            and wait.kind in {"slot", "validate"}
            and self.dialogue._sensitive(wait.slot)
        )
        if self.dialogue is not None and bool(secret) != self.paused and not core.over:
            self.wrong.append(f"{secret=}, but recording {self.paused=} at {now_ms} ms")
        if secret and wait.kind == "slot" and not core.listens_to_secret:
            self.wrong.append(f"a secret is heard as if it were none at {now_ms} ms")
