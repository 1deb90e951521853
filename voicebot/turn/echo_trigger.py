"""Does the caller speak while the bot does? The first look is fast and only pauses; the second decides.

NO_ECHO    voice in what was heard, 120 ms
UNKNOWN    voice for 240 ms that does not correlate with what we sent
ECHO       voice, and power that our echo cannot explain, 100 ms
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from voicebot.turn.echo_path import EchoResult, EchoState
from voicebot.turn.voice_activity import VadWindow

TICK_MS: Final = 20


@dataclass(frozen=True, slots=True)
class EchoTriggerSettings:
    """Thresholds of the trigger; defaults measured by tests/bench/echo.py on simulated lines."""

    voice_probability: float = 0.5
    """Voice activity from here on, on what was heard (not on the residual)."""
    above_noise_db: float = 8.0
    """Voice weaker than this over the line's noise is no caller (where no echo is modelled)."""
    quietest_dbov: float = -50.0
    """The same, absolute."""
    no_echo_ms: int = 120
    """How long voice must last on a line without echo."""
    unknown_ms: int = 240
    """How long voice must last while the line is unknown and the voice is loud."""
    unknown_quiet_ms: int = 400
    """The same while the voice is no louder than an echo may be."""
    loud_dbov: float = -32.0
    """What is loud in `unknown_ms`."""
    unknown_evidence: float = 5.0
    """So much evidence for echo holds the trigger back until the line is known."""
    likeness_ratio: float = 20.0
    """Voice that correlates so well with what we sent, at a delay not modelled, is our own."""
    echo_ms: int = 100
    """How long voice that the echo does not explain must last on a line with echo."""
    unexplained_share: float = 0.2
    """Share of the heard power that the echo must leave unexplained."""


class EchoTrigger:
    """Watches one call; feed it every tick, also while the bot is silent."""

    def __init__(self, settings: EchoTriggerSettings | None = None) -> None:
        self._settings = settings or EchoTriggerSettings()
        self._voice = False
        self._lasting_ms = 0

    def feed(self, result: EchoResult, windows: Sequence[VadWindow]) -> bool:
        """One tick.

        Args:
            result: The echo path's answer for the tick.
            windows: Voice activity of the microphone signal that became known in the tick.

        Returns:
            Whether the caller is heard to speak; stays true for as long as that goes on.
        """
        settings = self._settings
        if windows:
            self._voice = windows[-1].probability >= settings.voice_probability
        counts = self._voice and result.unmodelled_ratio < settings.likeness_ratio
        needed_ms = settings.no_echo_ms
        if result.echo_expected and result.state is EchoState.ECHO:
            counts &= result.unexplained > settings.unexplained_share
            needed_ms = settings.echo_ms
        else:
            counts &= result.above_noise_db > settings.above_noise_db
            counts &= result.heard_dbov > settings.quietest_dbov
            counts &= result.evidence < settings.unknown_evidence
        if result.echo_expected and result.state is EchoState.UNKNOWN:
            loud = result.heard_dbov > settings.loud_dbov
            needed_ms = settings.unknown_ms if loud else settings.unknown_quiet_ms
        self._lasting_ms = self._lasting_ms + TICK_MS if counts else 0
        return self._lasting_ms >= needed_ms

    def reset(self) -> None:
        """Forget what was heard so far: a trigger has been dealt with."""
        self._lasting_ms = 0
