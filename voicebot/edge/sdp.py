"""What the edge reads from and writes to an SDP body (RFC 4566); pjsua2 negotiates."""

from dataclasses import dataclass


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
