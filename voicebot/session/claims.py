"""Who may carry out a side effect: the same rule for every store."""

import msgspec

from voicebot.session.records import Claim, Effect


def unknown_effect(key: str) -> Claim:
    """The answer for a key that nobody planned."""
    return Claim(verdict="unknown", effect=Effect(key=key, session_id="", kind=""))


def judge_claim(effect: Effect, owner: str, lease: int) -> Claim:
    """Answer ``owner``, who holds ``lease`` of the session; the claim's effect is what to store."""
    if effect.state == "done":
        return Claim(verdict="done", effect=effect)
    taken = msgspec.structs.replace(effect, state="claimed", owner=owner, lease=lease)
    if effect.state == "pending":
        return Claim(verdict="granted", effect=taken)
    if effect.owner != owner and effect.lease >= lease:
        return Claim(verdict="busy", effect=effect)
    return Claim(verdict="in_doubt", effect=taken)
