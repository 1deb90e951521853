"""Replaying recorded callers against a running bot.

Two timings: *turns* cuts the caller's speech into turns and waits for the new bot before each;
*verbatim* sends every packet at its recorded time, with its recorded losses and jitter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sip_test_harness.caller import Caller, CallerOptions
from sip_test_harness.clock import now_ns
from sip_test_harness.errors import (
    CallEndedError,
    CallFailedError,
    SyntaxRefusedError,
    UsageError,
    WaitTimeoutError,
)
from sip_test_harness.recorded_caller import RecordedCaller, turns_of
from sip_test_harness.rtp_packet import RtpPacket
from sip_test_harness.script import Script
from sip_test_harness.script_runner import CallRun, OpenCaller

if TYPE_CHECKING:
    from sip_test_harness.offline_caller import OfflineCaller


def renumbered(
    packets: Sequence[tuple[float, RtpPacket]], ssrc: int, *, event_from: int | None, event_to: int
) -> list[tuple[float, RtpPacket]]:
    """Return packets under another SSRC and event type; numbers and times are kept."""
    return [
        (
            at_ms,
            RtpPacket(
                event_to if packet.payload_type == event_from else packet.payload_type,
                packet.sequence_number,
                packet.timestamp,
                ssrc,
                packet.payload,
                packet.marker,
            ),
        )
        for at_ms, packet in packets
    ]


async def run_replay(
    recorded: RecordedCaller,
    options: CallerOptions,
    target: str,
    *,
    timing: str = "turns",
    silence_ms: float = 700.0,
    turn_timeout_s: float = 15.0,
    limit_s: float = 180.0,
    open_caller: OpenCaller = Caller,
) -> CallRun:
    """Call a bot with a recorded caller.

    Args:
        recorded: who calls.
        options: ports, impairments, seed; the codec is the recording's.
        target: the bot.
        timing: ``turns`` waits for the bot before each turn; ``verbatim`` keeps the recorded times.
        silence_ms: the bot has finished after this silence.
        turn_timeout_s: a turn begins anyway after this time, and the run notes it.
        limit_s: the call is hung up after this time.
        open_caller: makes the caller; one of another kind calls a bot on virtual time.

    Raises:
        UsageError: unknown timing.
        NetworkRefusedError: the target is outside 127.0.0.0/8.
    """
    if timing not in {"turns", "verbatim"}:
        raise UsageError(f"timing is 'turns' or 'verbatim', not {timing!r}")
    media = replace(options.media, codec=recorded.codec)
    options = replace(options, media=media, limit_s=limit_s)
    failures: list[str] = []
    done = 0
    async with open_caller(target, options) as call:
        try:
            await call.invite()
            if timing == "verbatim":
                await _verbatim(call, recorded)
                await call.wait_bot_silent(max(silence_ms, 1500.0), turn_timeout_s, after_audio=False)
            else:
                done = await _turns(
                    call, recorded, failures, silence_ms=silence_ms, timeout_s=turn_timeout_s
                )
                await call.wait_bot_silent(silence_ms, turn_timeout_s)
            await call.hang_up()
        except CallEndedError:
            pass  # a bot may end the call once it has what it wants; the comparison judges that
        except (CallFailedError, WaitTimeoutError, SyntaxRefusedError) as error:
            failures.append(str(error))
    if "limit of" in call.end_reason:
        failures.append(call.end_reason)
    if call.media.error is not None:
        failures.append(f"the sender failed: {call.media.error}")
    script = Script((), target=target, name=recorded.name, file=recorded.name)
    return CallRun(call.measures(), failures, call, call.capture, script, done)


async def _verbatim(call: Caller | OfflineCaller, recorded: RecordedCaller) -> None:
    await call.wait_media()
    stream = call.media.stream
    assert stream is not None
    if recorded.packets:
        packets = renumbered(
            recorded.packets,
            stream.ssrc,
            event_from=recorded.event_type,
            event_to=call.media.event_type or 101,
        )
        await call.finish(call.media.play_packets(packets, "recorded packets"))
    else:
        await call.say(recorded.samples, "recorded sound")


async def _turns(
    call: Caller | OfflineCaller,
    recorded: RecordedCaller,
    failures: list[str],
    *,
    silence_ms: float,
    timeout_s: float,
) -> int:
    done = 0
    for turn in turns_of(recorded):
        try:
            if turn.barge_in_ms is not None:
                heard_ns = await call.wait_bot_audible(timeout_s)
                elapsed_s = (now_ns() - heard_ns) / 1e9
                # The sound that is to be heard at that time begins behind the turn's lead.
                await call.sleep(max(0.0, (turn.barge_in_ms - turn.lead_ms) / 1000 - elapsed_s))
            else:
                await call.wait_bot_silent(silence_ms, timeout_s)
        except WaitTimeoutError as error:
            failures.append(f"before turn {done + 1} ({turn.label}): {error}")
        if turn.samples is not None:
            await call.say(turn.samples, turn.label, meant=turn.meant)
        else:
            await call.press(turn.keys)
        done += 1
    return done
