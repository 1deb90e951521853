"""Who may begin a call now: decided for each SIP request before the library spends anything on it.

    request ─► a stranger? ─► flawed? ─► of a call in progress? ─► OPTIONS ─► INVITE: banned, too
                 drop, 403     400, 513      always let in           truth      many, draining, over-
                                                                                loaded, full, who?

Pure: times and the state of the edge come as arguments. Calls in progress always pass, whatever goes on
around them; what is refused gets one stateless answer or none and costs no call slot.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from voicebot.config.settings import SipSettings
from voicebot.edge.digest import DigestGate, DigestOutcome
from voicebot.rtp.source_guard import IpNetwork

FRONT_SOURCE_HEADER: Final = "x-source-address"
"""A front takes away what the caller sent under this name and puts its own at the end."""
MAX_SOURCES: Final = 1024
MAX_KNOWN_INVITES: Final = 256
ANSWER_RATE_FACTOR: Final = 2
"""Refusals are answered up to so many times the permitted rate; a flood beyond gets silence."""


@dataclass(frozen=True, slots=True)
class SipRequest:
    """What matters of a request: raw text of a peer, compared but never shown.

    Attributes:
        method: As it came.
        source: Address it came from.
        claimed: Last value of its X-Source-Address header; counts when the source is a front of ours.
        in_dialog: Its To has a tag.
        uri: Request-URI.
        branch: Of the topmost Via: the same for a repetition of the same request.
        authorization: Value of its Authorization header; empty without one.
        flaw: Status that its text alone deserves, though the library would take it; 0: none.
    """

    method: str
    source: str
    claimed: str = ""
    in_dialog: bool = False
    uri: str = ""
    branch: str = ""
    authorization: str = ""
    flaw: int = 0


@dataclass(frozen=True, slots=True)
class EdgeState:
    """How the edge stands.

    Attributes:
        draining: It takes no new calls.
        ready: A worker is there.
        overloaded: Calls in progress suffer already.
        live_calls: Dialogs now.
        call_limit: Dialogs it can have.
        half_open: Calls of a source that wait for its ACK: how many for too long, and how many in all.
    """

    draining: bool
    ready: bool
    overloaded: bool
    live_calls: int
    call_limit: int
    half_open: Callable[[str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code`` 0: let it in. ``code`` -1: no answer. Else the final status to answer with.

    ``reason`` is the label of the metric; empty for what is not counted.
    """

    code: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


PASS: Final = Verdict()
DROP: Final = -1


@dataclass(slots=True)
class _Bucket:
    """``rate`` a second, ``burst`` at once."""

    rate: float
    burst: float
    level: float
    at_s: float

    def take(self, now_s: float) -> bool:
        self.level = min(self.burst, self.level + (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(slots=True)
class _Source:
    calls: _Bucket
    answers: _Bucket
    failures: int = 0
    banned_until_s: float = field(default=float("-inf"))


class Admission:
    """The door of one edge.

    Args:
        settings: Trunks, limits, digest users.
        own_peers: Further networks that may send requests: who we dial, where we register.
        digest: Checks digest answers; None lets in without.
    """

    def __init__(
        self,
        settings: SipSettings,
        own_peers: Iterable[IpNetwork] = (),
        digest: DigestGate | None = None,
    ) -> None:
        self._settings = settings
        self._trunks = tuple(ipaddress.ip_network(n, strict=False) for n in settings.trunks)
        self._fronts = tuple(ipaddress.ip_network(n, strict=False) for n in settings.fronts)
        self._peers = tuple(own_peers)
        self._digest = digest
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def is_trunk(self, address: str) -> bool:
        """Whether calls may come from there."""
        return _inside(address, self._trunks)

    def source_of(self, request: SipRequest) -> str:
        """Who sent it: behind a front of ours the address that the front saw."""
        claimed = request.claimed if _inside(request.source, self._fronts) else ""
        return claimed or request.source

    def check(self, request: SipRequest, state: EdgeState, now_s: float) -> Verdict:
        """What becomes of a request.

        Args:
            request: It.
            state: How the edge stands.
            now_s: Monotonic seconds.
        """
        front = _inside(request.source, self._fronts)
        source = self.source_of(request)
        trunk = self.is_trunk(source)
        if not trunk and not front and not _inside(source, self._peers):
            return self._stranger(request, now_s)
        if request.flaw:
            refusal = Verdict(request.flaw, "malformed")
            return self._bounded(self._source(source, now_s), refusal, now_s)
        if request.method == "REFER":
            # It would make us dial. The library, asked to refuse it in a dialog that is ending, aborts.
            return Verdict(603, "refer")
        if request.in_dialog:
            # The library answers OPTIONS in a dialog with 500, which some border controllers take for
            # the end of the call.
            return Verdict(200) if request.method == "OPTIONS" else PASS
        if request.method == "OPTIONS":
            return PASS if state.ready and not state.draining else self._later("")
        if request.method != "INVITE":
            return PASS
        if not trunk:
            return Verdict(403, "source")
        verdict = self._invite(request, source, state, now_s)
        if front and verdict.code == DROP:
            return self._later(verdict.reason)  # a front that gets no answer takes the edge for dead
        return verdict

    def _invite(self, request: SipRequest, address: str, state: EdgeState, now_s: float) -> Verdict:
        source = self._source(address, now_s)
        if now_s < source.banned_until_s:
            return Verdict(DROP, "banned")
        key = (request.source, request.branch)
        if request.branch and key in self._known:
            return PASS  # a repetition of what was let in: the library answers it
        if not source.calls.take(now_s):
            return self._bounded(source, self._later("rate"), now_s)
        verdict = self._room(address, state)
        if verdict is None:
            verdict = self._identity(request, source, now_s)
        if verdict is not None:
            return verdict
        self._known[key] = None
        if len(self._known) > MAX_KNOWN_INVITES:
            self._known.popitem(last=False)
        return PASS

    def _room(self, source: str, state: EdgeState) -> Verdict | None:
        if state.draining:
            return self._later("draining")
        if state.overloaded:
            return self._later("overload")
        overdue, waiting = state.half_open(source)
        if overdue >= self._settings.max_half_open_per_source:
            return self._later("half_open")
        limit = min(self._settings.max_calls or state.call_limit, state.call_limit)
        if state.live_calls >= limit:
            return self._later("no_slot")
        if waiting >= self._settings.max_half_open_per_source:
            # An honest caller repeats the INVITE after 500 ms (RFC 3261 timer A), and by then the ACKs
            # of the others have come; who never sends one holds two slots, not all.
            return Verdict(DROP, "wait")
        return None

    def _identity(self, request: SipRequest, source: _Source, now_s: float) -> Verdict | None:
        if self._digest is None:
            return None
        outcome = self._digest.check(request.method, request.uri, request.authorization, now_s)
        if outcome is DigestOutcome.GOOD:
            source.failures = 0
            return None
        if outcome is DigestOutcome.BAD:
            source.failures += 1
            if source.failures >= self._settings.ban_after:
                source.failures = 0
                source.banned_until_s = now_s + self._settings.ban_s
                return Verdict(DROP, "banned")
        challenge = self._digest.challenge(now_s, stale=outcome is DigestOutcome.STALE)
        reason = "digest" if outcome is DigestOutcome.BAD else ""
        return Verdict(401, reason, (("WWW-Authenticate", challenge),))

    def _stranger(self, request: SipRequest, now_s: float) -> Verdict:
        counted = "source" if request.method != "ACK" else ""
        if self._settings.strangers == "drop" or request.method == "ACK":
            return Verdict(DROP, counted)
        return self._bounded(self._source(request.source, now_s), Verdict(403, counted), now_s)

    def _later(self, reason: str) -> Verdict:
        return Verdict(503, reason, (("Retry-After", str(self._settings.retry_after_s)),))

    @staticmethod
    def _bounded(source: _Source, verdict: Verdict, now_s: float) -> Verdict:
        return verdict if source.answers.take(now_s) else Verdict(DROP, verdict.reason)

    def _source(self, address: str, now_s: float) -> _Source:
        known = self._sources.pop(address, None)
        if known is None:
            rate, burst = self._settings.invites_per_s, self._settings.invite_burst
            known = _Source(
                _Bucket(rate, burst, burst, now_s),
                _Bucket(rate * ANSWER_RATE_FACTOR, burst, burst, now_s),
            )
            if len(self._sources) >= MAX_SOURCES:
                self._forget_one(now_s)
        self._sources[address] = known  # the least recently seen is first
        return known

    def _forget_one(self, now_s: float) -> None:
        """Of those that are not banned the one that was silent longest, else that one anyway."""
        for address, source in self._sources.items():
            if source.banned_until_s <= now_s:
                del self._sources[address]
                return
        self._sources.popitem(last=False)


def _inside(address: str, networks: Sequence[IpNetwork]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks if network.version == parsed.version)
