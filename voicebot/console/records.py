"""Finished calls for people: search in the call records, the recording, its waveform, QA reports."""

import wave
from pathlib import Path
from typing import Any, Final

import numpy as np

from voicebot.session.call_detail_record import CallDetailLog, CallDetailRecord

PAGE: Final = 50
WAVEFORM_POINTS: Final = 600
MAX_WAVEFORM_S: Final = 3600
REPORTS: Final = "reports"
_REPORT_KINDS: Final = {".html", ".json", ".md", ".txt", ".xml"}


class Records:
    """Reads what the bot wrote.

    Args:
        folder: The data directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = CallDetailLog(folder)

    def search(self, words: str, *, skip: int = 0, limit: int = PAGE) -> list[CallDetailRecord]:
        """Records in which every word occurs (numbers, names, what was said), newest first."""
        wanted = words.lower().split()
        found = [r for r in self._log.read() if all(word in _text(r) for word in wanted)]
        return found[::-1][skip : skip + limit]

    def get(self, call_id: str) -> CallDetailRecord | None:
        """One record."""
        return next((r for r in self._log.read() if r.call_id == call_id), None)

    def recording(self, record: CallDetailRecord) -> Path | None:
        """The recording's file; None when there is none, or when it is not where recordings are."""
        if not record.recording:
            return None
        home = (self._folder / "recordings").resolve()
        path = home / Path(record.recording).name
        return path if path.is_file() and not path.is_symlink() else None

    def reports(self) -> list[str]:
        """Paths of QA reports below ``reports``, newest first."""
        home = self._folder / REPORTS
        found = [p for p in home.rglob("*") if p.suffix in _REPORT_KINDS and p.is_file()]
        found.sort(key=lambda p: p.stat().st_mtime, reverse=True)
        return [str(p.relative_to(home)) for p in found[:500]]

    def report(self, name: str) -> Path | None:
        """A report's file; None for anything outside."""
        home = (self._folder / REPORTS).resolve()
        path = (home / name).resolve()
        ours = path.is_relative_to(home) and path.suffix in _REPORT_KINDS
        return path if ours and path.is_file() else None


def waveform(path: Path) -> dict[str, Any]:
    """Peaks of both channels (0 to 1), caller first, and the length in seconds.

    Raises:
        ValueError: The file is no 16-bit PCM WAV.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if width != 2 or channels not in {1, 2}:
                raise ValueError("not 16-bit PCM")
            data = file.readframes(min(file.getnframes(), rate * MAX_WAVEFORM_S))
    except (wave.Error, EOFError, OSError) as error:
        raise ValueError(f"cannot be read: {error}") from error
    usable = len(data) - len(data) % (2 * channels)
    samples = np.abs(np.frombuffer(data[:usable], "<i2").astype(np.int32)).reshape(-1, channels)
    seconds = len(samples) / rate
    step = max(1, -(-len(samples) // WAVEFORM_POINTS))
    peaks = [
        [
            round(float(samples[at : at + step, c].max()) / 32768, 3)
            for at in range(0, len(samples), step)
        ]
        for c in range(channels)
    ]
    return {"seconds": round(seconds, 3), "peaks": peaks}


def _text(record: CallDetailRecord) -> str:
    said = " ".join(line.text for line in record.transcript)
    return (
        f"{record.call_id} {record.sip_call_id} {record.caller} {record.caller_name} {record.called} "
        f"{record.started_at} {record.reason} {said}"
    ).lower()
