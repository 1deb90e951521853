"""When the bot calls somebody back, and what follows from each try. Pure: times come as arguments.

    SCHEDULED ── claimed ─► CALLING ── answered ─► ANSWERED ── puts himself through ─► DONE
        ▲                      │                      │
        │                      │ busy, declined,      │ hangs up, or a machine answered
        ├──── next try ────────┴──── no answer ◄──────┘
        │                      │
        │                      └─ after the last try, or a number that does not exist ─► GIVEN_UP
        └── "Call again" ◄── GIVEN_UP, UNCLEAR

UNCLEAR is a try whose outcome nobody wrote down: the worker died while it rang. Somebody who has spoken
to us must not be called twice, so the bot leaves that to a person.
"""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

CallbackState = Literal["scheduled", "calling", "answered", "unclear", "given_up", "done"]

NO_SLOT_AGAIN_S: Final = 10.0
_NO_SUCH_NUMBER: Final = frozenset({403, 404, 410, 416, 484, 488, 604, 607})
_OUTCOMES: Final = {486: "busy", 600: "busy", 603: "declined", 408: "no answer", 480: "no answer"}


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One INVITE: when (seconds since 1970), what came of it, and the SIP status behind that."""

    at_s: float
    outcome: str
    code: int = 0


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who wants to be called back; times are seconds since 1970.

    ``tries`` counts INVITEs since somebody last said "Call again"; ``history`` has all of them.
    ``pressed``: a colleague wants it now, whoever is free.
    """

    callback_id: int
    handoff_id: str
    number: str
    queue: str
    asked_s: float
    done_s: float | None = None
    done_by: str = ""
    state: CallbackState = "scheduled"
    due_s: float = 0.0
    tries: int = 0
    pressed: bool = False
    call_id: str = ""
    history: tuple[Try, ...] = ()

    @property
    def request(self) -> str:
        """Name of the next try towards the edge: never the same twice."""
        return f"callback-{self.callback_id}-{len(self.history) + 1}"


def callback_of(request: str) -> int | None:
    """Which call back an order belongs to; None: to none."""
    kind, _, rest = request.partition("-")
    number = rest.partition("-")[0]
    return int(number) if kind == "callback" and number.isascii() and number.isdigit() else None


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How often, and how far apart."""

    tries: int
    retry_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call back after a try."""

    state: CallbackState
    outcome: str
    due_s: float


def outcome_of(code: int, reason: str) -> str:
    """The outcome of a try that was not answered, in words."""
    return _OUTCOMES.get(code) or ("no answer" if code == 487 else reason or f"status {code}")


def after_try(outcome: str, code: int, tries: int, now_s: float, rules: RetryRules) -> Verdict:
    """What follows from a try that led to nobody.

    Args:
        outcome: In words.
        code: SIP status behind it; 200 when somebody answered and did not want to be put through.
        tries: How many there were, this one included.
        now_s: Seconds since 1970.
        rules: Of the installation.
    """
    if code in _NO_SUCH_NUMBER or tries >= rules.tries:
        return Verdict("given_up", outcome, now_s)
    return Verdict("scheduled", outcome, now_s + rules.retry_s)
