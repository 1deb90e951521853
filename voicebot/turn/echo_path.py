"""One call's echo: what of the heard audio is our own voice coming back.

             lock of the delay tracker
  UNKNOWN ─────────────────────────────► ECHO
     │                                    │ ▲
     │ a second of our speech,            │ │ lock
     │ and the line stayed quiet          ▼ │
     └──────────────────────────────► NO_ECHO

sent ──► delay tracker ──► bulk delay of the reference ──► AEC3 ──► residual, for the recogniser
heard ─┬──────┴──────────► level model ──► unexplained share, for the interruption trigger
       └─ as it is: in NO_ECHO, and when we have been silent for longer than the echo can last
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicebot.config.echo_settings import EchoSettings
from voicebot.turn.echo_canceller import Aec3, EchoCanceller
from voicebot.turn.echo_delay import DelayEstimate, EchoDelayTracker
from voicebot.turn.echo_level import EchoLevelModel

Samples = NDArray[np.int16]

TICK_MS: Final = 20
TICK_SAMPLES: Final = 160
_SENT_TICKS: Final = 68
_CLICK_MS: Final = 40
_SHORT_MEAN: Final = np.full(8, 1.0 / 8.0)  # as long as the level of what is heard


class EchoState(Enum):
    """What is known about the line."""

    UNKNOWN = "unknown"
    ECHO = "echo"
    NO_ECHO = "no_echo"


@dataclass(frozen=True, slots=True)
class EchoResult:
    """One tick of the echo path."""

    residual: Samples
    """What was heard without our own voice, int16 (160,); 87 samples late where AEC3 took it out."""
    state: EchoState
    """What is known about the line after this tick."""
    delay_ms: float | None
    """Delay of the echo; None while unknown."""
    echo_expected: bool
    """Our own voice may be in what was heard: raw voice activity proves nothing about the caller."""
    explained_ratio: float
    """Peak over mean of the correlation with what was sent, latest estimate, at any delay."""
    unmodelled_ratio: float
    """The same away from the locked delay, highest of 300 ms: echo that the model does not know."""
    evidence: float
    """What speaks for an echo that the model does not know, averaged; 7 is enough for a lock."""
    above_noise_db: float
    """Level of what was heard in the last 160 ms over the noise of the line."""
    heard_dbov: float
    """Level of what was heard in the last 160 ms."""
    unexplained: float
    """Share of the heard power above the expected echo, 0 to 1; 1 where no echo is expected."""
    unechoed_ms: int = 0
    """For how long before the sound that is heard now we had spoken and nothing was heard."""
    stranger: float = 0.0
    """Log odds that a voice heard in this tick is the caller's; known only in UNKNOWN, else 0."""


class EchoPath:
    """Follows one call's echo in ticks of 20 ms.

    Args:
        settings: Thresholds.
        make_canceller: Called when echo is first possible; a call that never speaks loads no canceller.
    """

    def __init__(
        self, settings: EchoSettings | None = None, make_canceller: Callable[[], EchoCanceller] = Aec3
    ) -> None:
        self._settings = settings or EchoSettings()
        self._make_canceller = make_canceller
        self._canceller: EchoCanceller | None = None
        self._tracker = EchoDelayTracker(self._settings.delay)
        self._level = EchoLevelModel(self._settings.level)
        self._estimate = DelayEstimate(0.0, 0.0, 0.0, 0.0)
        self._recent_ratios = [0.0, 0.0, 0.0]
        self._reference_delay_ms = 0.0
        self._silent_ms = 1 << 30
        self._quiet_ms = 0
        self._loud_floor = TICK_SAMPLES * 32768.0**2 * 10.0 ** (self._settings.loud_dbov / 10.0)
        history_ms = self._settings.delay.longest_delay_ms + 1000
        ticks = history_ms // TICK_MS
        self._loud = deque([False] * ticks, maxlen=ticks)
        self._sent = deque([0.0] * _SENT_TICKS, maxlen=_SENT_TICKS)
        self._sent_ms = 0
        self._unechoed_ms = 0
        self._heard_ms = 0
        self.state = EchoState.UNKNOWN

    @property
    def return_loss_db(self) -> float | None:
        """How much weaker our voice comes back, dB; None where that is not known."""
        return -self._level.gain_db if self.state is EchoState.ECHO else None

    def process(self, microphone: Samples, reference: Samples, reference_active: bool) -> EchoResult:
        """One tick.

        Args:
            microphone: What was heard, int16 (160,) at 8 kHz.
            reference: What was really sent at the same tick, int16 (160,), silence included.
            reference_active: The bot is speaking: the reference is more than silence.
        """
        self._silent_ms = 0 if reference_active else self._silent_ms + TICK_MS
        estimate = self._tracker.feed(microphone, reference)
        energy = 0.0
        if reference_active:
            values = reference.astype(np.float64)
            energy = float(np.dot(values, values))
        self._loud.append(energy > self._loud_floor)
        self._sent.append(energy / TICK_SAMPLES)
        self._sent_ms += TICK_MS if reference_active or self._sent_ms else 0
        if estimate is not None:
            self._estimate = estimate
            self._recent_ratios = [*self._recent_ratios[1:], estimate.other_ratio]
            self._decide(estimate)
        delay_ms = self._tracker.delay_ms
        reach_ms = self._settings.delay.longest_delay_ms if delay_ms is None else delay_ms
        expected = (
            self.state is not EchoState.NO_ECHO and self._silent_ms <= reach_ms + self._settings.tail_ms
        )
        unexplained, residual = 1.0, microphone
        if expected:
            cancelled = self._cancel(microphone, delay_ms)
            # Until AEC3 has seen that there is no echo it takes the caller for some: what the recogniser
            # hears is left as it is before echo is known to be in it.
            residual = cancelled if self.state is EchoState.ECHO else microphone
            if delay_ms is not None:
                learn = self._estimate.local_ratio >= self._settings.learning_ratio
                unexplained = self._level.feed(microphone, self._tracker, delay_ms, learn=learn)
        heard_dbov = self._tracker.heard_dbov
        above_noise_db = heard_dbov - self._tracker.noise_dbov
        audible = above_noise_db > self._settings.delay.above_noise_db
        self._unechoed(heard=audible)
        unknown = expected and self.state is EchoState.UNKNOWN
        stranger = self._stranger(heard_dbov) if unknown and audible and self._sent_ms else 0.0
        return EchoResult(
            residual,
            self.state,
            delay_ms,
            expected,
            self._estimate.peak_ratio,
            max(self._recent_ratios),
            self._estimate.evidence,
            above_noise_db,
            heard_dbov,
            unexplained,
            self._unechoed_ms,
            stranger,
        )

    def shift(self, by_ms: float) -> None:
        """Our own jitter buffer moved: all is heard `by_ms` later from now on (negative: earlier)."""
        self._tracker.shift(by_ms)
        self._reference_delay_ms = max(0.0, self._reference_delay_ms + by_ms)

    def _unechoed(self, *, heard: bool) -> None:
        """Count our own speech that nothing came back from; a sound may have been its echo."""
        if heard:
            self._heard_ms += TICK_MS
            return
        if self._heard_ms > _CLICK_MS:
            self._unechoed_ms = 0
        self._heard_ms = 0
        if self._loud[-1]:
            self._unechoed_ms += TICK_MS

    def _stranger(self, heard_dbov: float) -> float:
        """Log odds that what is heard was not sent by us: fitted by logistic regression."""
        settings = self._settings
        likeness = min(self._tracker.likeness(self._sent_ms), settings.likeness_limit)
        short = np.convolve(np.array(self._sent), _SHORT_MEAN, "valid")
        louder_db = heard_dbov - 10.0 * math.log10(float(short.max()) / 32768.0**2 + 1e-9)
        return (
            settings.stranger_bias
            + settings.stranger_per_likeness * likeness
            + settings.stranger_per_db * louder_db
        )

    def _decide(self, estimate: DelayEstimate) -> None:
        """Change of state, once per estimate."""
        locked = self._tracker.delay_ms is not None
        if locked and self.state is not EchoState.ECHO:
            self.state = EchoState.ECHO
            self._quiet_ms = 0
        elif not locked and self.state is EchoState.ECHO:
            self.state = EchoState.UNKNOWN
        elapsed_ms = self._settings.delay.every_ticks * TICK_MS
        if not estimate.heard_quiet:
            self._quiet_ms = 0
        elif sum(self._loud) >= self._settings.loud_share * len(self._loud) and self._should_be_heard():
            self._quiet_ms += elapsed_ms
        if self._quiet_ms >= self._settings.quiet_ms_for_no_echo and self.state is not EchoState.NO_ECHO:
            self.state = EchoState.NO_ECHO
            self._tracker.unlock()

    def _should_be_heard(self) -> bool:
        """Whether an echo, where one is known, would stand out of the noise now."""
        if self.state is not EchoState.ECHO:
            return True
        return self._level.expected_over_noise_db > self._settings.delay.above_noise_db + 6.0

    def _cancel(self, microphone: Samples, delay_ms: float | None) -> Samples:
        if self._canceller is None:
            self._canceller = self._make_canceller()
        if delay_ms is not None:
            late = delay_ms > self._settings.longest_cancelled_ms
            wanted_ms = max(0.0, delay_ms - self._settings.lead_ms) if late else 0.0
            if abs(wanted_ms - self._reference_delay_ms) > self._settings.smallest_move_ms:
                self._reference_delay_ms = wanted_ms
        reference = self._tracker.sent(self._reference_delay_ms, TICK_SAMPLES).astype(np.int16)
        return self._canceller.process(microphone, reference)
