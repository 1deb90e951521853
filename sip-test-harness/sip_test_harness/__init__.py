"""A scripted telephone caller that measures a voice bot at the RTP wire.

    script, wav ──▶ script_runner ──▶ Caller ──▶ sip_endpoint ──SIP──▶ ┐
                                        │                              │ the bot
                                        └──▶ MediaSession ──RTP──▶ ◀── ┘
                                                │
    report.json, call.wav, call.pcap ◀── measures ◀── what was sent, what arrived and when

The harness is an independent oracle: it shares no code with the bot.
"""

from sip_test_harness.caller import Caller, CallerOptions
from sip_test_harness.errors import (
    CallEndedError,
    CallFailedError,
    HarnessError,
    NetworkRefusedError,
    ScriptError,
    UsageError,
    WaitTimeoutError,
)
from sip_test_harness.measures import CallMeasures, TurnMeasure
from sip_test_harness.media import MediaOptions
from sip_test_harness.scripted_agent import AgentLeg, AgentOptions, ScriptedAgent
from sip_test_harness.sip_digest import Credentials
from sip_test_harness.telephone_event import KeyShape
from sip_test_harness.wav_file import read_wav, write_wav

__all__ = [
    "AgentLeg",
    "AgentOptions",
    "CallEndedError",
    "CallFailedError",
    "CallMeasures",
    "Caller",
    "CallerOptions",
    "Credentials",
    "HarnessError",
    "KeyShape",
    "MediaOptions",
    "NetworkRefusedError",
    "ScriptError",
    "ScriptedAgent",
    "TurnMeasure",
    "UsageError",
    "WaitTimeoutError",
    "read_wav",
    "write_wav",
]
