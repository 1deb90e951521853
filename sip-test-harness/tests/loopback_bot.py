"""A tiny bot that is its own ground truth: it logs when it sent each tone and heard speech end."""

import asyncio
import re
import struct
import time

import numpy as np

from sip_test_harness import g711
from sip_test_harness.sip_message import SipRequest, parse, response_to
from sip_test_harness.udp import Capture, NetworkGuard, UdpSocket

SILENCE = b"\xff" * 160


def tone_blocks(duration_ms: int, hz: float = 440.0) -> list[bytes]:
    """G.711 blocks of a sine of -12 dBFS."""
    time_s = np.arange(duration_ms * 8) / 8000
    data = g711.encode((8000 * np.sin(2 * np.pi * hz * time_s)).astype(np.int16), g711.PCMU)
    return [data[at : at + 160] for at in range(0, len(data), 160)]


class LoopbackBot:
    """Greets with a tone, then answers each turn ``delay_ms`` after the caller's last speech packet.

    ``hold_ms`` of silence end a turn. ``truth_onset_ms`` lists first tone packet sent - last speech
    packet arrived, as the bot itself saw it. ``holes`` maps a packet's index to extra ms of delay.
    """

    def __init__(self, *, delay_ms=300, greeting_ms=400, answer_ms=300, hang_up_after=None, holes=None):
        self.delay_ms, self.answer_ms = delay_ms, answer_ms
        self.hang_up_after = hang_up_after
        self.holes = holes or {}
        self.queue = tone_blocks(greeting_ms)
        self.truth_onset_ms, self.rtp_received, self.rtp_sent = [], 0, 0
        self.sip_log, self.turns, self.acked = [], 0, False
        self.last_speech_ns, self.heard_speech, self.pending_ns = None, False, None
        self.remote, self.stop = None, False

    async def __aenter__(self):
        self.capture = Capture()
        guard = NetworkGuard()
        self.sip = UdpSocket("127.0.0.1", 0, self.on_sip, guard, self.capture)
        self.rtp = UdpSocket("127.0.0.1", 0, self.on_rtp, guard)
        self.sip.start()
        self.rtp.start()
        self.uri = f"sip:bot@127.0.0.1:{self.sip.address[1]}"
        return self

    async def __aexit__(self, *_):
        self.stop = True
        if hasattr(self, "task"):
            await self.task
        self.sip.close()
        self.rtp.close()

    def on_sip(self, data, source, _arrival_ns):
        message = parse(data)
        self.sip_log.append(message)
        if not isinstance(message, SipRequest):
            return
        if message.method == "ACK":
            self.acked = True
        elif message.method == "INVITE":
            body = message.body.decode()
            port = int(re.search(r"m=audio (\d+)", body).group(1))
            sdp = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                f"m=audio {self.rtp.address[1]} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
            ).encode()
            headers = [("Contact", f"<{self.uri}>"), ("Content-Type", "application/sdp")]
            self.invite, self.peer = message, source
            self.sip.send(
                response_to(message, 200, "OK", to_tag="b0t", headers=headers, body=sdp).encode(), source
            )
            if self.remote is None:
                self.remote = ("127.0.0.1", port)
                self.task = asyncio.get_running_loop().create_task(self.clock())
        else:
            self.sip.send(response_to(message, 200, "OK", to_tag="b0t").encode(), source)
            if message.method == "BYE":
                self.stop = True

    def on_rtp(self, data, _source, arrival_ns):
        self.rtp_received += 1
        if data[1] & 0x7F == 101 or g711.level_dbfs(data[12:], 0) > -45:
            self.last_speech_ns, self.heard_speech = arrival_ns, True

    def bye(self):
        invite = self.invite
        lines = [
            f"BYE {invite.contact_uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.sip.address[1]};branch=z9hG4bKbye",
            f"From: {invite.get('to')};tag=b0t",
            f"To: {invite.get('from')}",
            f"Call-ID: {invite.call_id}",
            "CSeq: 1 BYE",
            'Reason: Q.850;cause=16;text="done"',
            "Content-Length: 0",
            "",
            "",
        ]
        self.sip.send("\r\n".join(lines).encode(), self.peer)

    async def clock(self):
        start, sequence = time.monotonic_ns(), 65530
        for index in range(3000):
            due = start + index * 20_000_000 + int(self.holes.get(index, 0) * 1e6)
            await asyncio.sleep(max(0, (due - time.monotonic_ns()) / 1e9))
            if self.stop:
                return
            now = time.monotonic_ns()
            if self.heard_speech and now - self.last_speech_ns >= (self.delay_ms - 10) * 1e6:
                self.queue, self.heard_speech = tone_blocks(self.answer_ms), False
                self.turns += 1
                self.truth_onset_ms.append((time.monotonic_ns() - self.last_speech_ns) / 1e6)
            if not self.queue and self.hang_up_after == self.turns:
                self.bye()
                return
            payload = self.queue.pop(0) if self.queue else SILENCE
            header = struct.pack("!BBHII", 0x80, 0, (sequence + index) & 0xFFFF, index * 160, 77)
            self.rtp.send(header + payload, self.remote)
            self.rtp_sent += 1
