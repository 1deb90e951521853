"""Numbers that wrap on the wire, unwrapped (RFC 3550 section 5.1 and A.1)."""


def signed_difference(new: int, old: int, bits: int) -> int:
    """The shortest way from ``old`` to ``new`` on a ring of ``bits`` bits: negative is backwards."""
    half = 1 << (bits - 1)
    return ((new - old + half) & ((1 << bits) - 1)) - half


class _Unwrapper:
    """Extends a wrapping counter against the highest value seen so far."""

    __slots__ = ("_bits", "_highest")

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._highest: int | None = None

    @property
    def highest(self) -> int | None:
        """The highest extended value so far; None before the first."""
        return self._highest

    def peek(self, value: int) -> int:
        """The extended value that :meth:`unwrap` would return; nothing is learnt."""
        if self._highest is None:
            return value
        return self._highest + signed_difference(value, self._highest, self._bits)

    def unwrap(self, value: int) -> int:
        """The extended value nearest to the highest one so far; may be negative before a first wrap."""
        extended = self.peek(value)
        if self._highest is None or extended > self._highest:
            self._highest = extended
        return extended

    def restart(self) -> None:
        """Forget the past: the next value stands as it is (new SSRC, restarted sender)."""
        self._highest = None


class SequenceUnwrapper(_Unwrapper):
    """16-bit RTP sequence numbers to a number that never wraps."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(16)


class TimestampUnwrapper(_Unwrapper):
    """32-bit RTP timestamps (samples) to a number that never wraps."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(32)
