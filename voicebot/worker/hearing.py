"""The recogniser pool as a call sees it: mu-law in, ``Heard`` out, every failure a RecognitionError."""

from collections.abc import Callable

from voicebot.asr.fake import FakeFactory
from voicebot.asr.grammar import grammar_for
from voicebot.asr.pool import RecogniserPool, Turn
from voicebot.asr.protocol import Hypothesis, Recogniser, RecogniserFactory
from voicebot.audio.g711 import decode_ulaw
from voicebot.core.errors import OverloadError, RecognitionError
from voicebot.core.expectation import Expectation
from voicebot.worker.effects import Heard


class Ears:
    """One call's way to the shared pool.

    Args:
        pool: Shared by all calls of the worker.
    """

    def __init__(self, pool: RecogniserPool) -> None:
        self._pool = pool
        self._factory: RecogniserFactory = pool.factory
        self.use()

    def use(self, *names: str) -> None:
        """Hear the call with the model of one of these names or languages, most wanted first."""
        factory = self._pool.engine_for(*names)
        # The fake engine reads its script from the beginning in each call.
        self._factory = factory.for_call() if isinstance(factory, FakeFactory) else factory

    def recognise(
        self, turn: int, expectation: Expectation, on_partial: Callable[[Heard], None]
    ) -> "HeardTurn":
        """Begin a turn.

        Args:
            turn: Its number, which comes back in each ``Heard``.
            expectation: What the dialogue waits for; its phrases become the grammar.
            on_partial: Where partial results go.

        Raises:
            RecognitionError: The pool takes no more turns.
        """
        try:
            running = self._pool.start(
                grammar_for(expectation),
                lambda hypothesis: on_partial(_heard(turn, hypothesis)),
                kind=expectation.kind,
                factory=self._factory,
            )
        except OverloadError as error:
            raise RecognitionError(str(error)) from error
        return HeardTurn(turn, running)


class HeardTurn:
    """One turn being recognised."""

    def __init__(self, turn: int, running: Turn) -> None:
        self._turn = turn
        self._running = running
        self._failure: RecognitionError | None = None

    def feed(self, payload: bytes) -> None:
        """Take mu-law audio; a failure is kept for ``finish``."""
        if self._failure is not None:
            return
        try:
            self._running.feed(decode_ulaw(payload))
        except RecognitionError as error:
            self._failure = error

    async def finish(self) -> Heard:
        """Force the final result.

        Raises:
            RecognitionError: The engine failed in this turn.
        """
        if self._failure is not None:
            self._running.abandon()
            raise self._failure
        return _heard(self._turn, await self._running.finish())

    def cancel(self) -> None:
        """Throw the turn away."""
        self._running.abandon()


class InlineEars:
    """The same for a call on virtual time: the recogniser runs in the caller's own thread.

    Args:
        factory: The engine.
    """

    def __init__(self, factory: RecogniserFactory) -> None:
        self._factory = factory.for_call() if isinstance(factory, FakeFactory) else factory

    def recognise(self, expectation: Expectation) -> "InlineTurn":
        """Begin a turn."""
        return InlineTurn(self._factory.start(grammar_for(expectation), expectation.kind))


class InlineTurn:
    """One turn being recognised."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def accept(self, payload: bytes) -> str | None:
        """Take mu-law audio; the partial text when it changed."""
        hypothesis = self._recogniser.accept(decode_ulaw(payload))
        return None if hypothesis is None else hypothesis.text

    def finish(self) -> tuple[str, float, *tuple[str, ...]]:
        """Final text, confidence, and other readings."""
        final = self._recogniser.finish()
        self._recogniser.close()
        return (final.text, final.confidence, *(other.text for other in final.alternatives))

    def cancel(self) -> None:
        """Throw the turn away."""
        self._recogniser.close()


def _heard(turn: int, hypothesis: Hypothesis) -> Heard:
    return Heard(
        turn,
        hypothesis.text,
        hypothesis.confidence,
        hypothesis.final,
        tuple(alternative.text for alternative in hypothesis.alternatives),
    )
