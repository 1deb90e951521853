"""What is said to the colleague before the caller is put through, and to the caller while waiting."""

from voicebot.handoff.context import HandoffContext

MAX_BRIEF_CHARS = 320  # about twenty seconds of speech: nobody listens longer


def spoken_brief(context: HandoffContext, *, accept_digit: str) -> str:
    """The brief: who, why, and the key that takes the call."""
    number = spoken_number(context.caller)
    caller = f"Call from {number}. " if number else "Call from an unknown number. "
    prompt = f" Press {accept_digit} to accept."
    room = MAX_BRIEF_CHARS - len(caller) - len(prompt)
    summary = context.summary
    if len(summary) > room:
        summary = summary[:room].rsplit(" ", 1)[0].rstrip(".,;") + "."
    return caller + summary + prompt


def spoken_number(caller: str) -> str:
    """A telephone number digit by digit; names stay as they are when they are plain words."""
    digits = [c for c in caller if c.isdigit()]
    if len(digits) >= 3 and all(c in "+0123456789-. ()" for c in caller):
        return " ".join((["plus"] if caller.startswith("+") else []) + digits)
    return caller if caller.isalnum() else ""


def spoken_position(position: int, wait_s: int | None) -> str:
    """Where the caller stands in the queue; ``position`` counts from 1, 0 is not told."""
    where = "You are next." if position == 1 else f"You are number {position} in the queue."
    if position <= 0:
        where = "Thank you for waiting."
    if wait_s is None:
        return where
    minutes = max(1, round(wait_s / 60))
    return f"{where} The wait is about {minutes} minute{'s' if minutes > 1 else ''}."


def spoken_wait_again(reason: str) -> str:
    """Nobody could be reached; the caller keeps the place in the queue."""
    what = "All our colleagues are talking" if reason == "busy" else "That colleague is not there"
    return f"{what} just now. Please stay on the line, we keep trying."


def spoken_callback_offer(digit: str) -> str:
    """Asked after a while of waiting."""
    return f"If you would rather be called back, press {digit}."


def spoken_callback_question(number: str, *, yes: str, no: str) -> str:
    """The number is confirmed before anything is noted."""
    keys = f"Press {yes} for yes, or {no} to go on waiting."
    return f"We would call you back on {spoken_number(number)}. {keys}"


def spoken_callback_promise(number: str) -> str:
    """The last words to a caller who will be called back."""
    return f"We will call you back on {spoken_number(number)}. Goodbye."
