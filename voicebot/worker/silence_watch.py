"""How long the caller has heard nothing: the timers that a dialogue counts in silence.

        caller's last sound ─┐
                             ├─► later one + time of the timer - time that an answer takes = due
        our own last sound ──┘             (never while we speak)

A dialogue that waits for a language model or a tool sets such a timer again and again, so that the
caller never waits longer without a word, however slow the outside is.
"""

from collections.abc import Iterable


class SilenceWatch:
    """Times in milliseconds on one monotonic clock.

    Args:
        answer_ms: What it takes from a decision to the first sound at the caller.
    """

    def __init__(self, answer_ms: float) -> None:
        self._answer_ms = answer_ms
        self._limits_ms: dict[str, int] = {}
        self._last_sound_ms = 0.0
        self._speaking = False

    def heard_caller(self, at_ms: float) -> None:
        """The caller's last sound so far."""
        self._last_sound_ms = max(self._last_sound_ms, at_ms)

    def bot_speaking(self, speaking: bool, now_ms: float) -> None:
        """The bot has something to say that was not heard to its end, or has not."""
        if self._speaking or speaking:
            self._last_sound_ms = now_ms
        self._speaking = speaking

    def start(self, timer: str, limit_ms: int) -> None:
        """Watch for so much silence."""
        self._limits_ms[timer] = limit_ms

    def skip(self, time_ms: float, now_ms: float) -> None:
        """So much time until now counts as nothing: the call was on hold, where keys may be pressed."""
        self._last_sound_ms = min(self._last_sound_ms + time_ms, now_ms)

    def cancel(self, timers: Iterable[str]) -> None:
        """Forget these; unknown names are ignored."""
        for timer in timers:
            self._limits_ms.pop(timer, None)

    def clear(self) -> None:
        """Forget all."""
        self._limits_ms.clear()

    def next_deadline_ms(self) -> float | None:
        """When ``expired`` will have something, if nobody speaks before."""
        if self._speaking or not self._limits_ms:
            return None
        return self._last_sound_ms + min(self._limits_ms.values()) - self._answer_ms

    def expired(self, now_ms: float) -> list[str]:
        """Names of the timers that ran out; each once."""
        if self._speaking:
            return []
        left_ms = now_ms - self._last_sound_ms + self._answer_ms
        names = [name for name, limit_ms in self._limits_ms.items() if left_ms >= limit_ms]
        self.cancel(names)
        return names
