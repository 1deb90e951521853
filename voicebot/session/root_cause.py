"""Why a call was slow or went wrong, told from its record: stages over budget, line, end. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec

from voicebot.session.call_detail_record import CallDetailRecord

LOSS_RATIO: Final = 0.03
JITTER_MS: Final = 40.0
CONCEALED_RATIO: Final = 0.05
SLOW_RING_MS: Final = 1000
MIN_PACKETS: Final = 50
TICK_MS: Final = 20.0
"""Turns are timed in packets of 20 ms: less above a budget than one of them explains nothing."""

ADVICE: Final[Mapping[str, str]] = {
    "endpoint": "its end was waited for: tell the dialplan what to expect, or shorten turn.hold_*",
    "asr_final": "the recogniser was late: CPU, asr.threads, or a smaller grammar",
    "route": "the language model or a tool was late: llm.endpoint, the tool, or a rule instead",
    "tts_first_audio": "the voice was late: CPU, tts.cache_bytes, or a fixed prompt",
    "packet_out": "the answer waited between worker and edge: CPU of the edge, or the link",
}
_NORMAL_ENDS: Final = frozenset({"completed", "caller", "transferred", ""})
_BROKEN_ENDS: Final[Mapping[str, str]] = {
    "no worker": "no worker was there: see child_died in the log, and link.standby_workers",
    "not answered in time": "the worker did not answer: CPU, or a dialplan that does not start",
    "no media": "no RTP came: NAT or firewall, sip.advertised_host, rtp.port_min to port_max",
    "call too long": "sip.max_call_s was reached",
    "internal error": "a fault of ours: call_failed in the log, with the traceback",
    "worker stopped": "the worker was stopped in mid-call and nobody took over",
    "edge died": "the edge process died: child_died in the log; its other calls were lost too",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cause. ``weight_ms`` orders them: time lost, or what the fault is worth beside it."""

    what: str
    detail: str
    advice: str = ""
    stage: str = ""
    weight_ms: float = 0.0


def root_causes(record: CallDetailRecord, limits_ms: Mapping[str, float]) -> list[Finding]:
    """What explains the call best, first; empty when nothing is out of the ordinary.

    Args:
        record: The call.
        limits_ms: Budget of each stage, by the hop that ends it.
    """
    found = [*_stages(record, limits_ms), *_line(record), *_end(record)]
    return sorted(found, key=lambda finding: -finding.weight_ms)


def _stages(record: CallDetailRecord, limits_ms: Mapping[str, float]) -> list[Finding]:
    over: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, line in enumerate(record.transcript):
        for stage in line.overspent:
            took_ms = line.stages_ms.get(stage, 0.0)
            if stage == "endpoint":  # its budget runs from the last speech packet
                took_ms += line.stages_ms.get("speech_end", 0.0)
            excess_ms = max(0.0, took_ms - limits_ms.get(stage, 0.0))
            if excess_ms >= TICK_MS:
                over[stage].append((number, excess_ms))
    findings = []
    for stage, turns in over.items():
        worst, most_ms = max(turns, key=lambda turn: turn[1])
        total_ms = sum(excess for _, excess in turns)
        findings.append(
            Finding(
                what=f"stage {stage} overspent",
                detail=f"{len(turns)} of {sum(1 for t in record.transcript if t.stages_ms)} turns, "
                f"{total_ms:.0f} ms in all above {limits_ms.get(stage, 0):.0f} ms; "
                f"worst line {worst + 1} by {most_ms:.0f} ms",
                advice=ADVICE.get(stage, ""),
                stage=stage,
                weight_ms=total_ms,
            )
        )
    return findings


def _line(record: CallDetailRecord) -> list[Finding]:
    line = record.line
    findings = []
    received, lost = line.get("received_packets", 0), line.get("lost_packets", 0)
    if line and not received and record.talk_ms > 2000:
        findings.append(
            Finding(
                what="one-way audio",
                detail="not one RTP packet came from the caller",
                advice=_BROKEN_ENDS["no media"],
                weight_ms=1e6,
            )
        )
    if received + lost >= MIN_PACKETS and lost / (received + lost) > LOSS_RATIO:
        ratio = lost / (received + lost)
        findings.append(
            Finding(
                what="packets lost",
                detail=f"{ratio:.1%} of the caller's packets",
                advice="the network between trunk and bot",
                weight_ms=ratio * 20_000,
            )
        )
    if line.get("jitter_ms", 0) > JITTER_MS:
        findings.append(
            Finding(
                what="jitter",
                detail=f"{line['jitter_ms']:.0f} ms between arrivals",
                advice="the network between trunk and bot; rtp.jitter_max_ms bounds the delay it costs",
                weight_ms=line["jitter_ms"] * 5,
            )
        )
    if record.talk_ms and line.get("concealed_ms", 0) / record.talk_ms > CONCEALED_RATIO:
        findings.append(
            Finding(
                what="guessed audio",
                detail=f"{line['concealed_ms'] / 1000:.1f} s of the caller were concealed",
                advice="the recogniser heard guesses there",
                weight_ms=line["concealed_ms"] / 10,
            )
        )
    return findings


def _end(record: CallDetailRecord) -> list[Finding]:
    findings = []
    if record.reason in _BROKEN_ENDS:
        findings.append(
            Finding(
                what=f"ended: {record.reason}",
                detail=f"by the {record.ended_by}",
                advice=_BROKEN_ENDS[record.reason],
                weight_ms=1e5,
            )
        )
    elif record.ended_by == "caller" and record.reason not in _NORMAL_ENDS:
        step = next((t.step for t in reversed(record.transcript) if t.step), "")
        if step:
            findings.append(
                Finding(
                    what="the caller hung up",
                    detail=f"at step {step}",
                    advice="compare with voicebot_drop_offs_total: do many leave there?",
                    weight_ms=1,
                )
            )
    if record.workers > 1:
        findings.append(
            Finding(
                what="worker lost",
                detail=f"{record.workers} workers served this call",
                advice="child_died in the log says why",
                weight_ms=500,
            )
        )
    if record.recording_partial:
        findings.append(
            Finding(
                what="recording has holes",
                detail=record.recording,
                advice="disk full or too slow; the JSON file beside it names the problem",
                weight_ms=50,
            )
        )
    if record.ring_ms > SLOW_RING_MS:
        findings.append(
            Finding(
                what="answered late",
                detail=f"{record.ring_ms} ms from INVITE to 200",
                advice="the worker was busy or had to be found",
                weight_ms=record.ring_ms,
            )
        )
    return findings
