"""What a conversation remembers; all of it fits into JSON, so that another worker can go on."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from voicebot.turn.caller_manner import CALM, Manner

WaitKind = Literal["menu", "slot", "tool", "validate", "handoff", "transfer", "router"]


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a call when it comes in; ``now`` is the wall clock at the answer.

    ``trunk`` is the address that the call came from, or ``media-streams`` where a carrier sends it so.
    ``callback`` is the queue in which the caller had waited, when it is us who called.
    """

    session_id: str
    called: str
    now: datetime
    caller: str = ""
    headers: dict[str, str] = {}
    trunk: str = ""
    callback: str = ""


class Frame(msgspec.Struct):
    """A place in the program: the next operation of ``block``.

    ``required`` marks a flow that ``require`` runs: ``goto`` inside it stays inside.
    """

    block: str
    index: int = 0
    required: bool = False


class Wait(msgspec.Struct):
    """What the conversation waits for, and how often it has asked.

    ``candidate`` is an answer that was not sure and is being confirmed; ``buffer`` holds digits of an
    answer that is not complete yet; ``fillers`` counts what was said to fill the silence, ``parts`` what
    a tool has said while it runs.
    """

    kind: WaitKind
    block: str
    index: int
    slot: str = ""
    no_inputs: int = 0
    no_matches: int = 0
    buffer: str = ""
    candidate: str = ""
    candidate_by: str = "speech"
    candidate_confidence: float = 1.0
    request: str = ""
    queue: str = ""
    reason: str = ""
    fillers: int = 0
    parts: int = 0


class ConversationState(msgspec.Struct):
    """The whole memory of one conversation.

    ``secrets`` names the sensitive slots that were given and are not in ``slots`` any more; ``earlier``
    is what the caller's last call left when it was cut off, until he has said whether to go on from it.
    """

    frames: list[Frame] = []
    variables: dict[str, Any] = {}
    slots: dict[str, Any] = {}
    wait: Wait | None = None
    turns: int = 0
    utterances: int = 0
    requests: int = 0
    attempts: dict[str, int] = {}
    said: list[str] = []
    swallow: str = ""
    further: list[str] = []
    heard: str = ""
    heard_type: str = ""
    last_slot: str = ""
    menu_frames: list[Frame] = []
    failures: int = 0
    language: str = ""
    manner: Manner = CALM
    over: bool = False
    end_reason: str = ""
    secrets: list[str] = []
    earlier: "ConversationState | None" = None
