"""A call without audio: text and keys in, text out, tools answered at once, time passed by hand.

Used by ``voicebot dialplan chat``, by the tests inside dialplans and by the scenario tests.
"""

from collections.abc import Callable

from msgspec.structs import replace

from voicebot.config.settings import TurnSettings
from voicebot.dialogue.actions import (
    Action,
    AskRouter,
    CallTool,
    CancelTimer,
    HangUp,
    Listen,
    Speak,
    StartTimer,
    StoreTurn,
    TransferCall,
)
from voicebot.dialogue.conversation import Conversation
from voicebot.dialogue.events import (
    CallerHungUp,
    CallerSaid,
    DigitPressed,
    Event,
    NoInput,
    PromptFinished,
    RouteFinished,
    TimerExpired,
    ToolFinished,
    TransferFinished,
)
from voicebot.turn.caller_manner import CallerManner

ToolAnswers = Callable[[CallTool], ToolFinished]
RouterAnswers = Callable[[AskRouter], RouteFinished]
MS_PER_CHARACTER = 60


class TextCall:
    """Drives one conversation.

    Args:
        conversation: Not started yet.
        tools: Answers the tools.
        transfer_outcome: What becomes of a transfer; "" leaves it ringing.
        router: Answers for the language model; without one it never knows.
    """

    def __init__(
        self,
        conversation: Conversation,
        tools: ToolAnswers,
        *,
        transfer_outcome: str = "",
        router: RouterAnswers | None = None,
    ) -> None:
        self.conversation = conversation
        self.actions: list[Action] = []
        self.said: list[str] = []
        self.listening: Listen | None = None
        self.ended = ""
        self.transfers: list[TransferCall] = []
        self.at_ms = 0
        self._tools = tools
        self._transfer_outcome = transfer_outcome
        self._router = router or (lambda ask: RouteFinished(request=ask.request, intent=None))
        self._timers: dict[str, int] = {}
        self._manner = CallerManner(TurnSettings())  # of the words; there is no voice

    @property
    def stored(self) -> list[StoreTurn]:
        """Every turn that went to the record."""
        return [a for a in self.actions if isinstance(a, StoreTurn)]

    def start(self) -> list[str]:
        """Answer the call; what the bot says."""
        self.said = []
        self._carry_out(self.conversation.start())
        return self.said

    def say(self, text: str, confidence: float = 1.0) -> list[str]:
        """The caller speaks; what the bot says then."""
        manner = self._manner.of(text.lower(), None)
        return self._turn(CallerSaid(text=text, confidence=confidence, manner=manner))

    def press(self, keys: str) -> list[str]:
        """The caller presses keys one after the other, then waits."""
        self.said = []
        for key in keys:
            self.at_ms += 200
            self.event(DigitPressed(digit=key))
        if "inter_digit" in self._timers:
            self.at_ms = max(self.at_ms, self._timers.pop("inter_digit"))
            self.event(TimerExpired(timer="inter_digit"))
        return self.said

    def wait(self) -> list[str]:
        """The caller says nothing until the bot notices."""
        self.at_ms += (self.listening.no_input_ms or 0) if self.listening else 0
        return self._turn(NoInput())

    def hang_up(self) -> None:
        """The caller hangs up."""
        self.event(CallerHungUp())

    def _turn(self, event: Event) -> list[str]:
        self.said = []
        self.event(event)
        return self.said

    def event(self, event: Event) -> None:
        """Give the conversation one event and carry out what follows."""
        self._carry_out(self.conversation.handle(replace(event, at_ms=self.at_ms)))

    def _carry_out(self, actions: list[Action]) -> None:
        self.actions += actions
        later: list[Event] = []
        for action in actions:
            match action:
                case Speak():
                    self.said.append(action.text)
                    self.at_ms += MS_PER_CHARACTER * len(action.text)
                    later.append(PromptFinished(utterance=action.utterance))
                case Listen():
                    self.listening = action
                case StartTimer():
                    self._timers[action.timer] = self.at_ms + action.after_ms
                case CancelTimer():
                    self._timers.pop(action.timer, None)
                case CallTool():
                    later.append(self._tools(action))
                case AskRouter():
                    later.append(self._router(action))
                case TransferCall():
                    self.transfers.append(action)
                    if self._transfer_outcome:
                        later.append(
                            TransferFinished(request=action.request, outcome=self._transfer_outcome)
                        )
                case HangUp():
                    self.ended = action.reason
                case _:
                    pass
        for event in later:
            self.event(event)
