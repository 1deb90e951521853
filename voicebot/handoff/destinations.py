"""Which telephone numbers a call may be handed to.

Toll fraud begins with a destination that somebody else chose: everything is refused that is not allowed
by name (a host, a country), and emergency, satellite and premium numbers are refused even then.
Sources: ITU-T E.164 list of assigned country codes; the numbering plans of the countries named below.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

NumberKind = Literal[
    "extension", "geographic or mobile", "emergency", "satellite or global network", "premium", "name"
]

_SIP_URI: Final = re.compile(
    r"sip:(?:(?P<user>[A-Za-z0-9_.!~*'()+\-]{1,64})@)?(?P<host>[A-Za-z0-9.\-]{1,253})"
    r"(?::[0-9]{1,5})?(?:;transport=(?:udp|tcp|tls))?",
    re.IGNORECASE,
)
_SEPARATORS: Final = str.maketrans("", "", "-.()")
_DIGITS: Final = re.compile(r"\+?[0-9]+")
MAX_EXTENSION_DIGITS: Final = 6

EMERGENCY: Final = frozenset({"000", "08"}) | {
    str(number)
    for number in (
        *(15, 17, 18, 100, 101, 102, 103, 108, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 122),
        *(123, 131, 190, 191, 192, 193, 194, 195, 197, 198, 199, 901, 902, 903, 911, 912, 913, 917),
        *(933, 988, 989, 990, 991, 992, 993, 994, 995, 996, 997, 998, 999),
    )
}
# Shared cost, universal and premium international services, satellite and network codes.
_GLOBAL_CODES: Final = ("800", "808", "870", "878", "881", "882", "883", "888", "979", "991")
# Country code, then the prefixes of premium, personal and mass-call services behind it.
_PREMIUM: Final = {
    "1": ("900", "976", "500", "521", "522", "533", "544", "566", "577", "588"),
    "31": ("900", "906", "909"),
    "32": ("90", "70"),
    "33": ("81", "82", "89"),
    "34": ("803", "806", "807", "905"),
    "39": ("89", "16", "178", "199"),
    "41": ("900", "901", "906"),
    "43": ("900", "901", "930", "931", "939"),
    "44": ("70", "871", "872", "873", "9"),
    "45": ("90",),
    "46": ("900", "939", "944"),
    "47": ("82",),
    "48": ("70",),
    "49": ("137", "138", "180", "900"),
    "61": ("190", "19"),
}
# Area codes of +1 that are neither the United States nor Canada: billed like abroad.
_CARIBBEAN: Final = frozenset(
    str(area)
    for area in (
        *(242, 246, 264, 268, 284, 340, 345, 441, 473, 649, 658, 664, 670, 671, 684, 721, 758, 767, 784),
        *(787, 809, 829, 849, 868, 869, 876, 939),
    )
)


@dataclass(frozen=True, slots=True)
class DestinationRules:
    """What the installation allows.

    Attributes:
        enabled: Whether calls may be placed at all; off unless somebody switches it on.
        hosts: SIP hosts that may be reached, literally.
        countries: E.164 country codes without plus; ``1`` means the United States and Canada only.
        home_country: Country code for numbers that begin with a single 0; empty: they are refused.
        extensions: Whether short internal numbers and names (``sip:desk@pbx``) may be reached.
    """

    enabled: bool = False
    hosts: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    home_country: str = ""
    extensions: bool = True


def refusal(uri: str, rules: DestinationRules) -> str:
    """Why ``uri`` must not be called or referred to; empty when it may be.

    Args:
        uri: ``sip:user@host:port``; anything with headers or other parameters is refused.
        rules: What the installation allows.
    """
    if not rules.enabled:
        return "outgoing calls are switched off"
    found = _SIP_URI.fullmatch(uri)
    if not found:
        return "not a plain sip: URI"
    if found["host"].lower() not in {host.lower() for host in rules.hosts}:
        return "the host is not on the list"
    return number_refusal(found["user"] or "", rules)


def number_refusal(user: str, rules: DestinationRules) -> str:
    """Why this user part (name, extension, number) must not be called; empty: it may."""
    kind, number = classify(user, home_country=rules.home_country)
    if kind in {"extension", "name"}:
        return "" if rules.extensions else "extensions are not allowed"
    if kind != "geographic or mobile":
        return f"{kind} number"
    if not number:
        return "national numbers need a home country"
    if not any(number.startswith(code) for code in rules.countries):
        return "the country is not on the list"
    return ""


def classify(user: str, *, home_country: str = "") -> tuple[NumberKind, str]:
    """Tell what a user part is, and its E.164 digits without plus ('' where it is no such number)."""
    text = user.translate(_SEPARATORS)
    if not _DIGITS.fullmatch(text):
        # Words with many digits in them are numbers in disguise to some gateways.
        return ("premium", "") if sum(c.isdigit() for c in text) > MAX_EXTENSION_DIGITS else ("name", "")
    if text.lstrip("+") in EMERGENCY or text.lstrip("+0") in EMERGENCY:
        return "emergency", ""
    if text.startswith("+"):
        return _international(text[1:])
    for prefix in ("00", "011"):
        if text.startswith(prefix):
            return _international(text[len(prefix) :])
    if text.startswith("0"):
        return _international(home_country + text[1:]) if home_country else ("geographic or mobile", "")
    if len(text) <= MAX_EXTENSION_DIGITS:
        return "extension", ""
    return _international(home_country + text) if home_country else ("geographic or mobile", "")


def _international(digits: str) -> tuple[NumberKind, str]:
    if digits[2:] in EMERGENCY or digits[1:] in EMERGENCY:
        return "emergency", digits
    if digits.startswith(_GLOBAL_CODES):
        return "satellite or global network", digits
    if digits.startswith("1") and digits[1:4] in _CARIBBEAN:
        return "premium", digits
    for country, prefixes in _PREMIUM.items():
        if digits.startswith(tuple(country + prefix for prefix in prefixes)):
            return "premium", digits
    return "geographic or mobile", digits
