"""What is wrong with the sound of a line, found as the call goes on; pure, times come as arguments.

    clipping      the caller's audio is at full scale again and again: somebody's gain is too high
    one_way_in    no packet came within seconds of the answer
    one_way_out   the far end's RTCP says that it gets nothing of what we send
    silent        packets come, but never a sound: a muted or misrouted line

Each kind is told once per call.
"""

from typing import Final

CLIPPED_SAMPLES: Final = 8
"""Of a frame's 160: so many at full scale are no peak but a flat top."""
CLIPPED_FRAMES: Final = 10
NOTHING_CAME_US: Final = 5_000_000
SILENT_FRAMES: Final = 1500  # 30 s: a caller who listens is not a broken line
LOUD_SAMPLES: Final = 4
DEAF_REPORTS: Final = 2
SENT_PACKETS_BEFORE_JUDGING: Final = 250

_FULL_SCALE: Final = (b"\x00", b"\x80")
# Mu-law codes of at most 80 in 32768 on either side: idle noise of a digital line.
_QUIET: Final = bytes(range(0x76, 0x80)) + bytes(range(0xF6, 0x100))


class LineWatch:
    """Watches one call."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._clipped_frames = 0
        self._silent_frames = 0
        self._sound = False
        self._deaf_reports = 0

    def heard(self, ulaw: bytes, *, dtx: bool, concealed: bool) -> None:
        """20 ms of the caller, 160 bytes of mu-law."""
        if concealed:
            return
        if sum(ulaw.count(code) for code in _FULL_SCALE) >= CLIPPED_SAMPLES:
            self._clipped_frames += 1
        if self._sound:
            return
        if dtx or len(ulaw.translate(None, _QUIET)) < LOUD_SAMPLES:
            self._silent_frames += 1
        else:
            self._sound = True

    def far_report(self, *, about_us: bool, sent_packets: int) -> None:
        """An RTCP report of the far end came; ``about_us``: it has a block on what we send."""
        deaf = not about_us and sent_packets >= SENT_PACKETS_BEFORE_JUDGING
        self._deaf_reports = self._deaf_reports + 1 if deaf else 0

    def anomalies(self, *, since_answer_us: int, received_packets: int, held: bool) -> list[str]:
        """What has been found since the last call."""
        found = {
            "clipping": self._clipped_frames >= CLIPPED_FRAMES,
            "one_way_in": not received_packets and not held and since_answer_us >= NOTHING_CAME_US,
            "one_way_out": self._deaf_reports >= DEAF_REPORTS,
            "silent": not self._sound and self._silent_frames >= SILENT_FRAMES,
        }
        new = [kind for kind, is_so in found.items() if is_so and kind not in self._told]
        self._told.update(new)
        return new
