"""Where this edge may dial or refer to: toll fraud starts with a destination somebody else chose."""

import re
from collections.abc import Iterable
from typing import Final

# One user part, one host, an optional port and a transport; no headers part, no other parameters.
_SIP_URI: Final = re.compile(
    r"sip:([A-Za-z0-9_.!~*'()+\-]{1,64}@)?([A-Za-z0-9.\-]{1,253})(:[0-9]{1,5})?(;transport=udp)?",
    re.IGNORECASE,
)


def refusal(uri: str, *, allow_outgoing: bool, hosts: Iterable[str]) -> str:
    """Why ``uri`` must not be dialled or referred to; empty when it may be.

    Args:
        uri: ``sip:user@host:port``.
        allow_outgoing: Whether outgoing calls are switched on at all.
        hosts: Hosts that may be reached, literally as in the URI.
    """
    if not allow_outgoing:
        return "outgoing calls are switched off"
    found = _SIP_URI.fullmatch(uri)
    if not found:
        return "not a plain sip: URI"
    if found[2].lower() not in {host.lower() for host in hosts}:
        return "host is not in sip.outgoing_hosts"
    return ""
