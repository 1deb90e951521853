"""Does the caller speak while the bot does? The first look is fast and only pauses; the second decides.

NO_ECHO    voice in what was heard, 100 ms
UNKNOWN    voice, and enough odds added up over its ticks that it is not our own
ECHO       voice, and power that our echo cannot explain, 100 ms
"""

from collections.abc import Sequence
from typing import Final

from voicebot.config.echo_settings import EchoTriggerSettings
from voicebot.turn.echo_path import EchoResult, EchoState
from voicebot.turn.voice_activity import VadWindow

TICK_MS: Final = 20


class EchoTrigger:
    """Watches one call; feed it every tick, also while the bot is silent.

    Args:
        settings: Thresholds.
        no_echo_ms: How long voice must last on a line without echo.
    """

    def __init__(self, settings: EchoTriggerSettings | None = None, no_echo_ms: int = 100) -> None:
        self._settings = settings or EchoTriggerSettings()
        self._no_echo_ms = no_echo_ms
        self._probability = 0.0
        self._lasting_ms = 0
        self._odds = 0.0
        self._gap_ms = 0
        self._quietest_dbov = self._settings.quietest_dbov

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
            self._probability = windows[-1].probability
        if result.echo_expected and result.state is EchoState.UNKNOWN:
            return self._unknown(result)
        counts = self._probability >= settings.voice_probability
        counts &= result.unmodelled_ratio < settings.likeness_ratio
        needed_ms = self._no_echo_ms
        if result.echo_expected and result.state is EchoState.ECHO:
            counts &= result.unexplained > settings.unexplained_share
            needed_ms = settings.echo_ms
        else:
            counts &= self._loud(result)
            counts &= result.evidence < settings.echo_evidence
        self._lasting_ms = self._lasting_ms + TICK_MS if counts else 0
        return self._lasting_ms >= needed_ms

    def _unknown(self, result: EchoResult) -> bool:
        """Add up what speaks for the caller; what speaks for our echo is taken off again."""
        settings = self._settings
        if self._probability >= settings.unknown_probability and self._loud(result):
            if not self._lasting_ms:
                earned = settings.unechoed_odds_per_s * result.unechoed_ms / 1000.0
                self._odds += min(settings.most_unechoed_odds, earned)
            most = settings.most_odds_per_tick
            self._odds = max(settings.fewest_odds, self._odds + max(-most, min(most, result.stranger)))
            self._lasting_ms += TICK_MS
            self._gap_ms = 0
            return self._odds >= settings.unknown_odds and self._lasting_ms >= settings.echo_ms
        self._gap_ms += TICK_MS
        if self._gap_ms >= settings.unknown_gap_ms:
            self._lasting_ms = 0
            self._odds = min(self._odds, 0.0)
        return False

    def _loud(self, result: EchoResult) -> bool:
        settings = self._settings
        above_noise = result.above_noise_db > settings.above_noise_db
        return above_noise and result.heard_dbov > self._quietest_dbov

    def reset(self) -> None:
        """Forget what was heard so far: a trigger has been dealt with."""
        self._lasting_ms = 0
        self._odds = 0.0

    def ignore_below(self, level_dbov: float) -> None:
        """Somebody far away speaks so loud: what is weaker is not heard as the caller."""
        self._quietest_dbov = max(self._quietest_dbov, level_dbov)

    def hear_from(self, level_dbov: float) -> None:
        """The caller speaks so loud: never be deaf to that."""
        self._quietest_dbov = max(self._settings.quietest_dbov, min(self._quietest_dbov, level_dbov))
