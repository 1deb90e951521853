"""What a party of a call can be told, and what it notes."""

from __future__ import annotations

from dataclasses import dataclass, field

from sip_test_harness.media import MediaOptions
from sip_test_harness.sip_message import Header

ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, NOTIFY, MESSAGE"
USER_AGENT = "sip-test-harness/0.1"


@dataclass(frozen=True)
class LegEvent:
    """Something that happened, for progress and report; time in monotonic ns."""

    time_ns: int
    kind: str
    text: str = ""


@dataclass(frozen=True)
class Refer:
    """A REFER received: whom the bot wants this party to call."""

    refer_to: str
    arrival_ns: int
    headers: tuple[Header, ...]


@dataclass
class LegOptions:
    """How a party behaves.

    Args:
        media: codec, packet time, impairments.
        refuse_hold: answer a re-INVITE with 488.
        refer_status: what the NOTIFY after a REFER finally says; 0 refuses the REFER with 603.
        user_agent: value of the User-Agent header.
    """

    media: MediaOptions = field(default_factory=MediaOptions)
    refuse_hold: bool = False
    refer_status: int = 200
    user_agent: str = USER_AGENT
