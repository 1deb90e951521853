"""Hostile input for a bot on loopback: the RFC 4475 messages and seeded mutations.

Every function sends a bounded number of datagrams and returns how many. Whether the bot survived
is the caller's question: place a normal call afterwards.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sip_test_harness.errors import UsageError
from sip_test_harness.g711 import PCMU
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.sdp import AudioDescription
from sip_test_harness.udp import Address, Capture, NetworkGuard, UdpSocket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_DATAGRAM_BYTES: Final = 60_000
_HEADERS_WITHOUT_BODY: Final = re.compile(rb"(?im)^(Call-ID|i)[ \t]*:[^\r\n]*\r?$")


def read_torture_messages(path: str | Path) -> dict[str, bytes]:
    """Read every ``.dat`` file of a folder or tar file.

    Returns:
        The messages by name without suffix, sorted.

    Raises:
        UsageError: no such folder or tar, or no ``.dat`` in it.
    """
    path = Path(path)
    found: dict[str, bytes] = {}
    if path.is_dir():
        found = {item.stem: item.read_bytes() for item in path.rglob("*.dat")}
    else:
        try:
            with tarfile.open(path) as archive:
                for member in archive.getmembers():
                    file = archive.extractfile(member) if member.name.endswith(".dat") else None
                    if file is not None:
                        found[Path(member.name).stem] = file.read(MAX_DATAGRAM_BYTES)
        except (OSError, tarfile.TarError) as error:
            raise UsageError(f"neither a folder nor a tar file: {path} ({error})") from error
    if not found:
        raise UsageError(f"no .dat files in {path}")
    return dict(sorted(found.items()))


def fresh_call_id(message: bytes) -> bytes:
    """Give a message a Call-ID of its own, so that each counts as a new call."""
    return _HEADERS_WITHOUT_BODY.sub(
        b"Call-ID: " + secrets.token_hex(8).encode() + b"@torture\r", message, count=1
    )


def valid_invite(target: Address, source: Address, chance: random.Random) -> bytes:
    """Return a well-formed INVITE with an SDP offer and fresh identifiers."""
    body = AudioDescription(source[0], 40_000, (0, 8)).build(chance.getrandbits(30), 1)
    tag = f"{chance.getrandbits(48):x}"
    head = (
        f"INVITE sip:bot@{target[0]}:{target[1]} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {source[0]}:{source[1]};rport;branch=z9hG4bK{tag}\r\n"
        "Max-Forwards: 70\r\n"
        f'From: "Mallory" <sip:mallory@{source[0]}>;tag={tag}\r\n'
        f"To: <sip:bot@{target[0]}:{target[1]}>\r\n"
        f"Call-ID: {tag}@torture\r\n"
        "CSeq: 1 INVITE\r\n"
        f"Contact: <sip:mallory@{source[0]}:{source[1]}>\r\n"
        "Content-Type: application/sdp\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_NASTY: Final = (
    b"",
    b"\0",
    b"\r\n",
    b"\r\n\r\n",
    b"%n%s%x",
    b"\xff\xfe\x80",
    b"99999999999999999999",
    b"-1",
    b"<script>alert(1)</script>",
    b"../../etc/passwd",
    b"\x1b[2J",
    b"A" * 4000,
    b";" * 200,
    b'"',
    b"<sip:",
    b"a=" * 500,
)


def mutate(message: bytes, chance: random.Random) -> bytes:
    """Return a damaged copy: bytes flipped, parts cut, doubled, swapped or replaced by nasty ones."""
    data = bytearray(message)
    for _ in range(chance.randrange(1, 5)):
        size = len(data)
        at = chance.randrange(size + 1)
        length = chance.randrange(1, 40)
        kind = chance.randrange(7)
        if kind == 0 and size:
            data[at % size] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length] * chance.randrange(1, 4)
        elif kind == 3:
            data[at : at + length] = chance.choice(_NASTY)
        elif kind == 4:
            lines = bytes(data).split(b"\r\n")
            chance.shuffle(lines)
            data = bytearray(b"\r\n".join(lines))
        elif kind == 5:
            lines = bytes(data).split(b"\r\n")
            chosen = chance.randrange(len(lines))
            name, colon, _ = lines[chosen].partition(b":")
            lines[chosen] = name + colon + b" " + chance.choice(_NASTY)
            data = bytearray(b"\r\n".join(lines))
        else:
            del data[chance.randrange(size + 1) :]
    return bytes(data[:MAX_DATAGRAM_BYTES])


def mutated_sip(
    count: int, seed: int, target: Address, source: Address, *, bases: Iterable[bytes] = ()
) -> Iterator[bytes]:
    """Yield ``count`` damaged messages: of a valid INVITE, and of further messages given."""
    chance = random.Random(seed)
    others = list(bases)
    for index in range(count):
        if others and index % 2:
            base = fresh_call_id(chance.choice(others))
        else:
            base = valid_invite(target, source, chance)
        yield mutate(base, chance)


def mutated_sdp(count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged SDP bodies, to be sent with ``Caller.invite(body=...)``."""
    chance = random.Random(seed)
    for _ in range(count):
        yield mutate(AudioDescription("127.0.0.1", 40_000, (0, 8)).build(1, 1), chance)


def hostile_sdp() -> dict[str, bytes]:
    """Return SDP offers that must not be honoured, by name of the trick."""
    good = AudioDescription("127.0.0.1", 40_000, (0, 8)).build(1, 1)
    return {
        "foreign_address": good.replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 192.0.2.7"),
        "low_port": good.replace(b"40000", b"53"),
        "port_zero": good.replace(b"40000", b"0"),
        "port_huge": good.replace(b"40000", b"99999"),
        "only_g729": good.replace(b"RTP/AVP 0 8 101", b"RTP/AVP 18"),
        "no_audio": b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n",
        "many_media": good + b"m=audio 40000 RTP/AVP 0\r\n" * 500,
        "many_attributes": good + b"a=x:y\r\n" * 2000,
        "long_line": good + b"a=" + b"x" * 20_000 + b"\r\n",
        "host_name": good.replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 localhost"),
        "ipv6": good.replace(b"c=IN IP4 127.0.0.1", b"c=IN IP6 ::1"),
        "empty": b"",
    }


def malformed_rtp(count: int, seed: int, *, ssrc: int | None = None) -> Iterator[bytes]:
    """Yield damaged and odd RTP datagrams of 0 to 1500 bytes."""
    chance = random.Random(seed)
    for index in range(count):
        packet = RtpPacket(
            chance.choice([0, 8, 13, 18, 72, 101, 127]),
            chance.getrandbits(16),
            chance.getrandbits(32),
            ssrc if ssrc is not None and index % 2 else chance.getrandbits(32),
            chance.randbytes(chance.choice([0, 1, 4, 160, 160, 320, 1400])),
            marker=chance.random() < 0.3,
        ).encode()
        kind = index % 5
        if kind == 0:
            yield packet
        elif kind == 1:
            yield packet[: chance.randrange(13)]
        elif kind == 2:
            yield bytes([chance.randrange(256)]) + packet[1:]
        elif kind == 3:
            yield chance.randbytes(chance.randrange(1500))
        else:
            # A header extension or padding that claims more than is there.
            yield bytes([0x80 | chance.choice([0x10, 0x20, 0x0F])]) + packet[1:12] + bytes([255])


def malformed_rtcp(count: int, seed: int) -> Iterator[bytes]:
    """Yield RTCP that lies: BYE of strangers, lengths beyond the end, oversized compounds."""
    chance = random.Random(seed)
    for index in range(count):
        kind = index % 4
        ssrc = chance.getrandbits(32)
        if kind == 0:
            yield struct.pack("!BBHI", 0x81, 203, 1, ssrc)
        elif kind == 1:
            yield struct.pack("!BBHI", 0x9F, 200, 0xFFFF, ssrc)
        elif kind == 2:
            yield struct.pack("!BBHI", 0x80, 201, 1, ssrc) * 180
        else:
            yield chance.randbytes(chance.randrange(1500))


@dataclass(frozen=True)
class TortureResult:
    """How many datagrams were sent, and the status lines that came back with their counts."""

    sent: int
    answers: dict[str, int]


async def send_datagrams(
    messages: Iterable[bytes],
    target: Address,
    *,
    per_second: float = 200.0,
    limit: int = 10_000,
    linger_s: float = 0.5,
    host: str = "127.0.0.1",
    allow_network: bool = False,
) -> TortureResult:
    """Send datagrams at a steady rate from one socket and collect the SIP status lines.

    Args:
        messages: what to send; at most ``limit`` are.
        target: where to.
        per_second: rate.
        limit: bound of the count.
        linger_s: how long to listen afterwards.
        host: local address.
        allow_network: permit targets outside 127.0.0.0/8.
    """
    answers: dict[str, int] = {}

    def on_datagram(data: bytes, _source: Address, _arrival_ns: int) -> None:
        line = data.split(b"\r\n", 1)[0].decode("latin-1")
        if line.startswith("SIP/2.0 "):
            answers[line[8:]] = answers.get(line[8:], 0) + 1

    socket = UdpSocket(host, 0, on_datagram, NetworkGuard(allow_network), Capture())
    socket.start()
    loop = asyncio.get_running_loop()
    sent = 0
    try:
        start_s = loop.time()
        for message in messages:
            if sent >= limit:
                break
            await asyncio.sleep(max(0.0, start_s + sent / per_second - loop.time()))
            socket.send(message[:MAX_DATAGRAM_BYTES], target)
            sent += 1
        await asyncio.sleep(linger_s)
    finally:
        socket.close()
    return TortureResult(sent, answers)


async def spray_rtp(
    target: Address,
    *,
    packets: int,
    per_second: float,
    payload: bytes = b"\x40" * 160,
    host: str = "127.0.0.1",
) -> int:
    """Play the stranger: valid RTP from another port towards a call's RTP port.

    Returns:
        How many datagrams the target sent back to the stranger (must be 0).
    """
    received = 0

    def on_datagram(_data: bytes, _source: Address, _arrival_ns: int) -> None:
        nonlocal received
        received += 1

    chance = random.Random(packets)
    ssrc, first = chance.getrandbits(32), chance.getrandbits(16)
    socket = UdpSocket(host, 0, on_datagram, NetworkGuard(), None)
    socket.start()
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    try:
        for index in range(packets):
            await asyncio.sleep(max(0.0, start_s + index / per_second - loop.time()))
            packet = RtpPacket(PCMU, (first + index) & 0xFFFF, index * 160, ssrc, payload)
            socket.send(packet.encode(), target)
        await asyncio.sleep(0.1)
    finally:
        socket.close()
    return received
