"""Yes or no, in the ways people say it."""

from voicebot.asr.spoken import FILLERS, words

_YES = frozenset(
    words(
        """yes yeah yep yup yah correct right sure course okay ok exactly absolutely definitely ahead
        true affirmative fine agree agreed good perfect"""
    )
)
_YES_PAIRS = ("i do", "please do", "go on")
_YES_ALONE = ("it is", "that is", "i am")  # "that is my sister" answers something else
_AFTER_YES = frozenset(words("please thanks thank you indeed so it all sir madam")) | frozenset(FILLERS)
_NO = frozenset(words("no nope nah never wrong incorrect false negative"))
_NOT = frozenset(words("not don't doesn't didn't isn't wasn't aren't can't won't never"))


def read_yes_no(text: str) -> bool | None:
    """True for yes, False for no, None when it is neither or contradicts itself.

    "no it isn't right" is no, "yes it is" is yes, "yes no" is neither: the bot asks again.
    """
    said = text.lower().replace("[unk]", " ").split()
    plain = " ".join(said)
    if any(pair in plain for pair in ("why not", "no problem", "no doubt")):
        return True
    negated = any(word in _NOT for word in said)
    yes = any(word in _YES for word in said) or any(
        plain == pair or plain.startswith(f"{pair} ") for pair in _YES_PAIRS
    )
    yes = yes or (" ".join(said[:2]) in _YES_ALONE and _AFTER_YES.issuperset(said[2:]))
    no = any(word in _NO for word in said)
    if negated:
        # "not wrong" is yes; "yes i don't" contradicts itself.
        if no and not yes and said[0] not in _NO and said[0] not in _NOT - {"not"}:
            return True
        return None if said[0] in _YES and said[0] != "right" else False
    if yes and no:
        # "no that's right" may confirm or correct: only the caller knows.
        return None
    if no:
        return False
    if yes:
        return True
    return None


def is_only_filler(text: str) -> bool:
    """Whether nothing was said but "uh" and the like."""
    return all(word in FILLERS or word == "[unk]" for word in text.lower().split())
