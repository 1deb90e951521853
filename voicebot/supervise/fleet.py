"""Which processes a number of calls needs, and the ports of each; nothing is started here.

    calls <= 4    one edge on sip.port
    calls  > 4    Kamailio on sip.port, edges of four calls each on the ports from scale.edge_port
    workers       scale.workers, or one for each scale.calls_per_worker calls; and the standbys

The number of calls per edge is a limit of the SIP library (docs/adr): a warm handoff uses two of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from voicebot.config.settings import Settings
from voicebot.core.errors import ConfigError

CALLS_PER_EDGE: Final = 4
RTP_PORTS_PER_EDGE: Final = 16
"""Four calls with RTP and RTCP, and as many again: ports of ended calls rest for a while."""


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """One edge: its SIP address as ``host:port`` and the settings that differ from ours."""

    name: str
    sip_port: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker; a standby is started once calls can be answered."""

    port: int
    standby: bool
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """All processes of one machine."""

    edges: tuple[EdgePlan, ...]
    workers: tuple[WorkerPlan, ...]

    @property
    def needs_front(self) -> bool:
        """Whether calls have to be spread over several edges."""
        return len(self.edges) > 1


def plan_fleet(settings: Settings) -> Fleet:
    """The processes for ``scale.calls`` calls.

    Raises:
        ConfigError: The ports do not suffice.
    """
    scale, link = settings.scale, settings.link
    wanted = scale.workers or -(-scale.calls // scale.calls_per_worker)
    ports = range(link.port, link.port + wanted + link.standby_workers)
    if ports.stop > 65536:
        raise ConfigError(f"{len(ports)} workers need ports above 65535", key="link.port")
    workers = tuple(
        WorkerPlan(port, n >= wanted, {"VOICEBOT_LINK__PORT": str(port)}) for n, port in enumerate(ports)
    )
    urls = link.worker_urls or tuple(f"ws://{link.host}:{port}/" for port in ports)
    count = -(-scale.calls // CALLS_PER_EDGE)
    if count == 1:
        environment = {"VOICEBOT_LINK__WORKER_URLS": ",".join(urls)}
        return Fleet(
            (EdgePlan(_name(settings, settings.sip.port), settings.sip.port, environment),), workers
        )
    return Fleet(tuple(_edge(settings, n, count, urls) for n in range(count)), workers)


def _edge(settings: Settings, number: int, count: int, urls: tuple[str, ...]) -> EdgePlan:
    rtp, sip = settings.rtp, settings.sip
    share = (rtp.port_max - rtp.port_min + 1) // count // 2 * 2
    if share < RTP_PORTS_PER_EDGE:
        enough = rtp.port_min + count * RTP_PORTS_PER_EDGE - 1
        raise ConfigError(
            f"{count} edges need {count * RTP_PORTS_PER_EDGE} RTP ports: set it to {enough} or more",
            key="rtp.port_max",
        )
    port = settings.scale.edge_port + number
    if port > 65535:
        raise ConfigError(f"{count} edges need ports above 65535", key="scale.edge_port")
    first = rtp.port_min + number * share
    return EdgePlan(
        _name(settings, port),
        port,
        {
            "VOICEBOT_SIP__PORT": str(port),
            "VOICEBOT_SIP__FRONTS": f"{sip.host}/32",
            # A trunk is one source with many calls, and Kamailio does not repeat what an edge refused.
            "VOICEBOT_SIP__MAX_HALF_OPEN_PER_SOURCE": str(CALLS_PER_EDGE),
            "VOICEBOT_RTP__PORT_MIN": str(first),
            "VOICEBOT_RTP__PORT_MAX": str(first + share - 1),
            "VOICEBOT_LINK__WORKER_URLS": ",".join(urls),
        },
    )


def _name(settings: Settings, port: int) -> str:
    return f"{settings.sip.advertised_host or settings.sip.host}:{port}"
