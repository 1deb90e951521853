"""A circuit breaker, pure: times come as arguments.

CLOSED ── failures in a row ──► OPEN ── open_ms later ──► one trial ── success ──► CLOSED
▲                            │
└───────── failure ──────────┘
"""


class CircuitBreaker:
    """Keeps callers from waiting for something that is known to be down.

    Args:
        failures: So many in a row open it.
        open_ms: For so long nothing is tried.
    """

    def __init__(self, *, failures: int = 3, open_ms: float = 10_000) -> None:
        self._limit = failures
        self._open_ms = open_ms
        self._failures = 0
        self._opened_ms: float | None = None
        self._trial = False

    @property
    def open(self) -> bool:
        """Whether requests are refused (but for a trial when its time has come)."""
        return self._opened_ms is not None

    def allow(self, now_ms: float) -> bool:
        """Whether a request may be made; after ``open_ms`` one at a time may."""
        if self._opened_ms is None:
            return True
        if self._trial or now_ms - self._opened_ms < self._open_ms:
            return False
        self._trial = True
        return True

    def succeeded(self) -> None:
        """A request was answered."""
        self._failures = 0
        self._opened_ms = None
        self._trial = False

    def failed(self, now_ms: float) -> None:
        """A request was not answered."""
        self._failures += 1
        if self._trial or self._failures >= self._limit:
            self._opened_ms = now_ms
        self._trial = False

    def abandoned(self) -> None:
        """A request was taken back before it was clear how it ends."""
        self._trial = False
