"""The line quality of one call, into metrics: counters move during the call, ratios at its end."""

from typing import Final

from voicebot.edge.line_watch import LineWatch
from voicebot.link.messages import Stats
from voicebot.telemetry import metrics
from voicebot.telemetry.log import get_logger

_KINDS: Final = {
    "received": "received_packets",
    "lost": "lost_packets",
    "late": "late_packets",
    "duplicate": "duplicate_packets",
    "foreign": "foreign_packets",
    "malformed": "malformed_packets",
    "sent": "sent_packets",
}
# Resolved once: a lookup of labels costs as much as the counting.
_PACKETS: Final = {kind: metrics.RTP_PACKETS.labels(kind) for kind in _KINDS}
_MIN_PACKETS_FOR_RATIO: Final = 50


class LineMeter:
    """Meters one call."""

    def __init__(self) -> None:
        self.watch = LineWatch()
        self.call_id = ""
        self._before = Stats()

    def report(self, stats: Stats, *, since_answer_us: int, held: bool) -> None:
        """Take the figures of this moment; each 5 s and once at the end."""
        for kind, field in _KINDS.items():
            # Lost packets that turn up late after all make the count smaller.
            more = getattr(stats, field) - getattr(self._before, field)
            if more > 0:
                _PACKETS[kind].inc(more)
        concealed_ms = stats.concealed_ms - self._before.concealed_ms
        if concealed_ms > 0:
            metrics.RTP_CONCEALED_SECONDS.inc(concealed_ms / 1000)
        if stats.received_packets:
            metrics.RTP_JITTER_SECONDS.observe(stats.jitter_ms / 1000)
        metrics.PLAYOUT_QUEUE_SECONDS.observe(stats.queue_ms / 1000)
        self._before = stats
        for kind in self.watch.anomalies(
            since_answer_us=since_answer_us, received_packets=stats.received_packets, held=held
        ):
            metrics.ACOUSTIC_ANOMALIES.labels(kind).inc()
            get_logger().warning("line_anomaly", call_id=self.call_id, kind=kind)

    def far_report(self, fraction_lost: float | None, sent_packets: int) -> None:
        """The far end's RTCP: the share it lost of our packets, None when it says nothing of them."""
        self.watch.far_report(about_us=fraction_lost is not None, sent_packets=sent_packets)
        if fraction_lost is not None:
            metrics.RTP_FAR_LOSS_RATIO.observe(fraction_lost)

    def ended(self, stats: Stats, *, ended_by: str, talk_s: float | None) -> None:
        """The call is over; ``talk_s`` None: it was never answered."""
        metrics.CALLS_ENDED.labels(ended_by).inc()
        if talk_s is None:
            return
        self.report(stats, since_answer_us=int(talk_s * 1e6), held=False)
        metrics.CALL_SECONDS.observe(talk_s)
        expected = stats.received_packets + stats.lost_packets
        if expected >= _MIN_PACKETS_FOR_RATIO:
            metrics.RTP_LOSS_RATIO.observe(max(0, stats.lost_packets) / expected)
