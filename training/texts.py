"""What callers say: sentences for the synthetic voices and phrases for the vocabulary.

Numbers, digit strings, money, dates, times, spelled letters, yes/no variants and commands come
from small grammars; the words of the sample dialplans are added when the folder is there.
"""

import random
import re
from pathlib import Path

from training.lexicon import DIGITS, LETTERS, lexicon


def words(block: str) -> list[str]:
    """The words of a block of text."""
    return block.split()


def phrases(block: str) -> list[str]:
    """The phrases of a "|" and line separated block."""
    return [p.strip() for p in block.replace("\n", "|").split("|") if p.strip()]


YES_NO = """
yes|no|yeah|yep|yup|nope|nah|correct|that's correct|that is right|that's right|right|wrong
that's wrong|not correct|not right|sure|of course|okay|ok|exactly|absolutely|definitely
yes please|no thanks|no thank you|yes it is|no it isn't|yes i do|no i don't|i think so
not really|yes that's right|no that's wrong|never|affirmative|negative|i agree|go ahead
please do|don't|never mind|fine|true|false|maybe|i don't know
"""

COMMANDS = """
balance|my balance|account balance|check my balance|what is my balance
how much money do i have|how much is in my account|how much have i got|how much|money
account|my account|current account|savings account|checking account|card|my card
block my card|block the card|freeze my card|lost card|i lost my card|my card is lost
my card was stolen|somebody stole my card|stolen|lost|damaged|my card is damaged|broken
it is broken|expired|card services|new card|replace my card|activate my card|pin number
forgot my pin|reset my password|password|operator|agent|an agent please|speak to an agent
talk to a person|a real person|human|a human please|person|representative|customer service
help|help me|i need help|repeat|repeat that|say that again|please repeat|pardon|what|sorry
i didn't hear you|again|once more|cancel|cancel that|stop|start over|start again|go back
back|main menu|menu|next|previous|continue|skip|wait|hold on|one moment|done|finished
that's all|that is all|nothing else|goodbye|bye|thank you|thanks|hello|hi|good morning
good afternoon|good evening|opening hours|opening times|when are you open
what time do you close|where is the nearest branch|branch|address|location|statement
transactions|last transactions|transfer|make a transfer|transfer money|send money|pay a bill
pay my bill|payment|make a payment|loan|mortgage|credit|credit card|debit card|interest rate
exchange rate|report a lost card|report fraud|fraud|dispute a charge|appointment
make an appointment|book an appointment|change my appointment|cancel my appointment
reschedule|doctor|dentist|nurse|clinic|prescription|refill my prescription|test results
emergency|vaccination|check up|package|parcel|where is my package|track my package
tracking number|delivery|my parcel has not arrived|change the delivery address
deliver tomorrow|leave it with a neighbor|pick up|return a package|missing|late|order
order status|refund|invoice|bill|billing|sales|support|technical support|internet
phone number|account number|english|spanish|press one|press two|louder|slower|speak slower
speak louder|complaint|i have a complaint|problem|i want to pay|insurance|policy|claim
new customer|existing customer|business|personal|savings|checking|cash|withdraw|deposit
limit|raise my limit|open an account|close my account|nothing|none|all|both|other
something else
"""

SHORT_WORDS = words(
    """
    yes no yeah yep nope okay up down left right on off go stop bed bird cat dog happy house tree wow
    marvin sheila backward forward follow learn visual one two three four five six seven eight nine zero
    oh bad bit but buy by boy cut cap cow day do dark desk door den don far fall fan fun free find file
    fight foot for from fox full game get give good gone got great hat hot how hi hill hello horse home
    joy just keep key kid know light like line lift love leave laugh long lot low lunch man may me mine
    more most much my name near need nice night not nothing now nose of old onto our out over paid pen
    pick pop put read red rest ride road row run same say see send set seat she sheep shop short show
    sit site sick sleep so some song soon start step store such sun take talk tell ten than that the
    them then thing think this time to today tone top town train true turn under use very wait walk
    want was way we well went what when where white who why will win with wind won work world wrong
    write year you young void wall war watch water window woman never ever even heaven
    """
)
"""One-syllable words and a few more, said alone: what a short command is most easily confused with."""

STEERING_WORDS = words(
    """
    yes no yeah yep nope stop wait cancel agent help back again repeat operator hello sorry quiet enough
    human person continue next skip menu okay right correct wrong hang
    up down left off on go
    """
)
"""Words with which callers steer a call or interrupt it: few recordings hold them alone."""

TEMPLATES = (
    "{a}", "{a}", "{a}", "{a} please", "i want {a}", "i would like {a}", "can you help me with {a}",
    "i'm calling about {a}", "i need {a}", "hello {a}", "uh {a}", "um {a} please", "yes {a}",
    "i have a question about {a}", "could you {a}", "it's about {a}", "tell me {a}",
)  # fmt: skip

MONTHS = words(
    """
    january february march april may june july august september october november december
    """
)
WEEKDAYS = words(
    """
    monday tuesday wednesday thursday friday saturday sunday
    """
)
ORDINALS = words(
    """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth
    thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth
    thirtieth
    """
)
TEENS = words(
    """
    ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
    """
)
TENS = words(
    """
    twenty thirty forty fifty sixty seventy eighty ninety
    """
)
ALPHABET = words(
    """
    alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november
    oscar papa quebec romeo sierra tango uniform victor whiskey yankee zulu
    """
)
SPELLING_NAMES = words(
    """
    adam apple boy baby cat charlie david dog edward easy frank fox george henry ida ice
    john king lincoln love mary mother nancy nora ocean paul peter queen robert roger sam
    sugar tom thomas union victor william young zebra
    """
)
CURRENCIES = words(
    """
    dollars dollar pounds euros euro cents pence
    """
)


def number(value: int) -> str:
    """0 to 999,999 in words."""
    if value < 10:
        return DIGITS[value]
    if value < 20:
        return TEENS[value - 10]
    if value < 100:
        tail = f" {DIGITS[value % 10]}" if value % 10 else ""
        return TENS[value // 10 - 2] + tail
    if value < 1000:
        tail = f" {number(value % 100)}" if value % 100 else ""
        return f"{DIGITS[value // 100]} hundred{tail}"
    tail = f" {number(value % 1000)}" if value % 1000 else ""
    return f"{number(value // 1000)} thousand{tail}"


def digit_string(rng: random.Random, longest: int = 10) -> str:
    """Digits as people say them: "oh", "double four", "triple seven"."""
    words = []
    for _ in range(rng.randint(1, longest)):
        digit = rng.choice([*DIGITS, *DIGITS, "oh", "oh"])
        lead = rng.random()
        words += ["double", digit] if lead < 0.05 else ["triple", digit] if lead < 0.07 else [digit]
    return " ".join(words)


def money(rng: random.Random) -> str:
    """An amount of money."""
    whole = number(int(10 ** rng.uniform(0, 4.5)))
    unit = rng.choice(CURRENCIES)
    tail = f" and {number(rng.randint(1, 99))} cents" if rng.random() < 0.3 else ""
    return f"{whole} {unit}{tail}"


def date(rng: random.Random) -> str:
    """A day, relative or by the calendar."""
    day = rng.randint(1, 31)
    if day < 20 or day == 30:
        ordinal = ORDINALS[day - 1 if day < 20 else 20]
    elif day == 20:
        ordinal = "twentieth"
    else:
        ordinal = f"{TENS[day // 10 - 2]} {ORDINALS[day % 10 - 1]}"
    month = rng.choice(MONTHS)
    year = rng.choice(["", "", f" nineteen {number(rng.randint(30, 99))}", " two thousand five",
                       " twenty twenty five", " twenty twenty six"])  # fmt: skip
    return rng.choice(
        [
            f"{month} {ordinal}{year}",
            f"the {ordinal} of {month}{year}",
            f"{rng.choice(WEEKDAYS)} the {ordinal}",
            f"{rng.choice(['next', 'this', 'on', 'last'])} {rng.choice(WEEKDAYS)}",
            rng.choice(["today", "tomorrow", "yesterday", "the day after tomorrow", "next week"]),
        ]
    )


def time_of_day(rng: random.Random) -> str:
    """A time as people say it."""
    hour = number(rng.randint(1, 12))
    return rng.choice(
        [
            f"{hour} o'clock",
            f"{hour} {rng.choice(['a m', 'p m', 'in the morning', 'in the afternoon'])}",
            f"half past {hour}",
            f"quarter {rng.choice(['to', 'past'])} {hour}",
            f"{hour} {rng.choice(['fifteen', 'thirty', 'forty five', 'oh five', 'ten', 'twenty'])}",
            rng.choice(["noon", "midnight", "in the morning", "in the evening", "afternoon"]),
        ]
    )


def spelling(rng: random.Random) -> str:
    """Letters, plain or with a spelling alphabet."""
    kind = rng.random()
    count = rng.randint(1, 6)
    letters = [rng.choice(list(LETTERS)) for _ in range(count)]
    if kind < 0.6:
        return " ".join(letters)
    if kind < 0.85:
        return " ".join(rng.choice(ALPHABET) for _ in range(count))
    return " ".join(f"{w[0]} as in {w}" for w in rng.sample(SPELLING_NAMES + ALPHABET, 2))


DRINKS = phrases(
    """latte|cappuccino|mocha|espresso|americano|coffee|iced coffee|iced latte|drip coffee|house coffee
    iced mocha|macchiato"""
)
AMOUNTS = ["", *phrases("some|a bit of|a little bit of|a lot of|lots of|no")]
MILKS = phrases("milk|cream|almond milk|soy milk|skim milk|whole milk|oat milk")
SWEETENERS = phrases("sugar|brown sugar|sweetener|honey")


def order(rng: random.Random) -> str:
    """An order at a coffee counter."""
    lead = rng.choice(
        phrases(
            """i want a|i'd like a|can i get a|can i have a|may i have a|get me a|give me a|make me a
            brew a|i would like a|a"""
        )
    )
    kinds = [
        rng.choice(["", "dark roast", "light roast", "medium roast"]),
        rng.choice(
            [
                "",
                "small",
                "medium",
                "large",
                "eight ounce",
                "twelve ounce",
                "sixteen ounce",
                "twenty ounce",
            ]
        ),
        rng.choice(["", "", "single shot", "double shot", "triple shot"]),
    ]
    rng.shuffle(kinds)
    blocks = rng.sample([MILKS, SWEETENERS], rng.choice([0, 1, 2]))
    extras = [f"{rng.choice(AMOUNTS)} {rng.choice(block)}" for block in blocks]
    tail = f"with {' and '.join(extras)}" if extras else ""
    return " ".join(" ".join([lead, *kinds, rng.choice(DRINKS), tail]).split())


def dialplan_phrases(folder: Path) -> list[str]:
    """What callers may say in YAML dialplans: every quoted string in lower-case words."""
    found: list[str] = []
    for path in sorted(folder.rglob("*.y*ml")):
        found += re.findall(r"\"([a-z][a-z' ]{1,59})\"", path.read_text(encoding="utf-8"))
    return list(dict.fromkeys(found))


class Caller:
    """Draws things callers say.

    Args:
        rng: Source of randomness.
        dialplans: Folder of sample applications, or None.
        alone: Nothing but the STEERING_WORDS, one by one.
    """

    def __init__(
        self, rng: random.Random, dialplans: Path | None = None, *, alone: bool = False
    ) -> None:
        self.rng = rng
        self.alone = alone
        self.commands = phrases(COMMANDS)
        self.yes_no = phrases(YES_NO)
        self.extra = dialplan_phrases(dialplans) if dialplans and dialplans.is_dir() else []

    def command(self) -> str:
        """A menu word or request."""
        base = self.rng.choice(self.extra if self.extra and self.rng.random() < 0.3 else self.commands)
        return self.rng.choice(TEMPLATES).format(a=base)

    def utterance(self) -> str:
        """Anything, in the proportions of telephone self-service."""
        draw, rng = self.rng.random(), self.rng
        if self.alone:
            return rng.choice(STEERING_WORDS)
        if draw < 0.14:
            return rng.choice(SHORT_WORDS)
        if draw < 0.34:
            return digit_string(rng)
        if draw < 0.50:
            return self.command()
        if draw < 0.60:
            return rng.choice(self.yes_no)
        if draw < 0.65:
            return money(rng)
        if draw < 0.70:
            return date(rng)
        if draw < 0.74:
            return time_of_day(rng)
        if draw < 0.82:
            return spelling(rng)
        if draw < 0.87:
            return number(int(10 ** rng.uniform(0, 5)))
        if draw < 0.93:
            return order(rng)
        return " ".join(rng.choice(self.commands) for _ in range(2))


def vocabulary() -> set[str]:
    """Every word the grammars above can produce that has a pronunciation."""
    caller = Caller(random.Random(0))
    blocks = [*caller.commands, *caller.yes_no, *DIGITS, *TEENS, *TENS, *ORDINALS, *MONTHS, *WEEKDAYS,
              *ALPHABET, *SPELLING_NAMES, *CURRENCIES, *LETTERS, "oh", "double", "triple", "hundred",
              "thousand", "million", "and", "point", "dot", "dash", "star", "pound", "hash", "at",
              "o'clock", "half", "quarter", "past", "noon", "midnight", "zed", "as", "in"]  # fmt: skip
    blocks += [template.replace("{a}", "") for template in TEMPLATES]
    blocks += [caller.utterance() for _ in range(4000)]
    blocks += [order(caller.rng) for _ in range(500)]
    return {word for block in blocks for word in block.split() if word in lexicon()}
