"""The called party: a human agent's telephone that answers, is busy, rejects or lets it ring."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from sip_test_harness.clock import now_ns
from sip_test_harness.errors import HarnessError, WaitTimeoutError
from sip_test_harness.leg import Leg
from sip_test_harness.leg_options import LegOptions
from sip_test_harness.sip_endpoint import SipEndpoint
from sip_test_harness.sip_message import Header, SipRequest, address_uri, response_to
from sip_test_harness.udp import Address, Capture, NetworkGuard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

_REASONS = {
    404: "Not Found",
    480: "Temporarily Unavailable",
    486: "Busy Here",
    487: "Request Terminated",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}


@dataclass
class AgentOptions(LegOptions):
    """How the agent behaves.

    Args:
        host: local address of SIP and RTP.
        port: local SIP port, 0 for any.
        user: user part of its Contact.
        trying_ms: 100 Trying after this time; None sends none.
        ring_ms: 180 Ringing at once and the final answer after this time; None rings for ever.
        status: final answer: 200, 486 (busy), 603 (reject), 480, 503 …
        headers: further headers of the final answer.
        conversation: what the agent does once the call is up; the call is hung up afterwards
            when ``hang_up_after``.
        hang_up_after: send BYE when the conversation is over.
        max_calls: a further INVITE is answered 486.
        allow_network: permit destinations outside 127.0.0.0/8.
        seed: start of every random choice.
    """

    host: str = "127.0.0.1"
    port: int = 0
    user: str = "agent"
    trying_ms: float | None = 0.0
    ring_ms: float | None = 50.0
    status: int = 200
    headers: Sequence[Header] = ()
    conversation: Callable[[AgentLeg], Awaitable[None]] | None = None
    hang_up_after: bool = False
    max_calls: int = 10
    allow_network: bool = False
    seed: int = 1


class AgentLeg(Leg):
    """One call at the agent's telephone; ``invite`` is the request with all its headers."""

    invite: SipRequest

    def accept(self, request: SipRequest, source: Address) -> None:
        """Take the dialog's values from the INVITE (RFC 3261 12.1.1)."""
        self.invite = request
        self.invite_source = source
        self.call_id = request.call_id
        self.local_address = request.get("to").split(";tag=")[0]
        self.remote_address = request.get("from")
        self.remote_target = request.contact_uri or address_uri(request.get("from"))
        self.route_set = request.listed("record-route")
        self.state = "early"

    def respond(self, status: int, reason: str, headers: Sequence[Header], body: bytes) -> None:
        """Answer the INVITE."""
        extra = [("Contact", self.contact), *headers]
        if body:
            extra.append(("Content-Type", "application/sdp"))
        self.endpoint.respond(
            self.invite,
            self.invite_source,
            response_to(self.invite, status, reason, to_tag=self.local_tag, headers=extra, body=body),
        )

    def answer(self, headers: Sequence[Header]) -> None:
        """Answer with 200 and the SDP that agrees to the offer (or an offer)."""
        body = b""
        if self.invite.body:
            try:
                self._apply(self.invite.body)
            except HarnessError as error:
                self.note("offer refused", str(error))
                self.respond(488, "Not Acceptable Here", (), b"")
                self._ended("harness", "offer refused")
                return
        body = self._local_sdp()
        self.respond(200, "OK", headers, body)
        self.state = "confirmed"
        self.answered_ns = now_ns()
        self._changed.set()

    def end(self, by: str, reason: str) -> None:
        """Note that the call is over."""
        self._ended(by, reason)


@dataclass
class _Shared:
    guard: NetworkGuard
    capture: Capture = field(default_factory=Capture)


class ScriptedAgent:
    """A UAS for handoff and outgoing-call tests.

    ::

        async with ScriptedAgent(AgentOptions(ring_ms=100)) as agent:
            ...  # let the bot call agent.uri
            leg = await agent.wait_call()
            await leg.wait_bot_audible()
            await leg.hang_up()
    """

    def __init__(self, options: AgentOptions | None = None) -> None:
        self.options = options or AgentOptions()
        self.legs: list[AgentLeg] = []
        self.cancelled = 0
        self.options_received = 0
        self.errors: list[Exception] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open the SIP port."""
        options = self.options
        self._shared = _Shared(NetworkGuard(options.allow_network))
        self.endpoint = SipEndpoint(
            options.host,
            options.port,
            guard=self._shared.guard,
            capture=self._shared.capture,
            on_request=self._on_request,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up every call and close the port."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for leg in self.legs:
            await leg.close()
        self.endpoint.close()
        if self.errors and error is None:
            raise self.errors[0]

    @property
    def uri(self) -> str:
        """The agent's SIP address."""
        host, port = self.endpoint.address
        return f"sip:{self.options.user}@{host}:{port}"

    async def wait_call(self, index: int = 0, timeout_s: float = 10.0) -> AgentLeg:
        """Return the n-th call once it has arrived.

        Raises:
            WaitTimeoutError: it did not arrive.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.legs) <= index:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise WaitTimeoutError(f"no call {index} within {timeout_s:g} s") from None
        return self.legs[index]

    def _on_request(self, request: SipRequest, source: Address, arrival_ns: int) -> None:
        leg = next((leg for leg in self.legs if leg.call_id == request.call_id), None)
        if request.method == "INVITE" and not request.to_tag:
            if leg is None:
                self._arrive(request, source)
            else:
                self.endpoint.respond(request, source, response_to(request, 482, "Loop Detected"))
        elif request.method == "CANCEL":
            self._cancel(leg, request, source)
        elif leg is not None:
            leg.handle_request(request, source, arrival_ns)
        elif request.method == "OPTIONS":
            self.options_received += 1
            self.endpoint.respond(request, source, response_to(request, 200, "OK", to_tag="o"))
        elif request.method != "ACK":
            refusal = response_to(request, 481, "Call/Transaction Does Not Exist")
            self.endpoint.respond(request, source, refusal)

    def _arrive(self, request: SipRequest, source: Address) -> None:
        busy = sum(leg.state != "ended" for leg in self.legs) >= self.options.max_calls
        if busy:
            refusal = response_to(request, 486, "Busy Here", to_tag="busy")
            self.endpoint.respond(request, source, refusal)
            return
        leg = AgentLeg(
            self.endpoint,
            self.options,
            guard=self._shared.guard,
            capture=self._shared.capture,
            seed=self.options.seed + len(self.legs),
            user=self.options.user,
        )
        leg.accept(request, source)
        self.legs.append(leg)
        self._arrived.set()
        task = asyncio.get_running_loop().create_task(self._serve(leg))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, leg: AgentLeg | None, request: SipRequest, source: Address) -> None:
        if leg is None or leg.state != "early":
            refusal = response_to(request, 481, "Call/Transaction Does Not Exist")
            self.endpoint.respond(request, source, refusal)
            return
        self.cancelled += 1
        self.endpoint.respond(request, source, response_to(request, 200, "OK", to_tag=leg.local_tag))
        leg.respond(487, "Request Terminated", (), b"")
        leg.end("bot", "cancelled")

    async def _serve(self, leg: AgentLeg) -> None:
        options = self.options
        if options.trying_ms is not None:
            await asyncio.sleep(options.trying_ms / 1000)
            if leg.state == "early":
                leg.respond(100, "Trying", (), b"")
        if options.ring_ms is None or options.ring_ms > 0:
            if leg.state == "early":
                leg.respond(180, "Ringing", (), b"")
            if options.ring_ms is None:
                with contextlib.suppress(WaitTimeoutError):
                    await leg.wait_ended(timeout_s=180.0)
                return
            await asyncio.sleep(options.ring_ms / 1000)
        if leg.state != "early":
            return
        if options.status >= 300:
            leg.respond(options.status, _REASONS.get(options.status, "Refused"), options.headers, b"")
            leg.end("harness", f"refused with {options.status}")
            return
        leg.answer(options.headers)
        if options.conversation is not None and leg.state == "confirmed":
            try:
                await options.conversation(leg)
            except HarnessError as error:
                leg.note("conversation", str(error))
            except Exception as error:  # noqa: BLE001 - a mistake in a test's conversation: raised when the agent closes
                self.errors.append(error)
            if options.hang_up_after:
                await leg.hang_up()
