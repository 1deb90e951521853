"""SDP bodies of one audio stream (RFC 8866, offer and answer by RFC 3264)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from sip_test_harness.errors import SyntaxRefusedError
from sip_test_harness.g711 import PCMA, PCMU

CODEC_NAMES: Final = {PCMU: "PCMU", PCMA: "PCMA"}
DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
ANSWER_DIRECTION: Final = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}
"""The direction that agrees to an offered one (RFC 3264 section 6.1)."""


@dataclass(frozen=True)
class AudioDescription:
    """What one side says about its audio stream.

    ``host`` and ``port`` are where it wants RTP; ``payload_types`` in order of preference;
    ``telephone_event`` is the payload type of RFC 4733 events, or None.
    """

    host: str
    port: int
    payload_types: tuple[int, ...]
    telephone_event: int | None = 101
    direction: str = "sendrecv"
    ptime_ms: int = 20
    rtpmap: dict[int, str] = field(default_factory=dict)

    @property
    def on_hold(self) -> bool:
        """Whether the other side may send nothing that will be heard."""
        return self.direction in {"sendonly", "inactive"} or self.host == "0.0.0.0"  # noqa: S104 - the hold address of RFC 3264 8.4, nothing is bound

    def build(self, session_id: int, version: int, extra_lines: tuple[str, ...] = ()) -> bytes:
        """Return the SDP body.

        Args:
            session_id: origin session id, fixed during a dialog.
            version: origin version, one more for each changed offer or answer.
            extra_lines: further lines of the media section.
        """
        types = list(self.payload_types)
        if self.telephone_event is not None:
            types.append(self.telephone_event)
        lines = [
            "v=0",
            f"o=harness {session_id} {version} IN IP4 {self.host}",
            "s=-",
            f"c=IN IP4 {self.host}",
            "t=0 0",
            f"m=audio {self.port} RTP/AVP {' '.join(map(str, types))}",
        ]
        lines += [
            f"a=rtpmap:{pt} {self.rtpmap.get(pt) or CODEC_NAMES.get(pt, 'X') + '/8000'}"
            for pt in self.payload_types
            if pt in self.rtpmap or pt in CODEC_NAMES
        ]
        if self.telephone_event is not None:
            lines.append(f"a=rtpmap:{self.telephone_event} telephone-event/8000")
            lines.append(f"a=fmtp:{self.telephone_event} 0-16")
        lines += [f"a=ptime:{self.ptime_ms}", f"a={self.direction}", *extra_lines]
        return ("\r\n".join(lines) + "\r\n").encode()


def parse(body: bytes) -> AudioDescription:
    """Parse the first audio stream of an SDP body.

    Raises:
        SyntaxRefusedError: no audio line, no connection address, or numbers that are none.
    """
    host = session_host = ""
    media: re.Match[str] | None = None
    in_audio = False
    direction = session_direction = ""
    ptime_ms = 20
    rtpmap: dict[int, str] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        kind, _, value = line.partition("=")
        if kind == "m":
            in_audio = media is None and value.startswith("audio ")
            if in_audio:
                media = re.fullmatch(r"audio (\d{1,5})(?:/\d+)? \S+ ([\d ]+)", value.strip())
                if media is None:
                    raise SyntaxRefusedError(f"not an audio line: {line[:60]!r}")
        elif kind == "c":
            address = value.split()[-1].split("/")[0] if value.split() else ""
            if media is None:
                session_host = address
            elif in_audio:
                host = address
        elif kind == "a" and value.strip() in DIRECTIONS:
            if media is None:
                session_direction = value.strip()
            elif in_audio:
                direction = value.strip()
        elif kind == "a" and in_audio:
            mapped = re.fullmatch(r"rtpmap:(\d+) (\S+)", value.strip())
            packet_time = re.fullmatch(r"ptime:(\d+)", value.strip())
            if mapped:
                rtpmap[int(mapped.group(1))] = mapped.group(2)
            if packet_time:
                ptime_ms = int(packet_time.group(1))
    host = host or session_host
    if media is None or not host:
        raise SyntaxRefusedError("no audio stream with an address in the SDP")
    types = tuple(int(text) for text in media.group(2).split())
    events = [pt for pt in types if rtpmap.get(pt, "").lower() == "telephone-event/8000"]
    return AudioDescription(
        host=host,
        port=int(media.group(1)),
        payload_types=tuple(pt for pt in types if pt not in events),
        telephone_event=events[0] if events else None,
        direction=direction or session_direction or "sendrecv",
        ptime_ms=ptime_ms,
        rtpmap=rtpmap,
    )
