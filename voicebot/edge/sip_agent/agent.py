"""All SIP dialogs of the process: who may call, what is polled, how it ends."""

import asyncio
import contextlib
import gc
import ipaddress
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from voicebot.config.settings import RtpSettings, SipSettings
from voicebot.core.errors import ConfigError
from voicebot.edge import peer_text
from voicebot.edge.admission import (
    FRONT_SOURCE_HEADER,
    PASS,
    Admission,
    EdgeState,
    SipRequest,
    Verdict,
)
from voicebot.edge.digest import DigestGate
from voicebot.edge.sdp import MediaTarget
from voicebot.edge.signalling import CallAcceptor, IncomingCall, LegEnd, LegEvents, MediaPort
from voicebot.edge.sip_agent.callbacks import PjAccount, PjCall
from voicebot.edge.sip_agent.door import SipDoor
from voicebot.edge.sip_agent.leg import PjSipLeg
from voicebot.edge.sip_agent.library import (
    ConferenceBridge,
    account_config,
    library_call_limit,
    start_endpoint,
    udp_socket_on,
)
from voicebot.rtp.source_guard import IpNetwork, media_address_allowed
from voicebot.telemetry import metrics
from voicebot.telemetry.log import get_logger

_POLL_BUSY_S: Final = 0.010
_POLL_BLIND_S: Final = 0.020  # where the library's socket cannot be watched
_POLL_IDLE_S: Final = 0.100  # its timers: a request is sent again after 500 ms at the earliest
_BUSY_POLLS: Final = 100  # a second
_MAX_EVENTS_PER_POLL: Final = 16
_WATCH_S: Final = 5.0
_BRIDGE_S: Final = 0.1
_TELL_EVERY_S: Final = 60.0
_log = get_logger()


class PjSipAgent:
    """The signalling of this process; see ``signalling.SipAgent``.

    Args:
        sip: Signalling settings.
        rtp: Media settings, for the codecs.
        acceptor: Who takes calls in.
    """

    def __init__(self, sip: SipSettings, rtp: RtpSettings, acceptor: CallAcceptor) -> None:
        self._sip = sip
        self._codecs = rtp.codecs
        self._acceptor = acceptor
        trunks = tuple(ipaddress.ip_network(n, strict=False) for n in sip.trunks)
        # A leg that we dial sends its media from the host that we may dial.
        dialled = _literal_hosts(sip.outgoing_hosts)
        self._media_networks = (*trunks, *dialled)
        self._admission = Admission(sip, own_peers(sip, dialled), _digest_gate(sip))
        self._door: SipDoor | None = None
        self._busy_polls = 0
        self._watched_s = 0.0
        self._bridged_s = 0.0
        self._socket: int | None = None
        self._wake = asyncio.Event()
        self._endpoint: Any = None
        self._account: PjAccount | None = None
        self._legs: set[PjSipLeg] = set()
        self._deferred: deque[Callable[[], Any]] = deque()
        self._limit = 0
        self._bridge: ConferenceBridge | None = None
        self._told_s: dict[str, float] = {}
        self.draining = False
        self.counters: Counter[str] = Counter()

    # ------------------------------------------------------------------ for the edge

    @property
    def call_limit(self) -> int:
        """See ``SipAgent``."""
        return self._limit

    @property
    def live_calls(self) -> int:
        """See ``SipAgent``."""
        return len(self._legs)

    @property
    def library_ports(self) -> int:
        """Ports of the library's conference bridge: itself and one for each call."""
        return 0 if self._bridge is None else self._bridge.ports()

    def dial(
        self,
        uri: str,
        headers: dict[str, str],
        events: LegEvents,
        media: MediaPort,
    ) -> PjSipLeg | None:
        """See ``SipAgent``."""
        if self._account is None or len(self._legs) >= self._limit:
            return None
        leg = PjSipLeg(self)
        leg.events = events
        leg.media = media
        self._legs.add(leg)
        self._busy_polls = _BUSY_POLLS  # the name servers answer on another socket
        self._wake.set()
        return leg if leg.make_call(self._account, uri, headers) else None

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Open the SIP socket.

        Raises:
            ConfigError: The address cannot be used.
        """
        self._endpoint = start_endpoint(self._sip, self._codecs)
        self._limit = library_call_limit()
        self._bridge = ConferenceBridge()
        self._account = PjAccount(self)
        self._account.create(account_config(self._sip))
        self._door = SipDoor(self._decide)
        self._socket = udp_socket_on(self._sip.port)

    async def run(self) -> None:
        """Serve the library until cancelled."""
        while True:
            self.poll()
            if self._busy_polls:
                await asyncio.sleep(_POLL_BUSY_S)  # also a limit to what a flood can make us do
            else:
                await self._until_something_comes()

    async def _until_something_comes(self) -> None:
        if self._socket is None:
            await asyncio.sleep(_POLL_BLIND_S)
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._wake.set)
        try:
            async with asyncio.timeout(_POLL_IDLE_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(self._socket)
            self._wake.clear()

    def poll(self) -> None:
        """One turn: what the library has, then what it led to."""
        self._busy_polls = max(0, self._busy_polls - 1)
        for _ in range(_MAX_EVENTS_PER_POLL):
            if self._endpoint.libHandleEvents(0) <= 0:
                break
            self._busy_polls = _BUSY_POLLS  # an answer is due, or follows: look more often for a while
        now_s = time.monotonic()
        if self._bridge is not None and now_s - self._bridged_s >= _BRIDGE_S:
            self._bridged_s = now_s
            self._bridge.tick()
        if now_s - self._watched_s >= _WATCH_S:
            self._watched_s = now_s
            for leg in list(self._legs):
                leg.notice_lost_end()
        while self._deferred:
            action = self._deferred.popleft()
            try:
                action()
            except Exception:  # noqa: BLE001 - one call's mistake must not end the others
                _log.exception("sip_event_failed")

    async def end_calls(self, *, limit_s: float = 2.0) -> None:
        """Hang up what is live and wait until it is gone, for a while."""
        for leg in list(self._legs):
            leg.hang_up({})
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        self.poll()  # what the hang-ups led to is told here, even when no dialog is left
        while self._legs and loop.time() < deadline:
            await asyncio.sleep(_POLL_BUSY_S)
            self.poll()
        for leg in self._legs:
            if leg.events is not None:  # its BYE was not answered: the owner need not wait for that
                leg.events.on_ended(LegEnd(408, "no response to BYE", by_far_end=False))

    async def stop(self) -> None:
        """End what is live and take the library down; nothing of it may survive."""
        if self._endpoint is None:
            return
        await self.end_calls(limit_s=0.2)
        if self._legs:
            # A call object alive after libDestroy aborts the process; leaving at once is the clean way.
            _log.warning("sip_calls_left_at_exit", calls=len(self._legs))
            sys.stderr.flush()
            os._exit(0)
        if self._account is not None:
            self._account.shutdown()
            self._account.release()
            self._account = None
        self._bridge = None
        if self._door is not None:
            self._door.close()
            self._door = None
        gc.collect()
        self._endpoint.libDestroy()
        self._endpoint = None

    # ------------------------------------------------------------------ library callbacks

    def defer(self, action: Callable[[], Any]) -> None:
        """Run something once the library has returned."""
        self._deferred.append(action)
        self._wake.set()

    def reserve_media(self) -> MediaPort:
        """An RTP socket for a leg whose body is being written."""
        return self._acceptor.reserve_media()

    def count(self, name: str) -> None:
        """Count something that is not worth a log line each time."""
        self.counters[name] += 1

    def forget(self, leg: PjSipLeg) -> None:
        """A dialog is gone."""
        self._legs.discard(leg)

    def may_send_to(self, target: MediaTarget) -> bool:
        """Whether media may go there: SDP may name any host."""
        return target.is_hold or media_address_allowed(target.address, target.port, self._media_networks)

    def incoming(self, prm: Any) -> None:
        """An INVITE arrived: own its call object, decide after the library has returned."""
        assert self._account is not None
        message = prm.rdata.wholeMsg
        source = str(prm.rdata.srcAddress).rpartition(":")[0]
        headers = peer_text.parse_sip_headers(message)
        request = SipRequest(
            "INVITE",
            source,
            claimed=next((v for n, v in reversed(headers) if n == FRONT_SOURCE_HEADER), ""),
            uri=peer_text.request_uri(message),
            authorization=next((v for n, v in headers if n == "authorization"), ""),
        )
        source = self._admission.source_of(request)
        leg = PjSipLeg(self, source)
        leg.adopt(PjCall(leg, self._account, prm.callId))
        self._legs.add(leg)
        leg.offered(message)
        first: dict[str, str] = {}
        for name, value in headers:
            first.setdefault(name, value)
        caller = peer_text.parse_name_address(first.get("from", ""))
        call = IncomingCall(
            sip_call_id=peer_text.clean_peer_text(first.get("call-id", "")),
            caller=caller.user,
            caller_name=caller.display_name,
            called=peer_text.parse_name_address(peer_text.request_uri(message)).user,
            source_address=source,
            headers=peer_text.dialplan_headers(headers),
        )
        self.defer(lambda: self._admit(leg, call, request))

    def _admit(self, leg: PjSipLeg, call: IncomingCall, request: SipRequest) -> None:
        # Behind the door only what it let in arrives; without it the same questions are asked here.
        verdict = PASS
        if self._door is None or not self._door.active:
            verdict = self._decide(request, besides=leg)
        if verdict.code:
            leg.reject(verdict.code if verdict.code > 0 else 403, dict(verdict.headers))
            return
        try:
            if leg.media is None:  # a late offer is written when we answer
                leg.media = self.reserve_media()
            self._acceptor.on_incoming(leg, call)
        except Exception:  # noqa: BLE001 - one call's mistake must not end the others
            _log.exception("call_not_accepted")
            leg.hang_up({}, code=500)

    def _decide(self, request: SipRequest, besides: PjSipLeg | None = None) -> Verdict:
        """What becomes of a request; ``besides`` is its own leg, when it has one already."""
        state = EdgeState(
            draining=self.draining,
            ready=self._acceptor.ready,
            overloaded=self._acceptor.overloaded,
            live_calls=len(self._legs) - (besides is not None),
            call_limit=self._limit,
            half_open=lambda source: self._half_open(source, besides),
        )
        verdict = self._admission.check(request, state, time.monotonic())
        if verdict.reason:
            self.count(f"{verdict.reason}_refused")
            metrics.CALLS_REFUSED.labels(verdict.reason).inc()
            self._tell_refusal(request, verdict)
        return verdict

    def _tell_refusal(self, request: SipRequest, verdict: Verdict) -> None:
        """A line for the first refusal of a kind in each minute: an attack must not fill the disk."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(verdict.reason, -_TELL_EVERY_S) >= _TELL_EVERY_S:
            self._told_s[verdict.reason] = now_s
            _log.warning(
                "sip_request_refused",
                reason=verdict.reason,
                method=request.method,
                source_address=request.source,
                answered=max(verdict.code, 0),
            )

    def _half_open(self, source: str, besides: PjSipLeg | None) -> tuple[int, int]:
        overdue_s = time.monotonic() - self._sip.half_open_after_ms / 1000
        began_s = [
            leg.created_s
            for leg in self._legs
            if leg is not besides and not leg.confirmed and leg.source_address == source
        ]
        return sum(at_s <= overdue_s for at_s in began_s), len(began_s)


def own_peers(sip: SipSettings, dialled: Iterable[IpNetwork]) -> tuple[IpNetwork, ...]:
    """Who may send requests although no calls come from there: who we dial, where we register."""
    registrar = peer_text.parse_name_address(sip.registration.registrar).host
    return (*dialled, *_literal_hosts((registrar.partition(":")[0],)))


def _digest_gate(sip: SipSettings) -> DigestGate | None:
    if not sip.digest_users:
        return None
    passwords = {user.name: os.environ.get(user.password_env, "") for user in sip.digest_users}
    missing = sorted(name for name, password in passwords.items() if not password)
    if missing:
        raise ConfigError(f"no password in the environment for {missing}", key="sip.digest_users")
    return DigestGate(sip.digest_realm, passwords, os.urandom(32), sip.digest_algorithm)


def _literal_hosts(hosts: Iterable[str]) -> tuple[IpNetwork, ...]:
    networks = []
    for host in hosts:
        with contextlib.suppress(ValueError):  # a name: its media must come from a trunk's network
            networks.append(ipaddress.ip_network(host))
    return tuple(networks)
