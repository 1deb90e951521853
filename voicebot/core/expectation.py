"""What the dialogue expects the caller to say next: shared by turn-taking and recognition."""

from typing import Literal

import msgspec

ExpectedKind = Literal[
    "nothing", "menu", "yes_no", "digits", "choice", "money", "date", "time", "number", "free"
]


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """The closed or open answer that a dialogue step waits for.

    ``phrases`` is the run-time grammar: every phrase that may be said, in words, lower case, without
    ``[unk]`` (the recogniser adds it); empty means free speech. ``complete`` phrases end a turn early:
    once a stable partial equals one of them, nothing more has to be waited for. ``min_digits`` and
    ``max_digits`` hold for kind ``digits``. ``likely`` phrases are said more often than the others, as
    "stop" is over a prompt.
    """

    kind: ExpectedKind = "nothing"
    phrases: tuple[str, ...] = ()
    complete: frozenset[str] = frozenset()
    min_digits: int = 0
    max_digits: int = 0
    likely: tuple[str, ...] = ()
