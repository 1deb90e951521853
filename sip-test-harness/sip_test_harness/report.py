"""The report of a call: files in a folder, and a table for people."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from sip_test_harness.pcap_file import write_pcap
from sip_test_harness.wav_file import SAMPLE_RATE_HZ, place_received, place_sent, write_wav

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sip_test_harness.call_record import CallRecord
    from sip_test_harness.compare import Comparison
    from sip_test_harness.load import LoadResult
    from sip_test_harness.measures import CallMeasures
    from sip_test_harness.script_runner import CallRun

FORMAT: Final = 1
"""Version of report.json."""
_MAX_RECORDING_S: Final = 3600


def report_of(run: CallRun, record: CallRecord | None = None) -> dict[str, Any]:
    """Return the content of report.json."""
    script = run.script
    turns = [
        {key: value for key, value in asdict(turn).items() if value is not None} for turn in script.turns
    ]
    return {
        "format": FORMAT,
        "passed": not run.failures,
        "failures": run.failures,
        "void": run.measures.void,
        "measures": asdict(run.measures),
        "script": {
            "file": script.file,
            "silence_ms": script.silence_ms,
            "limit_s": script.limit_s,
            "late_offer": script.late_offer,
            "turns": turns,
            "turns_done": run.turns_done,
        },
        "events": [
            {
                "at_ms": round((event.time_ns - run.call.times.sent_ns) / 1e6, 3),
                "kind": event.kind,
                "text": event.text,
            }
            for event in run.call.log
        ],
        "record": asdict(record) if record else None,
    }


def write_recording(path: Path, run: CallRun) -> None:
    """Write the stereo WAV: caller left, bot right, sample 0 at the INVITE."""
    media, origin_ns = run.call.media, run.call.times.sent_ns
    ends = [item.arrival_ns for item in media.heard] + [due for due, _, _ in media.spoken]
    length_s = min(_MAX_RECORDING_S, (max(ends, default=origin_ns) - origin_ns) / 1e9 + 0.1)
    samples = int(length_s * SAMPLE_RATE_HZ)
    heard = sorted(media.heard, key=lambda item: item.arrival_ns)
    write_wav(
        path,
        place_sent(media.spoken, origin_ns, samples),
        place_received(heard, origin_ns, samples),
    )


def write_report(folder: str | Path, run: CallRun, record: CallRecord | None = None) -> Path:
    """Write report.json, call.wav and call.pcap; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_recording(folder / "call.wav", run)
    write_pcap(folder / "call.pcap", run.capture.datagrams)
    text = json.dumps(report_of(run, record), indent=2, ensure_ascii=True, default=str)
    (folder / "report.json").write_text(text + "\n")
    return folder


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"


def call_table(measures: CallMeasures) -> Table:
    """Return the table of the whole call."""
    table = Table(title="Call", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    rows = [
        ("answer", f"{measures.status} {measures.reason}"),
        ("INVITE to final answer", _ms(measures.invite_to_200_ms)),
        ("INVITE to first RTP", _ms(measures.first_rtp_ms)),
        ("INVITE to greeting audio", _ms(measures.greeting_ms)),
        ("ended", f"{_ms(measures.ended_ms)} by {measures.ended_by}: {measures.end_reason}"),
        (
            "gaps in the bot's speech",
            (
                f"{len(measures.wire_gaps)} without packets, {len(measures.silent_gaps)} silent "
                f"(longest {max([g.duration_ms for g in measures.silent_gaps], default=0):.0f} ms)"
            ),
        ),
    ]
    for stream in measures.bot_streams:
        gap = stream.gap
        rows.append(
            (
                f"bot RTP {stream.ssrc:08x}",
                (
                    f"{stream.packets} packets, {stream.lost} lost, {stream.duplicates} duplicate, "
                    f"{stream.reordered} reordered, jitter {stream.jitter_ms:.2f} ms, "
                    f"{stream.timestamp_breaks} timestamp breaks"
                ),
            )
        )
        rows.append(
            (
                "bot pacing",
                (
                    f"p50 {gap.p50_ms:.2f}, p99 {gap.p99_ms:.2f}, p99.9 {gap.p999_ms:.2f}, "
                    f"max {gap.max_ms:.2f} ms"
                ),
            )
        )
    if measures.quality_mos is not None:
        rows.append(
            ("heard quality (G.107)", f"MOS {measures.quality_mos:.2f}, R {measures.quality_r:.1f}")
        )
    late = measures.sender_lateness
    rows.append(
        (
            "own sender",
            (
                f"{measures.sent_packets} packets, late p99 {late.p99_ms:.2f}, max {late.max_ms:.2f} ms"
                f"{' (real-time)' if measures.realtime_priority else ''}"
            ),
        )
    )
    if measures.bot_keys or measures.info_keys:
        rows.append(("keys from the bot", f"{measures.bot_keys} {measures.info_keys}".strip()))
    rows += [("transfer asked to", refer) for refer in measures.refer_to]
    rows.append(("Call-ID", measures.call_id))
    rows.append(("seed, profile", f"{measures.seed}, {measures.profile}"))
    for name, value in rows:
        table.add_row(name, Text(value))
    return table


def turn_table(measures: CallMeasures) -> Table:
    """Return the table of the turns."""
    table = Table(title="Turns", title_justify="left")
    table.add_column("turn")
    for name in ("from", "to", "response onset", "barge-in stop"):
        table.add_column(name, justify="right")
    for turn in measures.turns:
        onset = _ms(turn.response_onset_ms) + (" *" if turn.bot_spoke_at_end else "")
        onset += " cut off" if turn.cut_off else ""
        table.add_row(
            Text(turn.label),
            _ms(turn.speech_start_ms),
            _ms(turn.speech_end_ms),
            onset,
            _ms(turn.barge_in_stop_ms),
        )
    if any(turn.bot_spoke_at_end for turn in measures.turns):
        table.caption = "* the bot was speaking when the caller ended"
    return table


def load_table(result: LoadResult) -> Table:
    """Return the table of a load run."""
    table = Table(title="Load", title_justify="left")
    for name in ("what", "count", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, spread in (
        ("INVITE to 200, ms", result.invite_to_200),
        ("greeting, ms", result.greeting),
        ("response onset, ms", result.response_onset),
        ("bot packet spacing, ms", result.bot_gap),
        ("own lateness, ms", result.sender_lateness),
    ):
        values = (spread.p50_ms, spread.p95_ms, spread.p99_ms, spread.max_ms)
        table.add_row(name, str(spread.count), *(f"{value:.1f}" for value in values))
    lines = [
        (
            f"{result.calls} calls in {result.duration_s:.1f} s, {result.passed} passed, "
            f"{result.most_at_once} at once at most, {result.held_back} starts held back"
        ),
        (
            f"{result.lost_packets} bot packets missing, {result.timestamp_breaks} timestamp breaks, "
            f"worst MOS {result.quality_mos_min}"
        ),
        f"profile {result.profile}, seeds from {result.seed}",
        *(f"{count} x {failure}" for failure, count in Counter(result.failures).most_common(5)),
    ]
    table.caption = Text("\n".join(lines))
    return table


def comparison_table(summary: Mapping[str, Any], comparison: Comparison | None) -> Table:
    """Return the figures of a run, beside its baseline's where there is one."""
    table = Table(title="Replay", title_justify="left")
    table.add_column("figure")
    if comparison is None:
        table.add_column("value", justify="right")
        for name, value in summary.items():
            table.add_row(name, "-" if value is None else f"{value:g}")
        return table
    for title in ("baseline", "this run"):
        table.add_column(title, justify="right")
    for name, before, after in comparison.figures:
        table.add_row(name, *("-" if value is None else f"{value:g}" for value in (before, after)))
    for name, *costs in comparison.stages:
        table.add_row(f"stage {name}, ms", *("-" if cost is None else f"{cost:g}" for cost in costs))
    table.caption = (
        f"{len(comparison.changes)} calls changed; {comparison.only_baseline} only in the "
        f"baseline, {comparison.only_new} only in this run"
    )
    return table
