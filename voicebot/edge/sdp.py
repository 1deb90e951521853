"""What the edge reads from and writes to an SDP body (RFC 4566); pjsua2 negotiates."""

import ipaddress
import re
from dataclasses import dataclass

_STATIC_TYPES = 96


@dataclass(frozen=True, slots=True)
class MediaTarget:
    """Where an SDP body asks for RTP. ``address`` is 0.0.0.0 in the old form of hold."""

    address: str
    port: int

    @property
    def is_hold(self) -> bool:
        """The old way to put somebody on hold (RFC 2543); nothing is sent there."""
        return self.address == "0.0.0.0"  # noqa: S104 - compared, not bound


def audio_target(sdp: str) -> MediaTarget | None:
    """The address of the first audio stream that is not switched off, or None."""
    session_address = ""
    address = ""
    port: int | None = None
    for line in sdp.replace("\r\n", "\n").split("\n"):
        if line.startswith("m="):
            if port is not None:
                break
            fields = line[2:].split()
            if len(fields) >= 2 and fields[0] == "audio":
                number = fields[1].partition("/")[0]
                port = int(number) if number.isascii() and number.isdigit() else 0
                port = port or None
        elif line.startswith("c="):
            fields = line[2:].split()
            value = fields[2].partition("/")[0] if len(fields) >= 3 else ""
            if port is not None:
                address = value
            elif not session_address:
                session_address = value
    if port is None:
        return None
    return MediaTarget(address or session_address, port)


_PLAIN_LINE = re.compile(
    r"v=0|o=\S+ \d+ \d+ IN IP4 \S+|s=[\x20-\x7e]+|t=\d+ \d+|[cm]=[\x20-\x7e]+|b=[A-Za-z0-9-]+:\d+"
    r"|a=rtpmap:\d{1,3} [\w.-]+/\d+(?:/\d+)?|a=fmtp:\d{1,3} [\x21-\x7e][\x20-\x7e]*"
    r"|a=(?!rtpmap|fmtp)[\w.-]+(?::[\x21-\x7e][\x20-\x7e]*)?",
    re.ASCII,
)


def is_sound_answer(sdp: str) -> bool:
    """Whether a body surely answers our offer: one live audio stream, PCMU or PCMA, to an IPv4 address.

    Strict: what is odd, but might do, counts as not sound.
    """
    lines = sdp.replace("\r\n", "\n").rstrip("\n").split("\n")
    streams = [line.split() for line in lines if line.startswith("m=")]
    addresses = [line.split() for line in lines if line.startswith("c=")]
    if lines[0] != "v=0" or not all(_PLAIN_LINE.fullmatch(line) for line in lines):
        return False
    if any(sum(line.startswith(f"{kind}=") for line in lines) != 1 for kind in "vostmc"):
        return False
    stream = re.fullmatch(
        r"m=audio ([1-9]\d{0,4}) RTP/AVPF? (\d{1,3}(?: \d{1,3})*)", " ".join(streams[0])
    )
    if stream is None or len(addresses[0]) != 3 or addresses[0][:2] != ["c=IN", "IP4"]:
        return False
    types = {int(number) for number in stream[2].split()}
    named = {int(number) for number in re.findall(r"(?m)^a=rtpmap:(\d{1,3}) ", "\n".join(lines))}
    if not types & {0, 8} or {number for number in types if number >= _STATIC_TYPES} - named:
        return False
    try:
        ipaddress.IPv4Address(addresses[0][2])
    except ValueError:
        return False
    return True


def rewrite_audio_target(sdp: str, address: str, port: int) -> str:
    """Put our RTP socket into a body that the library wrote: c=, the first live m=audio, a=rtcp."""
    lines = sdp.replace("\r\n", "\n").split("\n")
    replaced = False
    for index, line in enumerate(lines):
        if line.startswith("c="):
            lines[index] = f"c=IN IP4 {address}"
        elif line.startswith("m=audio ") and not replaced:
            fields = line.split(" ")
            if fields[1] != "0":
                fields[1] = str(port)
                lines[index] = " ".join(fields)
                replaced = True
        elif line.startswith("a=rtcp:"):
            lines[index] = f"a=rtcp:{port + 1} IN IP4 {address}"
    return "\r\n".join(lines)
