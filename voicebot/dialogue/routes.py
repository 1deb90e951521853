"""Which flow answers a call."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from voicebot.dialogue.model import Dialplan, Route, RouteMatch
from voicebot.dialogue.state import CallFacts

MEDIA_STREAMS = "media-streams"
"""The trunk of calls that a carrier sends as a media stream, without an edge of ours."""
_NUMBER = re.compile(r"\+?[0-9 ().-]{3,}\Z")


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No route of the plan takes this call: the worker answers 404."""

    called: str


def select_route(plan: Dialplan, call: CallFacts) -> Route | None:
    """The first route that matches."""
    return next((r for r in plan.routes if _matches(r.match, call)), None)


def _matches(match: RouteMatch, call: CallFacts) -> bool:
    return (
        _any(match.to, call.called)
        and _any(match.from_, call.caller)
        and _from_trunk(match.trunk, call.trunk)
        and _headers(match.headers, call.headers)
    )


def _any(wanted: list[str] | None, there: str) -> bool:
    return wanted is None or any(w == "*" or _canonical(w) == _canonical(there) for w in wanted)


def _from_trunk(wanted: list[str] | None, there: str) -> bool:
    return wanted is None or any(_is_trunk(w, there) for w in wanted)


def _is_trunk(wanted: str, there: str) -> bool:
    if wanted in {"*", there}:
        return True
    try:
        return ipaddress.ip_address(there) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def is_trunk_name(text: str) -> bool:
    """Whether a call can come from ``text``: an address, a network, or a carrier's media stream."""
    if text in {"*", MEDIA_STREAMS}:
        return True
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _canonical(text: str) -> str:
    text = text.strip()
    if _NUMBER.match(text):
        return re.sub(r"[^0-9+]", "", text)
    return text.lower()


def _headers(wanted: Mapping[str, str], there: Mapping[str, str]) -> bool:
    found = {name.lower(): value for name, value in there.items()}
    return all(found.get(name.lower()) == value for name, value in wanted.items())
