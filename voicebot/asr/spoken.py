"""The words people use for digits, numbers, days and answers; shared by grammars and their readers."""

from typing import Final


def words(block: str) -> tuple[str, ...]:
    """The words of a block of text."""
    return tuple(block.split())


def _phrases(block: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in block.split("|"))


DIGITS: Final = words("zero one two three four five six seven eight nine")
TEENS: Final = words("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS: Final = words("twenty thirty forty fifty sixty seventy eighty ninety")
ORDINALS: Final = words(
    """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
    fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"""
)
MONTHS: Final = words(
    "january february march april may june july august september october november december"
)
WEEKDAYS: Final = words("monday tuesday wednesday thursday friday saturday sunday")

YES: Final = _phrases(
    """yes | yeah | yep | yup | yes please | correct | that's correct | that is correct | right |
    that's right | that is right | sure | of course | okay | ok | exactly | absolutely | definitely |
    go ahead | please do | yes it is | yes that's right | yes i do | i do | true | affirmative"""
)
NO: Final = _phrases(
    """no | nope | nah | no thanks | no thank you | wrong | that's wrong | that is wrong |
    not correct | that's not correct | not right | that's not right | no it isn't | it isn't |
    no it is not | no i don't | i don't | not really | never | false | don't | incorrect |
    no that's wrong | negative"""
)

FILLERS: Final = words("uh um please i the a it's is my and")
"""Said around an answer; they mean nothing by themselves."""
