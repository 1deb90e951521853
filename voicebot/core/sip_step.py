"""What is kept of a SIP dialog: enough to draw its ladder, nothing a peer wrote."""

import msgspec

MAX_STEPS = 64


class SipStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One SIP message of the caller's dialog, ``at_ms`` after the INVITE; ``sent``: by us."""

    at_ms: int
    text: str
    sent: bool = False
