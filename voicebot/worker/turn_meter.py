"""Accounts one turn by stage: opened by the caller's input, closed when the answer is on the wire."""

from dataclasses import replace

from voicebot.config.settings import BudgetSettings
from voicebot.core.hops import TurnHops
from voicebot.dialogue.actions import StoreTurn
from voicebot.link.messages import Played
from voicebot.worker.effects import TurnMeasured
from voicebot.worker.listener import TurnEnded


class TurnMeter:
    """Hop times of the turn under way. Times are milliseconds on the worker's monotonic clock."""

    def __init__(self, budget: BudgetSettings) -> None:
        self._limits_ms = budget.limits_ms
        self._hops: TurnHops | None = None
        self._measured = TurnMeasured()
        self._answer: str | None = None
        self._edge_offset_ms = 0.0
        self._next_onset_limit_ms: int | None = None
        self._onset_limit_ms: int | None = None

    def edge_clock(self, edge_us: int, now_ms: float) -> None:
        """The edge's clock read ``edge_us`` when ours read ``now_ms``, to within the link's delay."""
        self._edge_offset_ms = now_ms - edge_us / 1000

    def speech_ended(self, ended: TurnEnded, now_ms: float) -> None:
        """A spoken turn was committed."""
        self._open(ended.packet_in_ms, TurnMeasured(end_reason=ended.reason, hold_ms=ended.hold_ms))
        self.mark("speech_end", ended.speech_end_ms)
        self.mark("endpoint", now_ms)

    def key_pressed(self, now_ms: float) -> None:
        """A key may complete a turn: the last one before the answer counts."""
        self._open(now_ms, TurnMeasured())

    def expects(self, response_onset_ms: int | None) -> None:
        """What the dialogue allows for the answer to what it asks now."""
        self._next_onset_limit_ms = response_onset_ms

    def mark(self, hop: str, now_ms: float) -> None:
        """A stage was reached."""
        if self._hops is not None:
            self._hops.mark(hop, now_ms)

    def speculated(self, outcome: str) -> None:
        """Whether the answer had been prepared: hit, miss or none."""
        self._measured = replace(self._measured, speculation=outcome)

    def stored(self, turn: StoreTurn) -> None:
        """What the turn came to, as it went into the durable record."""
        if turn.who == "caller":
            self._measured = replace(
                self._measured,
                turn=turn.turn,
                text=turn.text,
                intent=turn.intent,
                confidence=turn.confidence,
                by=turn.by,
                routed_by=turn.routed_by,
            )

    def speaks(self, utterance: str, now_ms: float) -> None:
        """The dialogue says something; the first utterance after the caller's input is the answer."""
        self.mark("route", now_ms)
        if self._hops is not None and self._answer is None:
            self._answer = utterance

    def rendered(self, utterance: str, now_ms: float) -> None:
        """Audio of an utterance is there."""
        if utterance == self._answer:
            self.mark("tts_first_audio", now_ms)

    def played(self, played: Played, *, since_ms: float) -> TurnMeasured | None:
        """The edge reports progress; gives the turn's account once, with times from ``since_ms`` on."""
        hops = self._hops
        if hops is None or played.utterance != self._answer or not played.edge_us:
            return None
        hops.mark("packet_out", played.edge_us / 1000 + self._edge_offset_ms - played.played_ms)
        self._hops = None
        onset_ms = hops.response_onset_ms
        stages_ms = hops.stages_ms()
        if "endpoint" in stages_ms and self._measured.end_reason == "complete":
            spent = {**stages_ms, "endpoint": stages_ms["endpoint"] + stages_ms.get("speech_end", 0.0)}
        else:  # an open answer has to be waited for
            spent = {stage: took for stage, took in stages_ms.items() if stage != "endpoint"}
        overspent = [s for s, limit in self._limits_ms.items() if spent.get(s, 0.0) > limit]
        limit_ms = self._onset_limit_ms
        if limit_ms is not None and onset_ms is not None and onset_ms > limit_ms:
            overspent.append("response_onset")
        return replace(
            self._measured,
            overspent=tuple(overspent),
            hops_ms={hop: round(at - since_ms, 1) for hop, at in hops.times_ms.items()},
            stages_ms=stages_ms,
            response_onset_ms=None if onset_ms is None else round(onset_ms, 1),
        )

    def _open(self, packet_in_ms: float, measured: TurnMeasured) -> None:
        self._hops = TurnHops()
        self._hops.mark("packet_in", packet_in_ms)
        self._measured = measured
        self._answer = None
        self._onset_limit_ms = self._next_onset_limit_ms
