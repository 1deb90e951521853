"""The picture of this moment, drawn from the events of the live feed. Pure: events and times come in.

call_started ─► LiveCall ─ partial, said, line, handoff … ─► ended (stays for a minute) ─► gone
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

Event = dict[str, Any]

MAX_LINES: Final = 200
MAX_CALLS: Final = 500
KEEP_ENDED_S: Final = 60.0
_SHOWN: Final = ("caller", "caller_name", "called", "dialplan", "sip_call_id")


@dataclass(slots=True)
class LiveCall:
    """One call as a watcher sees it; times are monotonic seconds of the console."""

    call_id: str
    worker: str
    since_s: float
    facts: dict[str, str] = field(default_factory=dict)
    lines: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_LINES))
    partial: str = ""
    quality: Event = field(default_factory=dict)
    handoff: Event = field(default_factory=dict)
    ended_s: float | None = None
    reason: str = ""

    def public(self, now_s: float) -> Event:
        """What the pages get."""
        return {
            "call_id": self.call_id,
            "seconds": int((self.ended_s or now_s) - self.since_s),
            **self.facts,
            "lines": list(self.lines),
            "partial": self.partial,
            "quality": self.quality,
            "handoff": self.handoff,
            "ended": self.ended_s is not None,
            "reason": self.reason,
        }


class LiveBoard:
    """All live calls."""

    def __init__(self) -> None:
        self._calls: dict[str, LiveCall] = {}

    def take(self, event: Event, now_s: float) -> Event | None:
        """Fold one event of a worker in; returns what watchers are told, None when it means nothing."""
        self._forget(now_s)
        call_id, kind = event.get("call"), event.get("event")
        if not isinstance(call_id, str) or not isinstance(kind, str) or len(call_id) > 64:
            return None
        call = self._calls.get(call_id)
        if kind == "call_started":
            if call is None and len(self._calls) < MAX_CALLS:
                age_s = _number(event.get("age_ms")) / 1000
                call = LiveCall(call_id, str(event.get("worker", "")), now_s - age_s)
                self._calls[call_id] = call
            if call is None:
                return None
            # A worker that takes a call over introduces it again.
            call.worker = str(event.get("worker", ""))
            call.facts = {name: str(event.get(name, ""))[:200] for name in _SHOWN}
            lines = [_line(line) for line in event.get("lines") or [] if isinstance(line, dict)]
            new = {line["turn"] for line in lines}
            call.lines = deque([old for old in call.lines if old["turn"] not in new], MAX_LINES)
            call.lines.extend(lines)
            return {"event": "call", "call": call.public(now_s)}
        if call is None:
            return None
        match kind:
            case "partial":
                call.partial = str(event.get("text", ""))[:500]
                return {"event": "partial", "call_id": call_id, "text": call.partial}
            case "said":
                line = _line(event)
                known = next(
                    (n for n, old in enumerate(call.lines) if old["turn"] == line["turn"]), None
                )
                if known is None:
                    call.lines.append(line)
                else:
                    call.lines[known] = line
                if line["who"] == "caller":
                    call.partial = ""
                return {"event": "said", "call_id": call_id, "line": line}
            case "line":
                quality = event.get("quality")
                call.quality = (
                    {str(k)[:40]: _number(v) for k, v in quality.items()}
                    if isinstance(quality, dict)
                    else {}
                )
                return {"event": "quality", "call_id": call_id, "quality": call.quality}
            case "handoff":
                call.handoff = {
                    name: str(event.get(name, ""))[:200] for name in ("handoff_id", "stage", "detail")
                }
                return {"event": "handoff", "call_id": call_id, **call.handoff}
            case "call_ended" if event.get("worker", call.worker) != call.worker:
                return None  # a worker that hung has noticed that it lost the call to another one
            case "call_ended":
                call.ended_s = now_s
                call.reason = str(event.get("reason", ""))[:200]
                call.partial = ""
                return {"event": "ended", "call_id": call_id, "reason": call.reason}
            case _:
                return None

    def calls(self, now_s: float) -> list[Event]:
        """All calls, oldest first."""
        self._forget(now_s)
        return [call.public(now_s) for call in self._calls.values()]

    def worker_of(self, call_id: str) -> str:
        """The socket of the worker that has this call; empty when it is over or not known."""
        call = self._calls.get(call_id)
        return "" if call is None or call.ended_s is not None else call.worker

    def _forget(self, now_s: float) -> None:
        gone = [
            c.call_id
            for c in self._calls.values()
            if c.ended_s is not None and now_s - c.ended_s > KEEP_ENDED_S
        ]
        for call_id in gone:
            del self._calls[call_id]


def _line(event: Event) -> Event:
    return {
        "turn": int(_number(event.get("turn"))),
        "who": "bot" if event.get("who") == "bot" else "caller",
        "text": str(event.get("text", ""))[:1000],
        "at_ms": int(_number(event.get("at_ms"))),
    }


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
