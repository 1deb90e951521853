"""One replayed call as a row of results: measures, words, and what the report draws."""

from __future__ import annotations

import base64
import io
import re
import wave
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sip_test_harness import g711
from sip_test_harness.bot_hearing import bot_hearing
from sip_test_harness.rtp_statistics import extend, split_by_ssrc
from sip_test_harness.wav_file import SAMPLE_RATE_HZ, place_received, place_sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sip_test_harness.call_record import CallRecord
    from sip_test_harness.script_runner import CallRun

WAVE_POINTS: Final = 400
MAX_SOUND_S: Final = 300
_KEYS: Final = re.compile(r"^(dtmf|tones|info) ([0-9*#A-Da-d]+)$")
LATE_MS: Final = 60.0


@dataclass(frozen=True)
class Cell:
    """One point of a sweep: what the network did."""

    loss_percent: float = 0.0
    mean_burst_packets: float = 1.0
    jitter_ms: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether nothing was impaired."""
        return not self.loss_percent and not self.jitter_ms

    @property
    def label(self) -> str:
        """The cell for people."""
        return (
            f"loss {self.loss_percent:g} %, burst {self.mean_burst_packets:g}, "
            f"jitter {self.jitter_ms:g} ms"
        )


@dataclass
class QaRow:
    """The result of one replayed call.

    ``word_error`` compares the caller's words as the bot understood them with the reference (0 is
    equal; None without one); ``task_success`` says that the dialogue took the reference's course.
    ``interruptions`` are where the bot stopped in the middle of its words although nobody meant it to:
    ``at_ms``, ``pause_ms`` (None: it did not go on), ``resumed_right``; they are looked for in so many
    ``prompts`` and ``prompts_ms`` as are the same in the reference.
    """

    name: str
    cell: dict[str, float]
    profile: str
    seed: int
    failures: list[str] = field(default_factory=list)
    void: bool = False
    turns: list[dict[str, Any]] = field(default_factory=list)
    transcript: list[dict[str, Any]] = field(default_factory=list)
    course: list[str] = field(default_factory=list)
    reference: list[dict[str, Any]] = field(default_factory=list)
    word_error: float | None = None
    task_success: bool | None = None
    intents_right: float | None = None
    slots_right: float | None = None
    onset_ms: list[float] = field(default_factory=list)
    unanswered: int = 0
    barge_in_stop_ms: list[float] = field(default_factory=list)
    greeting_ms: float | None = None
    mos: float | None = None
    heard_loss_percent: float = 0.0
    heard_jitter_ms: float = 0.0
    bot_dropped: float | None = None
    bot_holes: float | None = None
    wire_gaps: int = 0
    silent_gap_ms: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    ended_by: str = ""
    duration_ms: float = 0.0
    spoken_spans_ms: list[list[float]] = field(default_factory=list)
    bot_spans_ms: list[list[float]] = field(default_factory=list)
    lost_out_ms: list[float] = field(default_factory=list)
    lost_in_ms: list[float] = field(default_factory=list)
    late_in_ms: list[float] = field(default_factory=list)
    concealed_out_ms: list[float] = field(default_factory=list)
    holes_out_ms: list[float] = field(default_factory=list)
    dropped_out_ms: list[float] = field(default_factory=list)
    prompts: int | None = None
    prompts_ms: float = 0.0
    interruptions: list[dict[str, Any]] = field(default_factory=list)
    wave_caller: list[int] = field(default_factory=list)
    wave_bot: list[int] = field(default_factory=list)
    sound_wav_base64: str = ""

    @property
    def key(self) -> tuple[str, float, float, float, int]:
        """What identifies the same call in another run."""
        cell = self.cell
        return (
            self.name,
            cell["loss_percent"],
            cell["mean_burst_packets"],
            cell["jitter_ms"],
            self.seed,
        )


def course_of(transcript: Sequence[dict[str, Any]]) -> list[str]:
    """Return the course of the dialogue: intents of the caller and steps of the bot, in order."""
    course: list[str] = []
    for line in transcript:
        for name in ("intent", "step"):
            value = str(line.get(name) or "")
            if value and (not course or course[-1] != f"{name} {value}"):
                course.append(f"{name} {value}")
    return course


def _keys_hidden(found: re.Match[str]) -> str:
    # Keys are account numbers and passcodes: a report that is handed round shows how many.
    return f"{found.group(1)} ({len(found.group(2))} keys)"


def row_of(
    run: CallRun,
    record: CallRecord | None,
    cell: Cell,
    *,
    sound: bool = True,
    bot_heard: NDArray[np.int16] | None = None,
) -> QaRow:
    """Build the row of a replayed call.

    Args:
        run: the call.
        record: the bot's account of it.
        cell: what the network did.
        sound: put the sound into the row.
        bot_heard: the bot's recording of the caller, 8 kHz.
    """
    call, measures = run.call, run.measures
    media, origin_ns = call.media, call.times.sent_ns
    heard = sorted(media.heard, key=lambda item: item.arrival_ns)
    ends = [item.arrival_ns for item in heard] + [due for due, _, _ in media.spoken]
    length_s = min(MAX_SOUND_S, (max(ends, default=origin_ns) - origin_ns) / 1e9 + 0.1)
    samples = int(length_s * SAMPLE_RATE_HZ)
    caller = place_sent(media.spoken, origin_ns, samples)
    bot = place_received(heard, origin_ns, samples)
    fields = dict(record.fields) if record else {}
    transcript = [dict(line) for line in fields.get("transcript") or [] if isinstance(line, dict)]
    lanes = _lanes_in(run, origin_ns)
    streams = measures.heard_streams
    hearing = bot_hearing(media.fates, bot_heard) if bot_heard is not None else None
    stages = fields.get("latency") or {}
    return QaRow(
        name=run.script.name,
        cell=asdict(cell),
        profile=measures.profile,
        seed=measures.seed,
        failures=list(run.failures),
        void=measures.void,
        turns=[
            {**asdict(turn), "label": _KEYS.sub(_keys_hidden, turn.label)} for turn in measures.turns
        ],
        transcript=transcript,
        course=course_of(transcript),
        onset_ms=[
            turn.response_onset_ms for turn in measures.turns if turn.response_onset_ms is not None
        ],
        unanswered=sum(turn.meant and turn.response_onset_ms is None for turn in measures.turns),
        barge_in_stop_ms=[
            turn.barge_in_stop_ms for turn in measures.turns if turn.barge_in_stop_ms is not None
        ],
        greeting_ms=measures.greeting_ms,
        mos=measures.quality_mos,
        heard_loss_percent=max((stream.loss_percent for stream in streams), default=0.0),
        heard_jitter_ms=max((stream.jitter_mean_ms for stream in streams), default=0.0),
        bot_dropped=hearing.dropped if hearing else None,
        bot_holes=hearing.holes if hearing else None,
        wire_gaps=len(measures.wire_gaps),
        silent_gap_ms=max((gap.duration_ms for gap in measures.silent_gaps), default=0.0),
        stages={
            str(stage): float(values["p50_ms"])
            for stage, values in stages.items()
            if isinstance(values, dict) and "p50_ms" in values
        },
        ended_by=measures.ended_by,
        duration_ms=round(length_s * 1000, 1),
        spoken_spans_ms=[
            [turn.speech_start_ms or 0.0, turn.speech_end_ms or 0.0] for turn in measures.turns
        ],
        bot_spans_ms=[[round(a, 1), round(b, 1)] for a, b in measures.bot_speech],
        lost_out_ms=_since(origin_ns, media.lost_out_ns),
        lost_in_ms=lanes["lost_in_ms"],
        late_in_ms=lanes["late_in_ms"],
        concealed_out_ms=_since(origin_ns, hearing.concealed_ns if hearing else ()),
        holes_out_ms=_since(origin_ns, hearing.holes_ns if hearing else ()),
        dropped_out_ms=_since(origin_ns, hearing.dropped_ns if hearing else ()),
        wave_caller=_outline(caller),
        wave_bot=_outline(bot),
        sound_wav_base64=_sound(caller, bot) if sound else "",
    )


def _since(origin_ns: int, times_ns: Sequence[int]) -> list[float]:
    return [round((time_ns - origin_ns) / 1e6) for time_ns in times_ns]


def _lanes_in(run: CallRun, origin_ns: int) -> dict[str, list[float]]:
    """Return when packets of the bot were lost, and when they came too late, in ms."""
    lost: list[float] = []
    late: list[float] = []
    ordered = sorted(run.call.media.heard, key=lambda item: item.arrival_ns)
    for items in split_by_ssrc(ordered).values():
        numbers = extend([item.packet.sequence_number for item in items], 16)
        stamps = extend([item.packet.timestamp for item in items], 32)
        transit = [
            (item.arrival_ns - origin_ns) / 1e6 - stamp / 8
            for item, stamp in zip(items, stamps, strict=True)
        ]
        base = min(transit)
        late += [
            round(stamp / 8 + base)
            for stamp, took, item in zip(stamps, transit, items, strict=True)
            if took > base + LATE_MS and item.packet.payload_type in g711.SILENCE_BYTE
        ]
        seen = dict(zip(numbers, stamps, strict=True))
        before: int | None = None
        for number in range(min(numbers), max(numbers) + 1):
            if number in seen:
                before = number
            elif before is not None:
                lost.append(round(seen[before] / 8 + 20 * (number - before) + base))
    return {"lost_in_ms": lost, "late_in_ms": late}


def _outline(samples: NDArray[np.int16]) -> list[int]:
    """Return the loudest sample of each of 400 parts, 0 to 100."""
    if len(samples) < WAVE_POINTS:
        return []
    parts = np.array_split(np.abs(samples.astype(np.int32)), WAVE_POINTS)
    return [int(100 * int(part.max()) / 32768) for part in parts]


def _sound(caller: NDArray[np.int16], bot: NDArray[np.int16]) -> str:
    """Return a stereo 8-bit WAV in base64: half the size, good enough to listen."""
    grid = (np.stack([caller, bot], axis=1).astype(np.int32) // 256 + 128).astype(np.uint8)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(grid.tobytes())
    return base64.b64encode(buffer.getvalue()).decode()


def bot_sound(row: QaRow) -> NDArray[np.int16] | None:
    """Return what the caller heard of the bot, 8 kHz, from the row's own sound; None without it."""
    if not row.sound_wav_base64:
        return None
    with wave.open(io.BytesIO(base64.b64decode(row.sound_wav_base64)), "rb") as file:
        grid = np.frombuffer(file.readframes(file.getnframes()), np.uint8).reshape(-1, 2)
    return ((grid[:, 1].astype(np.int16) - 128) * 256).astype(np.int16)
