"""Calls in the terminal: list, transcript, waterfall of each turn, SIP ladder.

Text of peers is printed as text, never as markup, with everything that does not print replaced.
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voicebot.core.hops import HOPS
from voicebot.session.call_detail_record import CallDetailRecord, TranscriptLine
from voicebot.session.root_cause import Finding

BAR_CHARACTERS: Final = 48
LADDER_CHARACTERS: Final = 34
_COLOURS: Final = ("cyan", "blue", "magenta", "yellow", "green", "red", "white")
CSV_FIELDS: Final = (
    *("call_id", "session_id", "sip_call_id", "caller", "caller_name", "called", "dialplan"),
    *("started_at", "answered_at", "ended_at", "ring_ms", "talk_ms", "ended_by", "reason", "sip_code"),
    *("turns", "workers", "recording", "recording_partial"),
)
CSV_LINE: Final = ("received_packets", "lost_packets", "jitter_ms", "concealed_ms", "foreign_packets")


def plain(text: str) -> Text:
    """Text of a peer as it may be shown."""
    return Text("".join(c if c.isprintable() else "?" for c in text))


def call_table(records: Iterable[CallDetailRecord]) -> Table:
    """One line per call."""
    table = Table(box=None, pad_edge=False)
    for heading in ("call", "started", "from", "to", "talk", "turns", "onset p50", "ended"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("call", "started"))
    for r in records:
        onset = r.latency.get("response_onset")
        table.add_row(
            plain(r.call_id),
            plain(r.started_at[:19]),
            plain(r.caller),
            plain(r.called),
            f"{r.talk_ms / 1000:.1f} s",
            str(r.turns),
            f"{onset.p50_ms:.0f} ms" if onset else "",
            plain(f"{r.reason} ({r.ended_by})"),
        )
    return table


def call_page(r: CallDetailRecord) -> Group:
    """One call: who, when, line, what was said."""
    facts = Table.grid(padding=(0, 2))
    line = r.line
    rows = {
        "call": f"{r.call_id}   session {r.session_id}   SIP {r.sip_call_id}",
        "from, to": f"{r.caller_name} {r.caller} -> {r.called}   dialplan {r.dialplan}",
        "time": f"{r.started_at} to {r.ended_at}, {r.talk_ms / 1000:.1f} s; answered in {r.ring_ms} ms",
        "ended": f"{r.reason}, by {r.ended_by}, SIP {r.sip_code or '-'}; workers: {r.workers}",
        "recording": (r.recording or "none") + (" (with holes)" if r.recording_partial else ""),
    }
    if line:
        rows["line"] = (
            f"{line.get('received_packets', 0):.0f} packets, {line.get('lost_packets', 0):.0f} lost, "
            f"jitter {line.get('jitter_ms', 0):.1f} ms, concealed {line.get('concealed_ms', 0):.0f} ms, "
            f"{line.get('foreign_packets', 0):.0f} from strangers"
        )
    for name, value in rows.items():
        facts.add_row(Text(name, style="bold"), plain(value))
    said = Table.grid(padding=(0, 2))
    for t in r.transcript:
        heard = "" if t.played_ms is None else f" [{t.played_ms} ms heard]"
        onset = "" if t.response_onset_ms is None else f"{t.response_onset_ms:.0f} ms"
        style = "bold" if t.who == "caller" else ""
        said.add_row(
            f"{t.at_ms / 1000:.1f} s", Text(t.who, style=style), Text.assemble(plain(t.text), heard),
            plain(" ".join(filter(None, (t.intent, t.step)))), onset,
        )  # fmt: skip
    return Group(facts, Text(), said)


def waterfall(r: CallDetailRecord) -> Group:
    """The stages of each answered turn, side by side on one scale."""
    turns = [(number, t) for number, t in enumerate(r.transcript, 1) if t.stages_ms]
    longest_ms = max((sum(t.stages_ms.values()) for _, t in turns), default=0.0) or 1.0
    stages = [hop for hop in HOPS if any(hop in t.stages_ms for _, t in turns)]
    legend = Text("  ").join(
        Text(f"█ {stage}", style=_COLOURS[n % len(_COLOURS)]) for n, stage in enumerate(stages)
    )
    parts: list[RenderableType] = [legend]
    for number, t in turns:
        onset = "" if t.response_onset_ms is None else f"  onset {t.response_onset_ms:.0f} ms"
        parts += [Text(), Text.assemble((f"line {number}  ", "bold"), plain(t.text), onset)]
        parts += _bars(t, stages, longest_ms)
    if not turns:
        parts = [Text("no turn of this call was answered with times")]
    return Group(*parts)


def _bars(t: TranscriptLine, stages: list[str], longest_ms: float) -> list[RenderableType]:
    bars: list[RenderableType] = []
    since_ms = 0.0
    for n, stage in enumerate(stages):
        took_ms = t.stages_ms.get(stage)
        if took_ms is None:
            continue
        before = round(since_ms / longest_ms * BAR_CHARACTERS)
        width = max(1, round(took_ms / longest_ms * BAR_CHARACTERS))
        over = "  over budget" if stage in t.overspent else ""
        bars.append(
            Text.assemble(
                f"  {stage:16}{took_ms:8.1f} ms  {' ' * before}",
                ("█" * width, _COLOURS[n % len(_COLOURS)]),
                (over, "bold red"),
            )
        )
        since_ms += took_ms
    return bars


def ladder(r: CallDetailRecord) -> Group:
    """The SIP messages of the caller's dialog, and when."""
    half = LADDER_CHARACTERS // 2
    parts: list[RenderableType] = [
        Text(f"{'ms':>9}  {'caller':<{half}}{'bot':>{half}}", style="bold"),
    ]
    for step in r.sip:
        label = f" {step.text} "[:LADDER_CHARACTERS]
        arrow = label.center(LADDER_CHARACTERS - 2, "─")
        drawn = f"│◄{arrow[:-1]}─│" if step.sent else f"│{arrow[:-1]}─►│"
        parts.append(Text.assemble(f"{step.at_ms:>9}  ", plain(drawn)))
    if not r.sip:
        parts.append(Text("no SIP messages were kept with this record"))
    return Group(*parts)


def causes(findings: list[Finding]) -> Table:
    """What explains the call, first cause first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("cause", "detail", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(plain(finding.what), plain(finding.detail), plain(finding.advice))
    return table


def as_csv(records: Iterable[CallDetailRecord]) -> str:
    """One row per call, without what was said; a cell never begins like a formula."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow((*CSV_FIELDS, *CSV_LINE, "response_onset_p50_ms", "response_onset_max_ms"))
    for r in records:
        onset = r.latency.get("response_onset")
        cells = [
            *(getattr(r, name) for name in CSV_FIELDS),
            *(_figure(r.line.get(name, 0.0)) if r.line else "" for name in CSV_LINE),
            *((onset.p50_ms, onset.max_ms) if onset else ("", "")),
        ]
        writer.writerow([_cell(cell) for cell in cells])
    return stream.getvalue()


def _figure(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _cell(value: object) -> object:
    # A spreadsheet runs what begins so, and a caller chooses his name.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")):
        return f"'{value}"
    return value


def as_json_lines(records: Iterable[CallDetailRecord]) -> str:
    """The records as they are kept."""
    return "".join(msgspec.json.encode(r).decode() + "\n" for r in records)


def duration_s(text: str) -> float:
    """``30d``, ``12h``, ``90m``, ``45s`` in seconds.

    Raises:
        ValueError: No such duration.
    """
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.isascii() or not number.isdigit():
        raise ValueError(f"{text!r} is no duration: 30d, 12h, 90m or 45s")
    return int(number) * units[unit]


def since(records: Iterable[CallDetailRecord], age_s: float) -> list[CallDetailRecord]:
    """Those that ended within the last ``age_s`` seconds."""
    begin = dt.datetime.now(tz=dt.UTC) - dt.timedelta(seconds=age_s)
    text = begin.strftime("%Y-%m-%dT%H:%M:%S")
    return [r for r in records if r.ended_at >= text]
