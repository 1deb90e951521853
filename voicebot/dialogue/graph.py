"""A picture of a plan: flows as boxes, the ways between them as arrows with what leads there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from voicebot.dialogue import model_steps
from voicebot.dialogue.model import Dialplan

CALL = "(call)"
HANG_UP = "(hang up)"
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 170, 44, 90, 70


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one flow, queue or end to another."""

    source: str
    target: str
    label: str


def plan_edges(plan: Dialplan) -> list[Edge]:
    """Every way through the plan, once."""
    edges = [Edge(CALL, r.flow, ", ".join(r.match.to or ["*"])) for r in plan.routes]
    for flow, steps in plan.flows.items():
        edges += _edges(flow, steps, "")
    return list(dict.fromkeys(edges))


def _edges(flow: str, steps: Sequence[Any], label: str) -> Iterator[Edge]:
    for step in steps:
        match step:
            case model_steps.SimpleStep():
                if step.goto is not None:
                    yield Edge(flow, step.goto, label)
                elif step.handoff is not None:
                    yield Edge(flow, f"queue {step.handoff}", step.reason or label)
                elif step.hangup is not None:
                    yield Edge(flow, HANG_UP, label)
            case model_steps.IfStep():
                yield from _edges(flow, step.then, step.if_)
                yield from _edges(flow, step.else_ or (), f"else: {step.if_}")
            case model_steps.MenuStep():
                for choice in step.menu.choices:
                    key = f" [{choice.dtmf}]" if choice.dtmf else ""
                    if choice.goto is not None:
                        yield Edge(flow, choice.goto, choice.intent + key)
                    yield from _edges(flow, choice.then or (), choice.intent + key)
            case model_steps.CallStep():
                for outcome, branch in step.result.items():
                    yield from _edges(flow, branch, f"{step.call}: {outcome}")
            case model_steps.RequireStep():
                for variable, target in step.require.items():
                    yield Edge(flow, target, f"unless {variable}")


def mermaid(plan: Dialplan) -> str:
    """The graph as a Mermaid flow chart."""
    edges = plan_edges(plan)
    names = _nodes(plan, edges)
    ids = {name: f"n{index}" for index, name in enumerate(names)}
    lines = ["flowchart TD"]
    lines += [f'  {ids[n]}["{_mermaid_text(n)}"]' for n in names]
    for edge in edges:
        label = f'|"{_mermaid_text(edge.label)}"|' if edge.label else ""
        lines.append(f"  {ids[edge.source]} -->{label} {ids[edge.target]}")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    return text.replace('"', "#quot;").replace("\n", " ")


def _nodes(plan: Dialplan, edges: list[Edge]) -> list[str]:
    ends = [n for e in edges for n in (e.source, e.target)]
    return list(dict.fromkeys([CALL, *plan.flows, *ends]))


def svg(plan: Dialplan) -> str:
    """The graph as a stand-alone SVG: rows by the number of steps from the call."""
    edges = plan_edges(plan)
    rows = _rows(_nodes(plan, edges), edges)
    places = {
        name: (20 + column * (BOX_WIDTH + GAP_X), 20 + row * (BOX_HEIGHT + GAP_Y))
        for row, names in enumerate(rows)
        for column, name in enumerate(names)
    }
    width = 40 + max(len(r) for r in rows) * (BOX_WIDTH + GAP_X)
    height = 40 + len(rows) * (BOX_HEIGHT + GAP_Y)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(plan.name)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"',
        ' orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, edge in enumerate(edges):
        parts.append(_arrow(places[edge.source], places[edge.target], edge.label, number))
    for name, (x, y) in places.items():
        colour = "#e7f0fa" if name in plan.flows else "#f3efe2"
        parts.append(
            f'<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{colour}" '
            f'stroke="#456"/><text x="{x + BOX_WIDTH // 2}" y="{y + BOX_HEIGHT // 2 + 4}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _rows(names: list[str], edges: list[Edge]) -> list[list[str]]:
    level = {CALL: 0}
    waiting = [CALL]
    while waiting:
        here = waiting.pop(0)
        for edge in edges:
            if edge.source == here and edge.target not in level:
                level[edge.target] = level[here] + 1
                waiting.append(edge.target)
    last = max(level.values()) + 1
    rows: list[list[str]] = [[] for _ in range(last + 1)]
    for name in names:
        rows[level.get(name, last)].append(name)
    return [row for row in rows if row]


def _arrow(start: tuple[int, int], end: tuple[int, int], label: str, number: int) -> str:
    x1, y1 = start[0] + BOX_WIDTH // 2, start[1] + BOX_HEIGHT
    x2, y2 = end[0] + BOX_WIDTH // 2, end[1]
    if y2 <= y1:  # back or sideways: round the right side
        x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2
        x2, y2 = end[0] + BOX_WIDTH, end[1] + BOX_HEIGHT // 2
        bend = max(x1, x2) + GAP_X // 2
        path = f"M{x1},{y1} C{bend},{y1} {bend},{y2} {x2},{y2}"
        middle = bend - 14, (y1 + y2) // 2
    else:
        path = f"M{x1},{y1} C{x1},{y1 + 30} {x2},{y2 - 30} {x2},{y2}"
        part = 0.3 + 0.2 * (number % 3)  # labels of parallel arrows do not cover each other
        middle = round(x1 + (x2 - x1) * part), round(y1 + (y2 - y1) * part)
    text = ""
    if label:
        short = label if len(label) <= 28 else label[:27] + "…"
        text = (
            f'<text x="{middle[0]}" y="{middle[1]}" fill="#444" font-size="10" text-anchor="middle">'
            f"<title>{escape(label)}</title>{escape(short)}</text>"
        )
    return f'<path d="{path}" fill="none" stroke="#888" marker-end="url(#tip)"/>{text}'
