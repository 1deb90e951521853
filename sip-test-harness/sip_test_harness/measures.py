"""What the call was like at the caller's side of the wire, computed from its logs."""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sip_test_harness.e_model import Quality, rate
from sip_test_harness.g711 import AUDIBLE_DBFS, SILENCE_BYTE
from sip_test_harness.rtp_statistics import (
    ReceivedPacket,
    Spread,
    StreamStatistics,
    extend,
    measure_stream,
    missing_runs,
    split_by_ssrc,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip_test_harness.caller import CallerOptions, InviteTimes
    from sip_test_harness.leg_options import LegEvent, Refer
    from sip_test_harness.media import MediaSession
    from sip_test_harness.outgoing_stream import Utterance
    from sip_test_harness.sip_message import SipResponse, SipUri

BOT_PAUSE_MS: Final = 300.0
"""The bot has stopped when nothing audible arrives for this long."""
YIELD_MS: Final = 1200.0
"""A bot that speaks on for longer has missed the barge-in."""
WIRE_GAP_MS: Final = 40.0
"""A time without packets longer than this, while the bot speaks, is heard as a gap."""
PLAYOUT_MS: Final = 60.0
"""The listening telephone of the quality estimate: packets later than this are lost to it."""
PACKET_AND_CODEC_MS: Final = 20.0
SENDER_LATE_P99_MS: Final = 5.0
"""A run is void when the harness' own packets left later than this."""


class MeasuredCall(Protocol):
    """What is read of a call to measure it: a ``Caller`` or an ``OfflineCaller``."""

    call_id: str
    caller_options: CallerOptions
    target: SipUri
    times: InviteTimes
    final_response: SipResponse | None
    media: MediaSession
    refers: list[Refer]
    info_digits: list[str]
    ended_ns: int | None
    ended_by: str
    end_reason: str
    log: list[LegEvent]


@dataclass(frozen=True)
class Gap:
    """A hole in the bot's speech: when (ms after the INVITE) and how long."""

    at_ms: float
    duration_ms: float


@dataclass(frozen=True)
class TurnMeasure:
    """One turn of the caller; times in ms after the INVITE.

    ``response_onset_ms``: last caller speech packet sent → first audible bot packet received (for
    keys: first packet of the last key). Negative: the bot answered before the caller had ended.
    ``barge_in_stop_ms``: first caller speech packet sent → last audible bot packet received, when
    the bot was speaking at that moment. ``bot_spoke_at_end``: the bot was still (or already)
    speaking when the caller ended; the onset is then that of its next words after a pause. A sound that
    is not ``meant`` for the bot (a cough, "mm-hmm") has neither.
    """

    label: str
    speech_start_ms: float | None
    speech_end_ms: float | None
    response_onset_ms: float | None
    barge_in_stop_ms: float | None
    bot_spoke_at_end: bool
    cut_off: bool = False
    yielded: bool | None = None
    meant: bool = True


@dataclass(frozen=True)
class CallMeasures:
    """Everything measured in one call; times in ms, after the INVITE where nothing else is said."""

    call_id: str
    target: str
    seed: int
    profile: str
    status: int
    reason: str
    invite_to_100_ms: float | None
    invite_to_180_ms: float | None
    invite_to_200_ms: float | None
    first_rtp_ms: float | None
    greeting_ms: float | None
    ended_ms: float | None
    ended_by: str
    end_reason: str
    turns: tuple[TurnMeasure, ...]
    bot_speech: tuple[tuple[float, float], ...]
    wire_gaps: tuple[Gap, ...]
    silent_gaps: tuple[Gap, ...]
    bot_streams: tuple[StreamStatistics, ...]
    heard_streams: tuple[StreamStatistics, ...]
    bot_keys: str
    info_keys: str
    refer_to: tuple[str, ...]
    not_rtp_packets: int
    foreign_packets: int
    sent_packets: int
    sender_lateness: Spread
    realtime_priority: bool
    quality_r: float | None
    quality_mos: float | None
    far_end_lost: int | None
    far_end_jitter_ms: float | None
    void: bool
    void_reason: str


def audible_arrivals(received: Sequence[ReceivedPacket]) -> list[int]:
    """Return the sorted arrivals (ns) of the blocks above -45 dBFS."""
    return sorted(
        item.arrival_ns
        for item in received
        if item.level_dbfs is not None and item.level_dbfs > AUDIBLE_DBFS
    )


def speech_segments(arrivals_ns: Sequence[int], pause_ms: float) -> list[tuple[int, int]]:
    """Join audible arrivals less than ``pause_ms`` apart into (first, last) pairs."""
    segments: list[tuple[int, int]] = []
    for arrival in arrivals_ns:
        if segments and arrival - segments[-1][1] < pause_ms * 1e6:
            segments[-1] = (segments[-1][0], arrival)
        else:
            segments.append((arrival, arrival))
    return segments


def response_onset(
    arrivals_ns: Sequence[int],
    speech_end_ns: int,
    until_ns: int | None = None,
    *,
    speech_start_ns: int | None = None,
) -> tuple[float | None, bool]:
    """Measure the onset after the caller's last speech packet.

    Args:
        arrivals_ns: sorted arrivals of audible bot packets.
        speech_end_ns: when the caller's last speech packet was sent.
        until_ns: the caller's next words; a response after them belongs to the next turn.
        speech_start_ns: when the caller began; a bot that was silent then and speaks at the end
            has answered early, which is a negative onset.

    Returns:
        The onset in ms (None: no response), and whether the bot was speaking at the end.
    """
    after = bisect.bisect_right(arrivals_ns, speech_end_ns)
    pause_ns = BOT_PAUSE_MS * 1e6
    speaking = after > 0 and speech_end_ns - arrivals_ns[after - 1] < pause_ns
    if speaking and speech_start_ns is not None:
        before = bisect.bisect_right(arrivals_ns, speech_start_ns)
        silent = before == 0 or speech_start_ns - arrivals_ns[before - 1] >= pause_ns
        if silent and before < after:
            return round((arrivals_ns[before] - speech_end_ns) / 1e6, 3), True
    previous = arrivals_ns[after - 1] if speaking else None
    for arrival in arrivals_ns[after:]:
        if until_ns is not None and arrival >= until_ns:
            break
        if previous is None or arrival - previous >= pause_ns:
            return round((arrival - speech_end_ns) / 1e6, 3), speaking
        previous = arrival
    return None, speaking


def barge_in_stop(arrivals_ns: Sequence[int], speech_start_ns: int) -> float | None:
    """Return first caller speech packet → last audible bot packet in ms; None: bot was silent."""
    after = bisect.bisect_right(arrivals_ns, speech_start_ns)
    pause_ns = BOT_PAUSE_MS * 1e6
    if after == 0 or speech_start_ns - arrivals_ns[after - 1] >= pause_ns:
        return None
    last = arrivals_ns[after - 1]
    for arrival in arrivals_ns[after:]:
        if arrival - last >= pause_ns:
            break
        last = arrival
    return max(0.0, round((last - speech_start_ns) / 1e6, 3))


def wire_gaps(received: Sequence[ReceivedPacket], origin_ns: int) -> list[Gap]:
    """Return times without any packet above 40 ms between two audible packets."""
    gaps: list[Gap] = []
    for before, after in itertools.pairwise(received):
        gap_ms = (after.arrival_ns - before.arrival_ns) / 1e6
        if gap_ms > WIRE_GAP_MS and _audible(before) and _audible(after):
            gaps.append(Gap(round((before.arrival_ns - origin_ns) / 1e6, 3), round(gap_ms, 3)))
    return gaps


def silent_gaps(received: Sequence[ReceivedPacket], origin_ns: int) -> list[Gap]:
    """Return inaudible times of 40 to 300 ms inside the bot's speech.

    Words have pauses of their own; a prompt of continuous sound must have none.
    """
    arrivals = audible_arrivals(received)
    return [
        Gap(round((before - origin_ns) / 1e6, 3), round((after - before) / 1e6, 3))
        for before, after in itertools.pairwise(arrivals)
        if WIRE_GAP_MS * 1e6 < after - before < BOT_PAUSE_MS * 1e6
    ]


def _audible(item: ReceivedPacket) -> bool:
    return item.level_dbfs is not None and item.level_dbfs > AUDIBLE_DBFS


def measure_turns(
    utterances: Sequence[Utterance], arrivals_ns: Sequence[int], origin_ns: int
) -> list[TurnMeasure]:
    """Measure every utterance that had speech."""
    spoken = [said for said in utterances if said.last_speech_ns is not None]
    turns: list[TurnMeasure] = []
    for index, said in enumerate(spoken):
        start_ns, end_ns = said.first_speech_ns, said.last_speech_ns
        assert start_ns is not None
        assert end_ns is not None
        following = spoken[index + 1].first_speech_ns if index + 1 < len(spoken) else None
        onset_ms, speaking = response_onset(arrivals_ns, end_ns, following, speech_start_ns=start_ns)
        stop_ms = barge_in_stop(arrivals_ns, start_ns)
        if not said.meant:
            onset_ms = stop_ms = None
        turns.append(
            TurnMeasure(
                label=said.label,
                speech_start_ms=_after(origin_ns, start_ns),
                speech_end_ms=_after(origin_ns, end_ns),
                response_onset_ms=onset_ms,
                barge_in_stop_ms=stop_ms,
                bot_spoke_at_end=speaking,
                cut_off=said.words and onset_ms is not None and onset_ms < 0,
                yielded=None if stop_ms is None else stop_ms <= YIELD_MS,
                meant=said.meant,
            )
        )
    return turns


def _after(origin_ns: int, time_ns: int | None) -> float | None:
    return None if time_ns is None else round((time_ns - origin_ns) / 1e6, 3)


def _streams(received: Sequence[ReceivedPacket]) -> tuple[StreamStatistics, ...]:
    ordered = sorted(received, key=lambda item: item.arrival_ns)
    return tuple(measure_stream(items) for items in split_by_ssrc(ordered).values())


def listening_quality(received: Sequence[ReceivedPacket], path_delay_ms: float = 0.0) -> Quality | None:
    """Estimate what the caller hears of the bot (E-model, G.711 with concealment).

    The listener's playout delay is fixed: a packet more than 60 ms behind the quickest one comes
    too late and counts as lost.

    Args:
        received: one SSRC's packets in the order of arrival.
        path_delay_ms: mean one-way delay of the path, where known.

    Returns:
        The estimate, None for fewer than 10 packets.
    """
    if len(received) < 10:
        return None
    sequence = extend([item.packet.sequence_number for item in received], 16)
    timestamps = extend([item.packet.timestamp for item in received], 32)
    transit_ms = [
        item.arrival_ns / 1e6 - stamp / 8 for item, stamp in zip(received, timestamps, strict=True)
    ]
    limit_ms = min(transit_ms) + PLAYOUT_MS
    in_time = {
        number
        for number, transit, item in zip(sequence, transit_ms, received, strict=True)
        if transit <= limit_ms or item.packet.payload_type not in SILENCE_BYTE  # keys are never late
    }
    bursts = missing_runs(in_time | {min(sequence) - 1, max(sequence) + 1})
    expected = max(sequence) - min(sequence) + 1
    return rate(
        delay_ms=path_delay_ms + PLAYOUT_MS + PACKET_AND_CODEC_MS,
        loss_percent=100 * sum(bursts) / expected,
        mean_burst_packets=sum(bursts) / len(bursts) if bursts else 1.0,
    )


def path_delay_ms(call: MeasuredCall) -> float:
    """Return the mean delay that the harness itself added on the way to the caller."""
    media = call.media
    delays = [(item.arrival_ns - first) / 1e6 for item, first in media.delayed]
    return sum(delays) / len(delays) if delays else 0.0


def measure_call(call: MeasuredCall) -> CallMeasures:
    """Measure a call from its logs."""
    media = call.media
    origin_ns = call.times.sent_ns
    heard = sorted(media.heard, key=lambda item: item.arrival_ns)
    arrivals = audible_arrivals(heard)
    lateness = Spread.of(list(media.lateness_ms))
    late = lateness.p99_ms > SENDER_LATE_P99_MS
    reports = [
        block
        for block in media.report_blocks
        if media.stream is not None and block.ssrc == media.stream.ssrc
    ]
    longest = max(split_by_ssrc(heard).values(), key=len, default=[])
    quality = listening_quality(longest, path_delay_ms(call))
    final = call.final_response
    gaps = [gap for items in split_by_ssrc(heard).values() for gap in wire_gaps(items, origin_ns)]
    return CallMeasures(
        call_id=call.call_id,
        target=str(call.target),
        seed=call.caller_options.seed,
        profile=call.caller_options.profile,
        status=final.status if final else 0,
        reason=final.reason if final else call.end_reason,
        invite_to_100_ms=_after(origin_ns, call.times.trying_ns),
        invite_to_180_ms=_after(origin_ns, call.times.ringing_ns),
        invite_to_200_ms=_after(origin_ns, call.times.final_ns),
        first_rtp_ms=_after(origin_ns, heard[0].arrival_ns if heard else None),
        greeting_ms=_after(origin_ns, arrivals[0] if arrivals else None),
        ended_ms=_after(origin_ns, call.ended_ns),
        ended_by=call.ended_by,
        end_reason=call.end_reason,
        turns=tuple(measure_turns(media.utterances, arrivals, origin_ns)),
        bot_speech=tuple(
            ((first - origin_ns) / 1e6, (last - origin_ns) / 1e6)
            for first, last in speech_segments(arrivals, BOT_PAUSE_MS)
        ),
        wire_gaps=tuple(gaps),
        silent_gaps=tuple(silent_gaps(heard, origin_ns)),
        bot_streams=_streams(media.received),
        heard_streams=_streams(media.heard),
        bot_keys="".join(press.digit for press in media.events.digits),
        info_keys="".join(call.info_digits),
        refer_to=tuple(refer.refer_to for refer in call.refers),
        not_rtp_packets=media.not_rtp,
        foreign_packets=media.foreign,
        sent_packets=len(media.sent),
        sender_lateness=lateness,
        realtime_priority=media.realtime_priority,
        quality_r=quality.r if quality else None,
        quality_mos=quality.mos if quality else None,
        far_end_lost=reports[-1].cumulative_lost if reports else None,
        far_end_jitter_ms=round(reports[-1].jitter_samples / 8, 3) if reports else None,
        void=late,
        void_reason=(
            f"the harness sent late: p99 {lateness.p99_ms} ms > {SENDER_LATE_P99_MS} ms" if late else ""
        ),
    )
