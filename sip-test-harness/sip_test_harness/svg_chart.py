"""Line charts as SVG text: no library, opens in any browser, white background for print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 36, 44
# Distinguishable with colour-blind eyes (Okabe and Ito).
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclass(frozen=True)
class Series:
    """One line: its name and its points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def line_chart(
    title: str, x_label: str, y_label: str, series: Sequence[Series], *, y_max: float | None = None
) -> str:
    """Return an SVG document; both axes begin at 0."""
    points = [point for line in series for point in line.points] or [(0.0, 0.0)]
    x_end = max(x for x, _ in points) or 1.0
    y_end = y_max or _round_up(max(y for _, y in points))
    plot_w, plot_h = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / x_end * plot_w, _TOP + plot_h - min(1.0, y / y_end) * plot_h

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        "<style>text { font: 12px sans-serif } .title { font-size: 14px }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" class="title">{escape(title)}</text>',
        f'<text x="{_LEFT + plot_w / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>',
        f'<g transform="translate(14 {_TOP + plot_h / 2}) rotate(-90)">',
        f'<text text-anchor="middle">{escape(y_label)}</text></g>',
    ]
    for step in range(6):
        x, y = place(x_end * step / 5, y_end * step / 5)
        below = _TOP + plot_h + 16
        parts += [
            f'<line x1="{_LEFT}" x2="{_LEFT + plot_w}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{y_end * step / 5:g}</text>',
            f'<text x="{x:.1f}" y="{below}" text-anchor="middle">{x_end * step / 5:g}</text>',
        ]
    for index, line in enumerate(series):
        colour = _COLOURS[index % len(_COLOURS)]
        places = [place(x, y) for x, y in line.points]
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not line.dashed:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y, key = _TOP + 12 + 18 * index, WIDTH - _RIGHT + 10
        parts += [
            f'<path d="M{key} {y - 4}h18" stroke="{colour}" stroke-width="2"{dash}/>',
            f'<text x="{key + 24}" y="{y}">{escape(line.name)}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 2.5, 5 times a power of ten."""
    scale = 1.0
    while value > 10 * scale:
        scale *= 10
    while 0 < value <= scale:
        scale /= 10
    return next((step * scale for step in (1, 2, 2.5, 5, 10) if value <= step * scale), 10 * scale)
