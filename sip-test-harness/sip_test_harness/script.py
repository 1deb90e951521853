"""The script of a call: what the caller does, turn by turn.

A YAML file::

    target: sip:bank@127.0.0.1:5060     # may be given on the command line instead
    silence_ms: 700                      # the bot has finished after this much silence
    turn_timeout_s: 20                   # how long to wait for the bot before each turn
    limit_s: 90                          # the call is hung up after this time
    turns:
      - say: balance.wav                 # 8 kHz mono, found beside the script
        onset_within_ms: 1500            # fails the run when the answer comes later
      - text: "goodbye"                  # by flite or espeak-ng
      - dtmf: "1234#"
      - say: stop.wav
        barge_in_ms: 800                 # 800 ms after the bot has begun to speak
      - expect_hang_up_s: 10             # the bot must end the call within 10 s

A scenario is a script with ``name``, ``profile``, ``seed`` and ``expect`` (see ``check``)::

    profile: mobile
    seed: 3
    expect:
      greeting_within_ms: 150
      onset_p95_ms_max: 450
      wire_gaps_max: 0
      text: ["balance is"]               # the bot's record must hold each of these
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sip_test_harness.check import Expectations
from sip_test_harness.sip_message import Header
from sip_test_harness.voice import Voice

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Turn:
    """One turn. Exactly one of the first six fields is set; the others say when and how.

    Args:
        say: WAV file to speak.
        text: words to speak by the system's synthesiser (flite or espeak-ng).
        dtmf: keys to press.
        wait_ms: only let time pass.
        hang_up: end the call.
        expect_hang_up_s: the bot must end the call within this time.
        dtmf_mode: rfc4733, inband or info.
        barge_in_ms: start this long after the bot has begun to speak, not after it has finished.
        pause_ms: further wait before speaking.
        wait_for_bot: False speaks at once.
        silence_ms: overrides the script's value for the wait before this turn.
        onset_within_ms: the bot's answer must begin within this time.
        stop_within_ms: after a barge-in the bot must be silent within this time.
        key: where the turn stands, for messages.
    """

    say: str | None = None
    text: str | None = None
    dtmf: str | None = None
    wait_ms: float | None = None
    hang_up: bool | None = None
    expect_hang_up_s: float | None = None
    dtmf_mode: str = "rfc4733"
    barge_in_ms: float | None = None
    pause_ms: float = 0.0
    wait_for_bot: bool = True
    silence_ms: float | None = None
    onset_within_ms: float | None = None
    stop_within_ms: float | None = None
    key: str = ""

    @property
    def says(self) -> bool:
        """Whether the caller speaks or keys in this turn."""
        return self.say is not None or self.text is not None or self.dtmf is not None

    @property
    def label(self) -> str:
        """What the turn does, for people."""
        if self.say is not None:
            return f"say {Path(self.say).name}"
        if self.text is not None:
            return f"say '{self.text}'"
        if self.dtmf is not None:
            return f"dtmf {self.dtmf}"
        if self.wait_ms is not None:
            return f"wait {self.wait_ms:g} ms"
        return "hang up" if self.hang_up else f"expect hang-up in {self.expect_hang_up_s:g} s"


@dataclass(frozen=True)
class Script:
    """A whole call."""

    turns: tuple[Turn, ...]
    target: str = ""
    silence_ms: float = 700.0
    turn_timeout_s: float = 20.0
    limit_s: float = 120.0
    late_offer: bool = False
    greeting: bool = True
    headers: tuple[Header, ...] = ()
    name: str = ""
    profile: str = "none"
    seed: int = 1
    voice: Voice = field(default_factory=Voice)
    expect: Expectations = field(default_factory=Expectations)
    file: str = ""
