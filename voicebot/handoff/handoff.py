"""One handoff, pure: link messages and time in, commands out.

    blind     REFERRING ── NOTIFY 200 ─► bridged            (the edge says BYE)
                  └─ refused, NOTIFY ≥ 300, silence ─► failed

    warm      DIALLING ─ answered ─► BRIEFING ─ digit ─► JOINING ─► TALKING ─ leg ends ─► bridged
                  │ busy, declined,     │ hangs up, no digit            └─ take_back ─► returned
                  │ no answer           ▼
                  └────────────► next target ─► returned
                  └─ no free leg ─► blind

    attended  as warm; then TALKING ─ REFER with Replaces ─► STEPPING_OUT ─ NOTIFY 200 ─► bridged
                                        └─ refused ─► TALKING over the bridge

    warm with ``busy_waits``: DIALLING ─ busy ─► WAITING ─ a while ─► DIALLING … ─ too long ─► returned

    console   WAITING ─ accept(address) ─► DIALLING (no brief: the console shows it) …
                  │ accept_here ─► TALKING through the console: no leg at all
                  └─ waited too long ─► the queue's own targets, warm

Several targets of one try ring together: the first that accepts wins, the others are hung up. A
telephone that was named in the console and is not picked up leaves the caller waiting at the old place.
Whatever happens ends in one ``Finished``; after ``returned`` and ``failed`` the bot has the caller back.

``place()`` is what another worker needs to go on with ``resume``: a bridge is kept, a wait goes on, and
what rang rings again (the edge has hung up legs that nobody bridged).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Literal

import msgspec

from voicebot.link.messages import (
    NO_CALL_SLOT,
    Bridge,
    Dial,
    LegDtmf,
    LegEnded,
    LegPlayed,
    Result,
    Transfer,
    TransferProgress,
    Unbridge,
)

Mode = Literal["blind", "warm", "attended", "console"]
Outcome = Literal["bridged", "returned", "voicemail", "failed"]

REFER_LIMIT_MS: Final = 65_000  # the edge itself gives up after 60 s; this is for an edge that does not
DIAL_GRACE_MS: Final = 5_000
JOIN_LIMIT_MS: Final = 3_000
COLLEAGUE_LIMIT_MS: Final = 5_000  # a browser sends 50 frames a second, silence included
_NO_ANSWER: Final = frozenset({408, 480, 487})
_BUSY: Final = frozenset({486, 600})
_DECLINED: Final = frozenset({403, 404, 410, 603, 604, 607})


class Stage(Enum):
    """Where a handoff stands."""

    NEW = "new"
    REFERRING = "referring"
    WAITING = "waiting"
    DIALLING = "dialling"
    BRIEFING = "briefing"
    JOINING = "joining"
    TALKING = "talking"
    STEPPING_OUT = "stepping_out"
    OVER = "over"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a handoff stands, for another worker; ``leg`` and ``uri`` are the colleague's, if any."""

    stage: Stage
    leg: str = ""
    uri: str = ""
    legs_made: int = 0
    here: bool = False


@dataclass(frozen=True, slots=True)
class HandoffPlan:
    """What is to be tried.

    Attributes:
        request: Id of the dialogue's request; ids of link requests begin with it.
        mode: How to begin.
        tries: Targets that ring together, try after try; SIP URIs that passed the rules.
        voicemail: A try that counts as voicemail; it is dialled last and needs no digit.
        headers: Go with each INVITE and REFER.
        brief: What the colleague hears; empty puts the caller through at once.
        accept_digit: The key that accepts.
        ring_ms: How long one try may ring.
        accept_ms: From the end of the brief to the key.
        wait_ms: How long the caller waits for somebody in the console.
        introduction: What caller and colleague hear together, once they are connected; empty: nothing.
        return_keys: What the colleague presses to give the caller back; empty: nothing.
        busy_waits: Who finds everybody busy waits in the queue and is tried again.
        redial_ms: So long after.
    """

    request: str
    mode: Mode
    tries: tuple[tuple[str, ...], ...]
    voicemail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    brief: str = ""
    accept_digit: str = "1"
    ring_ms: int = 25_000
    accept_ms: int = 15_000
    wait_ms: int = 120_000
    introduction: str = ""
    return_keys: str = ""
    busy_waits: bool = False
    redial_ms: int = 15_000


@dataclass(frozen=True, slots=True)
class SayToLeg:
    """Speak to a dialled leg; ``LegPlayed`` of the same utterance tells when it was heard."""

    leg: str
    utterance: str
    text: str


@dataclass(frozen=True, slots=True)
class SayToBoth:
    """Speak to caller and leg, who hear each other meanwhile."""

    leg: str
    utterance: str
    text: str


@dataclass(frozen=True, slots=True)
class HoldCaller:
    """The caller hears music from now on (True), or nothing of ours any more (False)."""

    music: bool


@dataclass(frozen=True, slots=True)
class StageChanged:
    """For those who watch: queue entry, console, log.

    ``again``: the caller waits once more, since nobody could be reached, and has to hear that.
    """

    stage: Stage
    detail: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The handoff is over; ``code`` is the SIP status behind the outcome, 0 when there was none."""

    outcome: Outcome
    code: int
    reason: str


Command = (
    Dial | Bridge | Unbridge | Transfer | SayToLeg | SayToBoth | HoldCaller | StageChanged | Finished
)
Happening = Result | TransferProgress | LegEnded | LegDtmf | LegPlayed


@dataclass(slots=True)
class _Leg:
    name: str
    uri: str
    answered: bool = False


class Handoff:
    """The state of one handoff.

    Args:
        plan: What to try.
        may_call: Tells why a URI must not be called, empty when it may; asked before every dial.
    """

    def __init__(self, plan: HandoffPlan, may_call: Callable[[str], str]) -> None:
        self._plan = plan
        self._may_call = may_call
        self._stage = Stage.NEW
        self._next_try = 0
        self._legs: dict[str, _Leg] = {}
        self._legs_made = 0
        self._winner: _Leg | None = None
        self._briefed = False
        self._skip_brief = False
        self._voicemail = False
        self._due_ms: float | None = None
        self._music = False
        self._here = False
        self._wait_until_ms = 0.0
        self._accepting = False
        self._resuming = False
        self._keys = ""
        self._told_busy = False
        self._last = (0, "no target")

    @property
    def stage(self) -> Stage:
        """Where it stands."""
        return self._stage

    @property
    def over(self) -> bool:
        """Whether ``Finished`` was given."""
        return self._stage is Stage.OVER

    @property
    def talking(self) -> bool:
        """Whether caller and colleague hear each other; the bot is silent."""
        return self._stage in {Stage.JOINING, Stage.TALKING, Stage.STEPPING_OUT}

    def next_deadline_ms(self) -> float | None:
        """When ``advance`` has something to do."""
        return self._due_ms

    def place(self) -> Place:
        """Where it stands, for ``resume``."""
        winner = self._winner
        return Place(
            stage=self._stage,
            leg=winner.name if winner is not None else "",
            uri=winner.uri if winner is not None else "",
            legs_made=self._legs_made,
            here=self._here,
        )

    def set_brief(self, text: str) -> None:
        """A better brief for colleagues who answer from now on."""
        if self._plan.brief:
            self._plan = replace(self._plan, brief=text)

    # ------------------------------------------------------------ inputs

    def resume(self, place: Place, now_ms: float) -> list[Command]:
        """Go on where another worker was."""
        self._legs_made = place.legs_made
        if place.stage is Stage.REFERRING:
            return self._refer(place.uri, now_ms)
        if place.here:
            return [*self.begin(now_ms), *self.accept_here(now_ms)]
        if place.stage in {Stage.JOINING, Stage.TALKING, Stage.STEPPING_OUT}:
            # Bridged already when the edge still has the leg; if not, all begins again.
            self._resuming = True
            self._legs[place.leg] = leg = _Leg(place.leg, place.uri, answered=True)
            return self._join(leg, now_ms)
        return self.begin(now_ms)

    def begin(self, now_ms: float) -> list[Command]:
        """Start."""
        if self._plan.mode == "blind":
            return self._refer(self._first_target(), now_ms)
        self._wait_until_ms = now_ms + self._plan.wait_ms
        if self._plan.mode == "console":
            self._due_ms = self._wait_until_ms
            return [*self._enter(Stage.WAITING), *self._hold()]
        return self._dial_next(now_ms)

    def accept(self, uri: str, now_ms: float) -> list[Command]:
        """A colleague took the waiting caller in the console and wants the call at ``uri``."""
        if self._stage is not Stage.WAITING:
            return []
        why = self._may_call(uri)
        if why:
            return [StageChanged(Stage.WAITING, f"refused: {why}")]
        self._skip_brief = self._accepting = True
        return self._dial((uri,), now_ms)

    def accept_here(self, now_ms: float) -> list[Command]:
        """A colleague took the waiting caller and talks through the console: no leg is needed."""
        if self._stage is not Stage.WAITING:
            return []
        self._here = True
        self.colleague_heard(now_ms)
        return [*self._release(), *self._enter(Stage.TALKING, "in the browser")]

    def colleague_heard(self, now_ms: float) -> None:
        """Audio of a colleague in the browser came; without any the caller is taken back."""
        if self._here:
            self._due_ms = now_ms + COLLEAGUE_LIMIT_MS

    def colleague_done(self) -> list[Command]:
        """The colleague in the browser ended the conversation."""
        if not self._here or self.over:
            return []
        return self._finish("bridged", 200, "colleague hung up")

    @property
    def here(self) -> bool:
        """Whether caller and colleague talk through the console now."""
        return self._here and self._stage is Stage.TALKING

    def take_back(self, reason: str) -> list[Command]:
        """Give the caller back to the bot, whatever was going on."""
        if self._stage in {Stage.OVER, Stage.REFERRING, Stage.STEPPING_OUT}:
            return []
        return self._finish("returned", 0, reason)

    def give_up(self, reason: str) -> list[Command]:
        """Stop waiting in the console's queue."""
        return self._finish("returned", 480, reason) if self._stage is Stage.WAITING else []

    def caller_gone(self) -> list[Command]:
        """The caller hung up: nobody is left to be put through."""
        if self.over:
            return []
        talked = self._stage in {Stage.TALKING, Stage.STEPPING_OUT}
        return self._finish("bridged" if talked else "failed", 0, "caller hung up")

    def handle(self, item: Happening, now_ms: float) -> list[Command]:
        """Take what the edge reports; what does not belong to this handoff changes nothing."""
        if self.over:
            return []
        match item:
            case Result():
                return self._result(item, now_ms)
            case TransferProgress():
                if self._stage is Stage.REFERRING and item.final and item.request == self._id("refer"):
                    return self._referred(item.code, item.reason)
                if item.final and item.request == self._id("out"):
                    return self._stepped_out(item.code, item.reason)
                return []
            case LegEnded():
                return self._leg_ended(item.leg, item.code or 487, item.reason, now_ms)
            case LegDtmf():
                ours = self._winner is not None and item.leg in self._legs
                if ours and self._stage is Stage.BRIEFING and item.digit == self._plan.accept_digit:
                    return self._join(self._legs[item.leg], now_ms)
                if self._stage is Stage.TALKING and ours and self._plan.return_keys:
                    self._keys = (self._keys + item.digit)[-len(self._plan.return_keys) :]
                    if self._keys == self._plan.return_keys:
                        return self._finish("returned", 0, "given back by the colleague")
                return []
            case LegPlayed():
                if self._stage is Stage.BRIEFING and item.leg in self._legs and not self._briefed:
                    self._briefed = True
                    self._due_ms = now_ms + self._plan.accept_ms
                return []

    def advance(self, now_ms: float) -> list[Command]:
        """Let time pass."""
        if self._due_ms is None or now_ms < self._due_ms:
            return []
        self._due_ms = None
        match self._stage:
            case Stage.REFERRING:
                return self._finish("failed", 408, "no outcome of the transfer")
            case Stage.WAITING:
                self._last = (480, "nobody accepted in time")
                return self._dial_next(now_ms)
            case Stage.DIALLING:
                self._last = (408, "no answer")
                return self._drop_legs() + self._dial_next(now_ms)
            case Stage.BRIEFING:
                self._last = (480, "not accepted")
                return self._drop_legs() + self._dial_next(now_ms)
            case Stage.TALKING:
                return self._finish("returned", 0, "colleague gone")
            case Stage.STEPPING_OUT:
                return self._stepped_out(408, "no outcome of the transfer")
            case Stage.JOINING:
                return self._finish("failed", 500, "the edge did not connect the legs")
            case _:
                return []

    # ------------------------------------------------------------ blind

    def _first_target(self) -> str:
        return next((uri for group in self._plan.tries for uri in group), "")

    def _refer(self, uri: str, now_ms: float) -> list[Command]:
        why = self._may_call(uri) if uri else "no target"
        if why:
            return self._finish("failed", 403, why)
        self._due_ms = now_ms + REFER_LIMIT_MS
        self._winner = _Leg("", uri)
        transfer = Transfer(request=self._id("refer"), uri=uri, headers=self._plan.headers)
        # Music stops: the far end plays its own ringing, and a REFER must not wait for ours.
        return [*self._enter(Stage.REFERRING), *self._release(), transfer]

    def _referred(self, code: int, reason: str) -> list[Command]:
        if 200 <= code < 300:
            return self._finish("bridged", code, reason or "transferred")
        return self._finish("failed", code, reason or "the transfer failed")

    # ------------------------------------------------------------ warm

    def _dial_next(self, now_ms: float) -> list[Command]:
        if self._accepting and now_ms < self._wait_until_ms:
            self._accepting = False
            return self._wait_again(self._wait_until_ms)
        while self._next_try < len(self._plan.tries):
            targets = self._plan.tries[self._next_try]
            self._next_try += 1
            allowed = tuple(uri for uri in targets if not self._may_call(uri))
            if allowed:
                self._skip_brief = False
                return self._dial(allowed, now_ms)
            self._last = (403, next((self._may_call(uri) for uri in targets), "no target"))
        if self._plan.busy_waits and self._last[0] in _BUSY and now_ms < self._wait_until_ms:
            self._next_try = 0
            first, self._told_busy = not self._told_busy, True  # later the place in the queue is told
            due_ms = min(now_ms + self._plan.redial_ms, self._wait_until_ms)
            return self._wait_again(due_ms, tell=first)
        if self._plan.voicemail and not self._voicemail and not self._may_call(self._plan.voicemail):
            self._voicemail = self._skip_brief = True
            return self._dial((self._plan.voicemail,), now_ms)
        code, reason = self._last
        person_missing = code in _NO_ANSWER | _BUSY | _DECLINED - {403}
        return self._finish("returned" if person_missing else "failed", code, reason)

    def _wait_again(self, until_ms: float, *, tell: bool = True) -> list[Command]:
        self._due_ms = until_ms
        self._stage = Stage.WAITING
        return [StageChanged(Stage.WAITING, self._last[1], again=tell), *self._hold()]

    def _dial(self, targets: tuple[str, ...], now_ms: float) -> list[Command]:
        self._briefed = False
        self._winner = None
        self._due_ms = now_ms + self._plan.ring_ms + DIAL_GRACE_MS
        commands: list[Command] = [*self._enter(Stage.DIALLING, ", ".join(targets)), *self._hold()]
        for uri in targets:
            self._legs_made += 1
            name = f"{self._plan.request}l{self._legs_made}"
            self._legs[name] = _Leg(name, uri)
            commands.append(
                Dial(
                    request=self._id(name),
                    leg=name,
                    uri=uri,
                    headers=self._plan.headers,
                    timeout_s=self._plan.ring_ms / 1000,
                )
            )
        return commands

    def _result(self, result: Result, now_ms: float) -> list[Command]:
        if self._stage is Stage.REFERRING and result.request == self._id("refer"):
            if result.ok:
                return self._referred(result.code or 200, result.reason)
            return self._finish("failed", result.code, result.reason or "the transfer was refused")
        if result.request == self._id("out"):
            return self._stepped_out(result.code or (200 if result.ok else 500), result.reason)
        if result.request == self._id("join"):
            return self._joined(result, now_ms)
        leg = next((leg for leg in self._legs.values() if self._id(leg.name) == result.request), None)
        if leg is None:
            return []
        if result.ok:
            return self._answered(leg, now_ms)
        no_slot = result.code == 503 and result.reason.startswith(NO_CALL_SLOT)
        if no_slot and len(self._legs) == 1 and not self._voicemail:
            # The edge is full: the caller's own leg can still be sent to the colleague.
            del self._legs[leg.name]
            return self._refer(leg.uri, now_ms)
        code = result.code or 408
        return self._leg_ended(leg.name, code, result.reason or _reason(code), now_ms)

    def _answered(self, leg: _Leg, now_ms: float) -> list[Command]:
        leg.answered = True
        if self._voicemail or self._skip_brief or not self._plan.brief:
            return self._join(leg, now_ms)
        # Each colleague who answers hears the brief; the first digit wins.
        first = self._winner is None
        self._winner = self._winner or leg
        say = SayToLeg(leg.name, f"{leg.name}b", self._plan.brief)
        if not first:
            return [say]
        self._due_ms = now_ms + self._plan.accept_ms + 30_000
        return [*self._enter(Stage.BRIEFING, leg.uri), say]

    def _join(self, leg: _Leg, now_ms: float) -> list[Command]:
        self._winner = leg
        commands = self._drop_legs(keep=leg)
        self._due_ms = now_ms + JOIN_LIMIT_MS
        bridge = Bridge(request=self._id("join"), leg=leg.name)
        return [*commands, *self._enter(Stage.JOINING, leg.uri), *self._release(), bridge]

    def _joined(self, result: Result, now_ms: float) -> list[Command]:
        if not result.ok and self._resuming:
            self._resuming, self._winner = False, None
            self._legs.clear()
            return self.begin(now_ms)
        if not result.ok:
            return self._finish("failed", result.code or 500, result.reason or "could not connect")
        self._due_ms = None
        self._resuming = False
        assert self._winner is not None
        winner = self._winner
        commands = self._enter(Stage.TALKING, winner.uri)
        if self._plan.introduction:
            name = f"{winner.name}i"
            commands.append(SayToBoth(winner.name, name, self._plan.introduction))
        if self._plan.mode != "attended" or self._voicemail:
            return commands
        self._due_ms = now_ms + REFER_LIMIT_MS
        refer = Transfer(
            request=self._id("out"), uri=winner.uri, headers=self._plan.headers, leg=winner.name
        )
        return [*commands, *self._enter(Stage.STEPPING_OUT, winner.uri), refer]

    def _stepped_out(self, code: int, reason: str) -> list[Command]:
        if self._stage is not Stage.STEPPING_OUT:
            return []
        if 200 <= code < 300:
            return self._finish("bridged", code, reason or "transferred")
        if not self._legs:
            return self._finish("returned", code, reason or "the transfer failed")
        # The caller's telephone cannot do it: the conversation stays where it is, over our bridge.
        self._due_ms = None
        return self._enter(Stage.TALKING, f"not transferred: {reason or code}")

    def _leg_ended(self, name: str, code: int, reason: str, now_ms: float) -> list[Command]:
        leg = self._legs.pop(name, None)
        if leg is None:
            return []
        if leg is self._winner and self._stage is Stage.STEPPING_OUT:
            return []  # as it should be: the outcome of the REFER tells
        if leg is self._winner and self._stage in {Stage.JOINING, Stage.TALKING}:
            if self._stage is Stage.TALKING:
                return self._finish(
                    "voicemail" if self._voicemail else "bridged", 200, "colleague hung up"
                )
            return self._finish("failed", code, "colleague hung up before the connection")
        self._last = (
            code if code >= 300 else 480,
            "not accepted" if leg.answered else _reason(code, reason),
        )
        if self._legs:
            return []
        return self._dial_next(now_ms)

    # ------------------------------------------------------------ common

    def _drop_legs(self, keep: _Leg | None = None) -> list[Command]:
        gone = [leg for leg in self._legs.values() if leg is not keep]
        for leg in gone:
            del self._legs[leg.name]
        return [Unbridge(request=self._id(f"{leg.name}x"), leg=leg.name) for leg in gone]

    def _hold(self) -> list[Command]:
        if self._music:
            return []
        self._music = True
        return [HoldCaller(music=True)]

    def _release(self) -> list[Command]:
        if not self._music:
            return []
        self._music = False
        return [HoldCaller(music=False)]

    def _enter(self, stage: Stage, detail: str = "") -> list[Command]:
        self._stage = stage
        return [StageChanged(stage, detail)]

    def _finish(self, outcome: Outcome, code: int, reason: str) -> list[Command]:
        commands = self._drop_legs()
        self._due_ms = None
        release = self._release()
        return [*commands, *release, *self._enter(Stage.OVER, outcome), Finished(outcome, code, reason)]

    def _id(self, part: str) -> str:
        return f"{self._plan.request}.{part}"


def _reason(code: int, given: str = "") -> str:
    if code in _BUSY:
        return "busy"
    if code in _NO_ANSWER:
        return "no answer"
    if code in {603, 607}:
        return "declined"
    return given or f"status {code}"
