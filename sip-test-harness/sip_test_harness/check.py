"""Assertions on a finished call: signalling, media, quality, and what the bot recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sip_test_harness.g711 import PCMA, PCMU

if TYPE_CHECKING:
    from sip_test_harness.call_record import CallRecord
    from sip_test_harness.measures import CallMeasures
    from sip_test_harness.sip_message import SipResponse


@dataclass(frozen=True)
class Expectations:
    """What a scenario demands; None and empty demand nothing.

    Args:
        status: final status of the INVITE.
        answer_within_ms: INVITE to 200.
        greeting_within_ms: INVITE to first audible packet.
        headers: regular expression for each header of the final answer.
        codec: pcmu or pcma, what the bot sent.
        loss_percent_max: of the bot's RTP as it arrived.
        jitter_ms_max: mean RFC 3550 jitter of the bot's RTP as it arrived.
        mos_min: estimate of G.107 for what the caller heard.
        wire_gaps_max: times of more than 40 ms without a packet in the bot's speech.
        silent_gap_ms_max: longest silence of 40-300 ms in the bot's speech.
        pacing_p999_ms_max: 99.9th percentile of the bot's packet spacing.
        contiguous: no loss and no timestamp break in the bot's RTP as it arrived.
        onset_p50_ms_max: over the call's turns; a turn without answer fails.
        onset_p95_ms_max: likewise.
        barge_in_stop_ms_max: the longest of the call.
        cut_offs_max: turns of words into which the bot spoke.
        ended_by: bot or harness.
        transfer_to: regular expression for a Refer-To.
        keys: regular expression for the keys the bot pressed.
        text: regular expressions that the bot's transcript must hold, in any case.
        not_text: and those it must not.
        intents: what the bot must have taken the caller to want, in this order; more may lie between.
        record: regular expression for each dotted field of the bot's call record
            (``outcome: completed``, ``slots.account: "1234"``).
    """

    status: int | None = None
    answer_within_ms: float | None = None
    greeting_within_ms: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    codec: str | None = None
    loss_percent_max: float | None = None
    jitter_ms_max: float | None = None
    mos_min: float | None = None
    wire_gaps_max: int | None = None
    silent_gap_ms_max: float | None = None
    pacing_p999_ms_max: float | None = None
    contiguous: bool | None = None
    onset_p50_ms_max: float | None = None
    onset_p95_ms_max: float | None = None
    barge_in_stop_ms_max: float | None = None
    cut_offs_max: int | None = None
    ended_by: str | None = None
    transfer_to: str | None = None
    keys: str | None = None
    text: tuple[str, ...] = ()
    not_text: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    record: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_record(self) -> bool:
        """Whether the bot's call record is asked for."""
        return bool(self.text or self.not_text or self.intents or self.record)

    @property
    def timed(self) -> bool:
        """Whether a void run can prove none of it."""
        return any(
            limit is not None
            for limit in (
                self.greeting_within_ms,
                self.onset_p50_ms_max,
                self.onset_p95_ms_max,
                self.barge_in_stop_ms_max,
            )
        )


_NUMBER: Final = (int, float)
EXPECTATION_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "status": (int,),
    "answer_within_ms": _NUMBER,
    "greeting_within_ms": _NUMBER,
    "headers": (dict,),
    "codec": (str,),
    "loss_percent_max": _NUMBER,
    "jitter_ms_max": _NUMBER,
    "mos_min": _NUMBER,
    "wire_gaps_max": (int,),
    "silent_gap_ms_max": _NUMBER,
    "pacing_p999_ms_max": _NUMBER,
    "contiguous": (bool,),
    "onset_p50_ms_max": _NUMBER,
    "onset_p95_ms_max": _NUMBER,
    "barge_in_stop_ms_max": _NUMBER,
    "cut_offs_max": (int,),
    "ended_by": (str,),
    "transfer_to": (str,),
    "keys": (str,),
    "text": (list,),
    "not_text": (list,),
    "intents": (list,),
    "record": (dict,),
}


def unmet(
    expect: Expectations,
    measures: CallMeasures,
    final: SipResponse | None,
    record: CallRecord | None,
) -> list[str]:
    """Return a sentence for each expectation that the call did not meet."""
    return [
        *_signalling(expect, measures, final),
        *_media(expect, measures),
        *_turns(expect, measures),
        *_recorded(expect, record),
    ]


def _above(name: str, value: float | None, limit: float | None, unit: str = "ms") -> list[str]:
    if limit is None or (value is not None and value <= limit):
        return []
    said = "nothing measured" if value is None else f"{value:g} {unit}".strip()
    return [f"expect.{name}: {said}, at most {limit:g} allowed"]


def _signalling(expect: Expectations, measures: CallMeasures, final: SipResponse | None) -> list[str]:
    out: list[str] = []
    if expect.status is not None and measures.status != expect.status:
        out.append(f"expect.status: {measures.status} {measures.reason}, not {expect.status}")
    out += _above("answer_within_ms", measures.invite_to_200_ms, expect.answer_within_ms)
    out += _above("greeting_within_ms", measures.greeting_ms, expect.greeting_within_ms)
    for name, pattern in expect.headers.items():
        value = final.get(name) if final else ""
        if not re.search(pattern, value):
            out.append(f"expect.headers.{name}: {value!r} does not match {pattern!r}")
    if expect.ended_by is not None and measures.ended_by != expect.ended_by:
        out.append(
            f"expect.ended_by: {measures.ended_by} ({measures.end_reason}), not {expect.ended_by}"
        )
    if expect.transfer_to is not None and not any(
        re.search(expect.transfer_to, target) for target in measures.refer_to
    ):
        out.append(f"expect.transfer_to: {list(measures.refer_to)} hold no {expect.transfer_to!r}")
    if expect.keys is not None and not re.fullmatch(expect.keys, measures.bot_keys):
        out.append(f"expect.keys: {measures.bot_keys!r} does not match {expect.keys!r}")
    return out


def _media(expect: Expectations, measures: CallMeasures) -> list[str]:
    out: list[str] = []
    streams = measures.bot_streams
    if expect.codec is not None:
        wanted = {"pcmu": PCMU, "pcma": PCMA}[expect.codec]
        if not streams or any(wanted not in stream.payload_types for stream in streams):
            seen = [stream.payload_types for stream in streams]
            out.append(f"expect.codec: payload types {seen}, not {wanted}")
    worst_loss = max((stream.loss_percent for stream in streams), default=None)
    worst_jitter = max((stream.jitter_mean_ms for stream in streams), default=None)
    worst_pacing = max((stream.gap.p999_ms for stream in streams), default=None)
    out += _above("loss_percent_max", worst_loss, expect.loss_percent_max, "%")
    out += _above("jitter_ms_max", worst_jitter, expect.jitter_ms_max)
    out += _above("pacing_p999_ms_max", worst_pacing, expect.pacing_p999_ms_max)
    out += _above("wire_gaps_max", len(measures.wire_gaps), expect.wire_gaps_max, "gaps")
    silent = max((gap.duration_ms for gap in measures.silent_gaps), default=0.0)
    out += _above("silent_gap_ms_max", silent, expect.silent_gap_ms_max)
    if expect.mos_min is not None and (measures.quality_mos or 0.0) < expect.mos_min:
        out.append(f"expect.mos_min: {measures.quality_mos}, at least {expect.mos_min:g} wanted")
    if expect.contiguous and (not streams or not all(stream.contiguous for stream in streams)):
        lost = sum(stream.lost for stream in streams)
        breaks = sum(stream.timestamp_breaks for stream in streams)
        out.append(f"expect.contiguous: {lost} packets missing, {breaks} timestamp breaks")
    return out


def _turns(expect: Expectations, measures: CallMeasures) -> list[str]:
    out: list[str] = []
    onsets = [turn.response_onset_ms for turn in measures.turns]
    for name, share, limit in (
        ("onset_p50_ms_max", 50, expect.onset_p50_ms_max),
        ("onset_p95_ms_max", 95, expect.onset_p95_ms_max),
    ):
        if limit is None:
            continue
        answered = [onset for onset in onsets if onset is not None]
        if len(answered) < len(onsets) or not answered:
            missing = [turn.label for turn in measures.turns if turn.response_onset_ms is None]
            out.append(f"expect.{name}: no answer to {missing or 'anything'}")
        else:
            value = round(float(np.percentile(answered, share)), 1)
            out += _above(name, value, limit)
    stops = [turn.barge_in_stop_ms or 0.0 for turn in measures.turns]
    out += _above("barge_in_stop_ms_max", max(stops, default=0.0), expect.barge_in_stop_ms_max)
    cut_offs = sum(turn.cut_off for turn in measures.turns)
    out += _above("cut_offs_max", cut_offs, expect.cut_offs_max, "turns")
    if expect.timed and measures.void:
        out.append(f"void: {measures.void_reason}")
    return out


def _recorded(expect: Expectations, record: CallRecord | None) -> list[str]:
    if not expect.needs_record:
        return []
    if record is None:
        return ["expect: the bot's record of the call was not found (--record-dir)"]
    said = "\n".join(text for who, text in record.transcript if who != "caller")
    out = [
        f"expect.text: the bot did not say {pattern!r}"
        for pattern in expect.text
        if not re.search(pattern, said, re.IGNORECASE)
    ]
    out += [
        f"expect.not_text: the bot said {pattern!r}"
        for pattern in expect.not_text
        if re.search(pattern, said, re.IGNORECASE)
    ]
    lines = record.fields.get("transcript") or []
    understood = [str(line["intent"]) for line in lines if isinstance(line, dict) and line.get("intent")]
    rest = iter(understood)
    if not all(intent in rest for intent in expect.intents):
        out.append(f"expect.intents: {understood} do not hold {list(expect.intents)} in this order")
    for path, pattern in expect.record.items():
        value: Any = record.fields
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not re.search(pattern, "" if value is None else str(value)):
            out.append(f"expect.record.{path}: {value!r} does not match {pattern!r}")
    return out
