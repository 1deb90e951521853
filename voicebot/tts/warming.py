"""Renders fixed prompts into the cache in the background, behind callers who are being spoken to."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from voicebot.core.errors import SynthesisError
from voicebot.tts.lexicon import NO_LEXICON, Lexicon
from voicebot.tts.number_words import Locale
from voicebot.tts.protocol import NEUTRAL, Prosody
from voicebot.tts.renderer import SpeechRenderer

_POLL_S: Final = 0.02

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FixedPrompt:
    """Text that is known before anybody calls."""

    text: str
    voice: str | None = None
    locale: Locale = "en-US"
    lexicon: Lexicon = NO_LEXICON
    prosody: Prosody = NEUTRAL


@dataclass(frozen=True, slots=True)
class WarmingProgress:
    """How far it is."""

    done: int
    failed: int
    total: int


class PromptWarmer:
    """Renders `prompts` one after the other on a thread of its own; the cache has to be large enough.

    Args:
        renderer: Where they go.
        prompts: What to render.
        on_progress: Called on that thread after each prompt.
    """

    def __init__(
        self,
        renderer: SpeechRenderer,
        prompts: Sequence[FixedPrompt],
        on_progress: Callable[[WarmingProgress], None] = lambda _: None,
    ) -> None:
        self._renderer = renderer
        self._prompts = tuple(prompts)
        self._on_progress = on_progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tts-warming", daemon=True)
        self.progress = WarmingProgress(0, 0, len(self._prompts))

    def start(self) -> "PromptWarmer":
        """Begin; returns itself."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End after the current piece of audio."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; whether it was reached."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        done = failed = 0
        for prompt in self._prompts:
            while self._renderer.live_renders and not self._stop.is_set():
                self._stop.wait(_POLL_S)
            if self._stop.is_set():
                return
            try:
                render_into_cache(self._renderer, prompt, self._stop.is_set)
                done += 1
            except SynthesisError as error:
                failed += 1
                _log.warning("prompt_not_rendered", reason=str(error))
            self.progress = WarmingProgress(done, failed, len(self._prompts))
            self._on_progress(self.progress)


def render_into_cache(
    renderer: SpeechRenderer, prompt: FixedPrompt, cancelled: Callable[[], bool] = lambda: False
) -> None:
    """Render one prompt now, so that the next time it is there at once.

    Raises:
        SynthesisError: No voice could say it.
    """
    for _ in renderer.render(
        prompt.text,
        voice=prompt.voice,
        locale=prompt.locale,
        lexicon=prompt.lexicon,
        prosody=prompt.prosody,
        cancelled=cancelled,
        persist=True,
    ):
        pass
