"""Whether the bot's words ran on: its prompts against the same prompts when nobody disturbs them.

    undisturbed  ── prompt ─────────────
    heard        ── pro ┤ pause ├ mpt ──     paused, and resumed: nothing left out, nothing said twice
    heard        ── pro ┤                    cut

Sound is compared with sound, so that a bot need not tell what it did, and cannot tell it wrongly. Where
two calls have other words (another time of day, another course), there is nothing to compare.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ: Final = 8000
BLOCK: Final = 320
"""40 ms: long enough to tell sounds apart, short enough to find where a pause begins."""
FINE: Final = 80
PATTERN: Final = 3200
"""What is looked for at another place: 400 ms are not found in the wrong syllable."""
SEARCH_S: Final = 4.0
ALIKE: Final = 0.6
ACTIVE_PEAK: Final = 700
"""About -33 dBFS: quieter parts say nothing (a report's sound has 8 bits)."""
SHORTEST_PAUSE: Final = 60 * 8
BETWEEN_SENTENCES: Final = 200 * 8
TOLERANCE_MS: Final = 60.0
"""A fade of 20 to 40 ms in front of a pause is no word left out."""
CUT_MS: Final = 300.0
"""So much of a prompt has to be missing, in so much silence, before it counts as cut."""


@dataclass(frozen=True)
class Interruption:
    """A place where the bot's words did not run on.

    ``at_ms`` lies in the heard sound. A pause knows its length, how much of the prompt was left out at
    it and how much else was said in it; a cut prompt has no ``pause_ms``.
    """

    at_ms: float
    pause_ms: float | None
    left_out_ms: float = 0.0
    said_twice_ms: float = 0.0

    @property
    def resumed_right(self) -> bool | None:
        """Whether the prompt went on where it had stopped; None for a cut one."""
        if self.pause_ms is None:
            return None
        return self.left_out_ms <= TOLERANCE_MS and self.said_twice_ms <= TOLERANCE_MS


@dataclass(frozen=True)
class Flow:
    """How one prompt was heard: how much of it, in ms, and where it did not run on."""

    prompt_ms: float
    interruptions: tuple[Interruption, ...]


def flows(
    reference: NDArray[np.int16],
    reference_turns_ms: Sequence[float],
    heard: NDArray[np.int16],
    heard_turns_ms: Sequence[float],
    lost_ms: Sequence[float] = (),
) -> list[Flow]:
    """Compare all the prompts of a call with those of the undisturbed one.

    Args:
        reference: the bot's sound, 8 kHz, undisturbed.
        reference_turns_ms: when the caller's turns began in it; what the bot says between two of
            them is a prompt.
        heard: the bot's sound of the call in question.
        heard_turns_ms: when the caller's turns began in it; what was not meant for the bot is no turn.
        lost_ms: where packets of 20 ms of the heard sound were lost: nobody knows what was in them.

    Returns:
        A flow for each prompt that is the same in both calls.
    """
    out: list[Flow] = []
    known = np.ones(len(heard), np.bool_)
    for at_ms in lost_ms:
        known[max(0, round(at_ms * 8) - FINE // 2) : max(0, round((at_ms + 20) * 8) + FINE // 2)] = False
    for wanted, found in zip(
        _between(reference, reference_turns_ms), _between(heard, heard_turns_ms), strict=False
    ):
        flow = _flow(*wanted, *found, known)
        if flow is not None:
            out.append(flow)
    return out


def _between(
    sound: NDArray[np.int16], turns_ms: Sequence[float]
) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Return (start, end, whole sound) between the turns, in samples."""
    whole = sound.astype(np.float32)
    marks = [0, *(round(at_ms * 8) for at_ms in turns_ms), len(sound)]
    return [(start, end, whole) for start, end in itertools.pairwise(marks)]


def _flow(
    start: int,
    end: int,
    reference: NDArray[np.float32],
    heard_start: int,
    heard_end: int,
    heard: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> Flow | None:
    blocks = [
        at
        for at in range(start, end - BLOCK + 1, BLOCK)
        if np.abs(reference[at : at + BLOCK]).max() > ACTIVE_PEAK
    ]
    if len(blocks) * BLOCK < PATTERN:
        return None
    offset = None
    for at in blocks[: 5 * (PATTERN // BLOCK) : PATTERN // BLOCK]:
        place = _find(reference[at : min(at + PATTERN, end)], heard[heard_start:heard_end])
        if place is not None:
            offset = heard_start + place - at
            break
    if offset is None:
        return None
    return _Walk(reference, heard, known, heard_end, blocks).walk(offset)


class _Walk:
    """Goes through a prompt block by block and looks where in the heard sound each is."""

    def __init__(
        self,
        reference: NDArray[np.float32],
        heard: NDArray[np.float32],
        known: NDArray[np.bool_],
        heard_end: int,
        blocks: Sequence[int],
    ) -> None:
        self._reference = reference
        self._heard = heard
        self._known = known
        self._end = heard_end
        self._blocks = blocks

    def walk(self, offset: int) -> Flow:
        """Return the flow of a prompt that begins at this offset."""
        found: list[Interruption] = []
        last: int | None = None
        missing = 0
        index = 0
        while index < len(self._blocks):
            at = self._blocks[index]
            if self._alike(at, offset):
                last, missing = at + BLOCK, 0
                index += 1
                continue
            missing += 1
            if last is not None and missing in {3, 8, 13}:
                moved = self._further_on(index - missing + 1, last + offset, offset)
                if moved is not None:
                    begun = self._blocks[index - missing + 1]
                    index, shift = moved
                    # Between sentences a bot may take its time: a tool's answer comes when it comes.
                    if begun - last < BETWEEN_SENTENCES:
                        found.append(self._pause(last, self._blocks[index], offset, shift))
                    offset, missing = offset + shift, 0
                    continue
            index += 1
        cut = None if last is None else self._cut(last, offset, missing)
        length_ms = (self._blocks[-1] + BLOCK - self._blocks[0]) / 8
        return Flow(round(length_ms, 1), (*found, cut) if cut else tuple(found))

    def _alike(self, at: int, offset: int) -> bool:
        there = self._heard[max(0, at + offset) : at + offset + BLOCK]
        if at + offset < 0 or len(there) < BLOCK or at + offset + BLOCK > self._end:
            return False
        here = self._reference[at : at + BLOCK]
        power = float(np.sqrt((here @ here) * (there @ there)))
        return power > 0 and float(here @ there) / power >= ALIKE

    def _further_on(self, index: int, heard_at: int, offset: int) -> tuple[int, int] | None:
        """Return the first block that is found later than expected, and by how much later."""
        until = min(self._end, heard_at + round(SEARCH_S * RATE_HZ))
        for ahead in range(index, min(index + 10, len(self._blocks))):
            at = self._blocks[ahead]
            pattern = self._reference[at : at + PATTERN]
            place = _find(pattern, self._heard[max(0, heard_at - BLOCK) : until])
            if place is None:
                continue
            shift = max(0, heard_at - BLOCK) + place - at - offset
            if shift >= SHORTEST_PAUSE and self._alike(at, offset + shift):
                return ahead, shift
        return None

    def _pause(self, last: int, first: int, offset: int, shift: int) -> Interruption:
        """Describe the pause between two parts of a prompt, 10 ms by 10 ms."""
        left_out = 0
        for at in range(last, first, FINE):
            here = self._reference[at : at + FINE]
            places = (at + offset, at + offset + shift)
            there = [self._piece(place) for place in places]
            told = all(self._known[max(0, place) : max(0, place + FINE)].all() for place in places)
            loud = told and np.abs(here).max() > ACTIVE_PEAK
            left_out += bool(loud and not any(_same(here, other) for other in there))
        gap = self._heard[max(0, last + offset) : max(0, first + offset + shift)]
        pieces = len(gap) // FINE
        loud_pieces = (
            int((np.abs(gap[: pieces * FINE]).reshape(pieces, FINE).max(axis=1) > ACTIVE_PEAK).sum())
            if pieces
            else 0
        )
        wanted = sum(
            bool(np.abs(self._reference[at : at + FINE]).max() > ACTIVE_PEAK)
            for at in range(last, first, FINE)
        )
        twice_ms = max(0, loud_pieces - wanted) * 10.0
        return Interruption(
            at_ms=round((last + offset) / 8, 1),
            pause_ms=round(max(0.0, shift / 8 - twice_ms + left_out * 10.0), 1),
            left_out_ms=left_out * 10.0,
            said_twice_ms=twice_ms,
        )

    def _piece(self, at: int) -> NDArray[np.float32]:
        return self._heard[at : at + FINE] if at >= 0 else self._heard[:0]

    def _cut(self, last: int, offset: int, missing: int) -> Interruption | None:
        if missing * BLOCK < CUT_MS * 8:
            return None
        silent = self._heard[max(0, last + offset) : self._end]
        if len(silent) < CUT_MS * 8:
            return None  # the caller's next turn came into it: that was an answer
        if np.abs(silent[BLOCK : round(CUT_MS * 8)]).max() > ACTIVE_PEAK:
            return None  # it went on with other words
        return Interruption(round((last + offset) / 8, 1), None)


def _same(here: NDArray[np.float32], there: NDArray[np.float32]) -> bool:
    if len(there) < len(here):
        return False
    return float(np.abs(here - there).mean()) < 0.35 * float(np.abs(here).mean())


def _find(pattern: NDArray[np.float32], sound: NDArray[np.float32]) -> int | None:
    """Return where the pattern is found in the sound, None when nothing is alike."""
    length = len(pattern)
    if length < BLOCK or len(sound) < length:
        return None
    size = 1 << (len(sound) + length - 1).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(pattern, size))
    match = np.fft.irfft(spectrum, size)[: len(sound) - length + 1]
    energy = np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** 2)])
    window = np.sqrt(np.maximum(energy[length:] - energy[:-length], 1.0))
    score = match / (window * float(np.sqrt(pattern @ pattern) + 1.0))
    best = int(np.argmax(score))
    return best if score[best] >= ALIKE else None
