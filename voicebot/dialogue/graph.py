"""A picture of a plan: flows as boxes that list the ways out of them, with what leads there.

Boxes stand in columns, by the number of steps from the call. A way to the next column is drawn as a
line; a way back or sideways is named only ("go to main"), so that no line crosses a box or a label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from voicebot.dialogue import model_steps
from voicebot.dialogue.model import Dialplan

CALL = "(call)"
ANYWHERE = "(at any step)"
HANG_UP = "(hang up)"
BOX_WIDTH, TITLE_HEIGHT, ROW_HEIGHT = 300, 30, 20
GAP_X, GAP_Y, MARGIN = 90, 22, 20
MAX_LABEL, MAX_TARGET = 28, 18  # characters that fit into a row; the rest is in the row's title


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
    for heard in plan.globals:
        label = heard.intent + (f" [{heard.dtmf}]" if heard.dtmf else "")
        step = model_steps.SimpleStep(goto=heard.goto) if isinstance(heard.goto, str) else heard.goto
        if step is not None:
            edges += [replace(edge, label=label) for edge in _edges(ANYWHERE, [step], label)]
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
    """The graph as a stand-alone SVG."""
    edges = plan_edges(plan)
    boxes = _boxes(_columns(_nodes(plan, edges), edges), edges)
    width = max(box.x for box in boxes.values()) + BOX_WIDTH + MARGIN
    height = max(box.y + box.height for box in boxes.values()) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(plan.name)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"',
        ' orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for name, box in boxes.items():
        parts += _drawn(name, box, boxes, "#e7f0fa" if name in plan.flows else "#f3efe2")
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Box:
    column: int
    x: int
    y: int
    ways: tuple[Edge, ...]

    @property
    def height(self) -> int:
        return TITLE_HEIGHT + ROW_HEIGHT * len(self.ways) + (6 if self.ways else 0)


def _columns(names: list[str], edges: list[Edge]) -> list[list[str]]:
    """Names by their distance from the call; in a column in the order in which they are led to."""
    columns = [[n for n in (CALL, ANYWHERE) if n in names]]
    placed = set(columns[0])
    while columns[-1]:
        led_to = [e.target for name in columns[-1] for e in edges if e.source == name]
        columns.append([n for n in dict.fromkeys(led_to) if n not in placed])
        placed.update(columns[-1])
    columns[-1] = [n for n in names if n not in placed]  # what nothing leads to
    return [column for column in columns if column]


def _boxes(columns: list[list[str]], edges: list[Edge]) -> dict[str, _Box]:
    boxes = {}
    for number, column in enumerate(columns):
        y = MARGIN
        for name in column:
            ways = tuple(e for e in edges if e.source == name)
            box = _Box(number, MARGIN + number * (BOX_WIDTH + GAP_X), y, ways)
            boxes[name] = box
            y += box.height + GAP_Y
    return boxes


def _drawn(name: str, box: _Box, boxes: dict[str, _Box], colour: str) -> Iterator[str]:
    yield (
        f'<rect x="{box.x}" y="{box.y}" width="{BOX_WIDTH}" height="{box.height}" rx="6" '
        f'fill="{colour}" stroke="#456"/>'
        f'<text x="{box.x + 10}" y="{box.y + 20}" font-weight="bold">{escape(name)}</text>'
    )
    right = box.x + BOX_WIDTH
    for number, way in enumerate(box.ways):
        base = box.y + TITLE_HEIGHT + ROW_HEIGHT * number + 13
        target = boxes[way.target]
        onward = target.column == box.column + 1
        where = _cut(way.target, MAX_TARGET) if onward else f"go to {_cut(way.target, MAX_TARGET)}"
        yield (
            f'<text font-size="11"><title>{escape(f"{way.label} to {way.target}")}</title>'
            f'<tspan x="{box.x + 18}" y="{base}" fill="#222">'
            f"{escape(_cut(way.label or 'then', MAX_LABEL))}</tspan>"
            f'<tspan x="{right - 10}" y="{base}" text-anchor="end" fill="#567">'
            f"{escape(where)}</tspan></text>"
        )
        if onward:
            start, end = base - 4, target.y + TITLE_HEIGHT // 2
            bend = f"C{right + GAP_X // 2},{start} {target.x - GAP_X // 2},{end}"
            yield (
                f'<path d="M{right},{start} {bend} {target.x},{end}" '
                'fill="none" stroke="#888" marker-end="url(#tip)"/>'
            )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
