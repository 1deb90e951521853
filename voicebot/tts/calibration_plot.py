"""Draws a calibration as SVG: spectra and levels, the bare band beside the shaped voice."""

import math
from collections.abc import Sequence
from typing import Final

from voicebot.audio.narrowband import LIMIT_DBFS, TARGET_LEVEL_DBOV
from voicebot.tts.calibration import CENTRES_HZ, Calibration

_WIDTH: Final = 760
_HEIGHT: Final = 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 470, 40, 320
_BARS_LEFT: Final = 540
_BEFORE, _AFTER, _GAIN = "#888888", "#0b6e99", "#c2571a"
_LOWEST_HZ, _HIGHEST_HZ = 250.0, 4000.0


def draw_calibration(calibration: Calibration) -> str:
    """A whole SVG document."""
    before, after = calibration.spectrum_before.density_db, calibration.spectrum_after.density_db
    gains = calibration.profile.presence_db
    top_db = 10 * math.ceil(max(*before, *after) / 10)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(
            _LEFT, 22, f"Voice {calibration.voice}: long-term spectrum and active speech level", size=15
        ),
        *_axes(top_db),
        _line(before, top_db, _BEFORE),
        _line(after, top_db, _AFTER),
        _line([g + top_db - 20 for g in gains], top_db, _GAIN, dashed=True),
        _text(_LEFT, 352, "grey: 300-3400 Hz band alone", colour=_BEFORE),
        _text(_LEFT + 190, 352, "blue: shaped", colour=_AFTER),
        _text(_LEFT, 370, f"dashed: what the equaliser adds, 0 dB at {top_db - 20} dB", colour=_GAIN),
        *_level_bars(calibration),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(top_db: int) -> list[str]:
    parts = []
    for step in range(6):
        level_db = top_db - 10 * step
        y = _y(level_db, top_db)
        parts.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{level_db} dB", anchor="end"))
    for frequency_hz in (300, 500, 1000, 2000, 3400):
        x = _x(frequency_hz)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_BOTTOM}" stroke="#eeeeee"/>')
        parts.append(_text(x, _BOTTOM + 16, f"{frequency_hz} Hz", anchor="middle"))
    return parts


def _level_bars(calibration: Calibration) -> list[str]:
    bars = (
        ("engine", calibration.level_wideband_dbov, _BEFORE),
        ("band", calibration.level_before_dbov, _BEFORE),
        ("shaped", calibration.level_after_dbov, _AFTER),
        ("peak", calibration.peak_after_dbov, _AFTER),
    )
    parts = []
    for index, (name, level_dbov, colour) in enumerate(bars):
        x, y = _BARS_LEFT + 50 * index, _level_y(level_dbov)
        parts.append(
            f'<rect x="{x}" y="{y:.1f}" width="34" height="{_BOTTOM - y:.1f}" fill="{colour}"/>'
        )
        parts.append(_text(x + 17, y - 5, f"{level_dbov:.1f}", anchor="middle"))
        parts.append(_text(x + 17, _BOTTOM + 16, name, anchor="middle"))
    for name, level_dbov in (("target", TARGET_LEVEL_DBOV), ("limit", LIMIT_DBFS)):
        y = _level_y(level_dbov)
        place = f'x1="{_BARS_LEFT - 8}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line {place} stroke="{_GAIN}"/>')
        parts.append(
            _text(_BARS_LEFT - 10, y + 4, f"{name} {level_dbov:.0f}", anchor="end", colour=_GAIN)
        )
    return parts


def _line(levels_db: Sequence[float], top_db: float, colour: str, *, dashed: bool = False) -> str:
    points = " ".join(
        f"{_x(f):.1f},{_y(level, top_db):.1f}" for f, level in zip(CENTRES_HZ, levels_db, strict=True)
    )
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "black"
) -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" font-family="sans-serif" fill="{colour}">{safe}</text>'


def _x(frequency_hz: float) -> float:
    share = math.log(frequency_hz / _LOWEST_HZ) / math.log(_HIGHEST_HZ / _LOWEST_HZ)
    return _LEFT + share * (_RIGHT - _LEFT)


def _y(level_db: float, top_db: float) -> float:
    return _TOP + min(1.0, max(0.0, (top_db - level_db) / 50)) * (_BOTTOM - _TOP)


def _level_y(level_dbov: float) -> float:
    return _TOP + min(1.0, max(0.0, -level_dbov / 45)) * (_BOTTOM - _TOP)
