"""The fixed prompts of the dialplan in use, rendered in the background, again when the plan changes."""

from voicebot.dialogue.fixed_texts import fixed_texts
from voicebot.dialogue.program import CompiledDialplan
from voicebot.telemetry.log import get_logger
from voicebot.tts.renderer import SpeechRenderer
from voicebot.tts.warming import PromptWarmer, WarmingProgress
from voicebot.worker.speaking import fixed_prompt


class PlanPrompts:
    """Renders one plan's prompts at a time; what is in the cache already costs next to nothing."""

    def __init__(self, renderer: SpeechRenderer) -> None:
        self._renderer = renderer
        self._warmer: PromptWarmer | None = None

    def prepare(self, plan: CompiledDialplan) -> None:
        """Begin with this plan; an earlier one's prompts are given up."""
        self.stop()
        prompts = [fixed_prompt(text, delivery, plan.lexicon) for text, delivery in fixed_texts(plan)]
        self._warmer = PromptWarmer(self._renderer, prompts, _log_last).start()

    def wait(self, timeout_s: float) -> bool:
        """Until all are rendered; whether that was reached."""
        return self._warmer is None or self._warmer.wait(timeout_s)

    def stop(self) -> None:
        """End after the current piece of audio."""
        if self._warmer is not None:
            self._warmer.stop()


def _log_last(progress: WarmingProgress) -> None:
    if progress.done + progress.failed == progress.total:
        get_logger().info("prompts_rendered", done=progress.done, failed=progress.failed)
