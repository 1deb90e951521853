"""The call detail record: one JSON line per call in ``calls.jsonl``.

Several workers may share the file (``line_file``). Policy: with ``sync`` (the default) the line is on
the disk (fdatasync) when ``append`` returns; without, the kernel writes it within seconds, and only a
power cut can take it. Both happen on a thread.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from voicebot.core.errors import SessionStoreError
from voicebot.core.sip_step import SipStep
from voicebot.session.line_file import append_line, delete_lines
from voicebot.session.records import TurnRecord
from voicebot.session.stored_text import MAX_FIELD_CHARS, clean_text, clean_turn

FILE_NAME: Final = "calls.jsonl"


class TranscriptLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing said, ``at_ms`` after the answer. ``played_ms``: how much of a cut prompt was heard.

    ``stages_ms`` is what each stage of the answer to it took, ``overspent`` those above their budget.
    ``slots`` are what the turn filled; sensitive ones never reach the record in clear.
    """

    who: str
    text: str
    at_ms: int = 0
    step: str = ""
    intent: str = ""
    by: str = ""
    routed_by: str = ""
    slots: dict[str, str] = {}
    response_onset_ms: float | None = None
    played_ms: int | None = None
    stages_ms: dict[str, float] = {}
    overspent: tuple[str, ...] = ()


class StageLatency(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of the turns of a call, or the response onset over all of them."""

    count: int
    p50_ms: float
    max_ms: float


class CallDetailRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is told of a call afterwards.

    Times of day are UTC (``utc_text``) and empty when the thing did not happen; durations come from a
    monotonic clock: ``ring_ms`` from INVITE to answer, ``talk_ms`` from answer to end. ``line`` is the
    last ``Stats`` of the link. ``latency`` maps stage names of ``core.hops`` and ``response_onset``.
    """

    call_id: str
    session_id: str
    sip_call_id: str = ""
    caller: str = ""
    caller_name: str = ""
    called: str = ""
    dialplan: str = ""
    started_at: str = ""
    answered_at: str = ""
    ended_at: str = ""
    ring_ms: int = 0
    talk_ms: int = 0
    ended_by: str = ""
    reason: str = ""
    sip_code: int = 0
    turns: int = 0
    transcript: tuple[TranscriptLine, ...] = ()
    recording: str = ""
    recording_partial: bool = False
    line: dict[str, float] = {}
    latency: dict[str, StageLatency] = {}
    workers: int = 1
    sip: tuple[SipStep, ...] = ()


def transcript_of(turns: dict[int, TurnRecord]) -> tuple[TranscriptLine, ...]:
    """The turns of a session as they may be told: in order, clean, without secrets."""
    return tuple(
        TranscriptLine(
            who=turn.who,
            text=turn.text,
            at_ms=turn.at_ms,
            step=turn.step,
            intent=turn.intent,
            by=turn.by,
            routed_by=turn.routed_by,
            slots=turn.slots,
            response_onset_ms=turn.response_onset_ms,
            played_ms=turn.played_ms,
            stages_ms=turn.stages_ms,
            overspent=turn.overspent,
        )
        for turn in (clean_turn(turns[number]) for number in sorted(turns))
    )


def latency_of(turns: dict[int, TurnRecord]) -> dict[str, StageLatency]:
    """Count, median and maximum of each stage over the turns of a call."""
    times: dict[str, list[float]] = {}
    for turn in turns.values():
        for stage, took_ms in turn.stages_ms.items():
            times.setdefault(stage, []).append(took_ms)
        if turn.response_onset_ms is not None:
            times.setdefault("response_onset", []).append(turn.response_onset_ms)
    return {
        stage: StageLatency(count=len(took), p50_ms=sorted(took)[(len(took) - 1) // 2], max_ms=max(took))
        for stage, took in times.items()
    }


class CallDetailLog:
    """Appends call detail records to ``calls.jsonl``, or to one file a day.

    Args:
        folder: Where the file is; made when missing.
        sync: Wait for the disk with each line.
        daily: Write to ``calls-2026-11-21.jsonl``, by the record's ``ended_at``, instead.
    """

    def __init__(self, folder: Path, *, sync: bool = True, daily: bool = False) -> None:
        self._folder = folder
        self._sync = sync
        self._daily = daily

    async def append(self, record: CallDetailRecord) -> None:
        """Write one line.

        Raises:
            SessionStoreError: The disk is full or the folder cannot be written.
        """
        line = msgspec.json.encode(_clean(record))
        try:
            await asyncio.to_thread(append_line, self._path(record), line, sync=self._sync)
        except OSError as error:
            raise SessionStoreError(f"call detail record: {error}") from error

    def read(self) -> Iterator[CallDetailRecord]:
        """All records in the folder, oldest file first; lines that are no record are passed over."""
        for path in sorted(self._folder.glob("calls*.jsonl")):
            with path.open("rb") as file:
                yield from (record for line in file if (record := _parse(line)) is not None)

    def has(self, session_id: str) -> bool:
        """Whether a session has its record; reads the files."""
        return any(record.session_id == session_id for record in self.read())

    def purge(self, *, older_than: str | None = None, caller: str | None = None) -> int:
        """Delete records that ended before ``older_than``, or all of one caller; returns how many.

        With neither nothing is deleted; with both, only what meets both.

        Raises:
            SessionStoreError: A file cannot be rewritten.
        """
        if older_than is None and caller is None:
            return 0
        try:
            return sum(
                delete_lines(path, lambda line: _is_due(line, older_than, caller))
                for path in sorted(self._folder.glob("calls*.jsonl"))
            )
        except OSError as error:
            raise SessionStoreError(f"call detail records: {error}") from error

    def _path(self, record: CallDetailRecord) -> Path:
        day = record.ended_at[:10]
        if not self._daily or len(day.split("-")) != 3 or not day.replace("-", "").isdigit():
            return self._folder / FILE_NAME
        return self._folder / f"calls-{day}.jsonl"


def _is_due(line: bytes, older_than: str | None, caller: str | None) -> bool:
    record = _parse(line)
    return (
        record is not None
        and (caller is None or record.caller == caller)
        and (older_than is None or record.ended_at < older_than)
    )


def _parse(line: bytes) -> CallDetailRecord | None:
    try:
        return msgspec.json.decode(line, type=CallDetailRecord)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def _clean(record: CallDetailRecord) -> CallDetailRecord:
    texts: dict[str, Any] = {
        name: clean_text(value, MAX_FIELD_CHARS)
        for name, value in msgspec.structs.asdict(record).items()
        if isinstance(value, str)
    }
    lines = tuple(
        msgspec.structs.replace(
            line,
            text=clean_turn(TurnRecord(who="caller", text=line.text)).text,
            step=clean_text(line.step, MAX_FIELD_CHARS),
            intent=clean_text(line.intent, MAX_FIELD_CHARS),
        )
        for line in record.transcript
    )
    return msgspec.structs.replace(record, transcript=lines, **texts)
