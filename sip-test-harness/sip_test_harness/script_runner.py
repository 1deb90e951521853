"""Runs a script: one call, turn by turn, with the checks that the script states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sip_test_harness.caller import Caller, CallerOptions
from sip_test_harness.clock import now_ns
from sip_test_harness.errors import (
    CallEndedError,
    CallFailedError,
    HarnessError,
    NetworkRefusedError,
    SyntaxRefusedError,
    UsageError,
    WaitTimeoutError,
)
from sip_test_harness.speech_text import speak_text
from sip_test_harness.wav_file import read_wav

if TYPE_CHECKING:
    from sip_test_harness.leg_options import LegEvent
    from sip_test_harness.measures import CallMeasures, MeasuredCall
    from sip_test_harness.offline_caller import OfflineCaller
    from sip_test_harness.script import Script, Turn
    from sip_test_harness.udp import Capture

OnProgress = Callable[[str, str], None]
OpenCaller = Callable[[str, CallerOptions], "Caller | OfflineCaller"]


@dataclass
class CallRun:
    """What came of a script: its measures, and the sentences that say what failed."""

    measures: CallMeasures
    failures: list[str]
    call: MeasuredCall
    capture: Capture
    script: Script
    turns_done: int = 0


@dataclass
class _Run:
    call: Caller | OfflineCaller
    script: Script
    progress: OnProgress
    failures: list[str] = field(default_factory=list)
    done: int = 0
    hang_up_expected: bool = False

    async def turn(self, turn: Turn) -> None:
        """Play one turn."""
        call, script = self.call, self.script
        if turn.wait_ms is not None:
            await call.sleep(turn.wait_ms / 1000)
            return
        if turn.expect_hang_up_s is not None:
            self.hang_up_expected = True
            try:
                await call.wait_ended(turn.expect_hang_up_s)
            except WaitTimeoutError:
                self.failures.append(
                    f"{turn.key}: the bot did not hang up within {turn.expect_hang_up_s:g} s"
                )
            return
        if turn.barge_in_ms is not None:
            heard_ns = await call.wait_bot_audible(script.turn_timeout_s)
            elapsed_s = (now_ns() - heard_ns) / 1e9
            await call.sleep(max(0.0, turn.barge_in_ms / 1000 - elapsed_s))
        elif turn.wait_for_bot and (script.greeting or call.media.utterances):
            await call.wait_bot_silent(turn.silence_ms or script.silence_ms, script.turn_timeout_s)
        if turn.pause_ms:
            await call.sleep(turn.pause_ms / 1000)
        self.progress("caller", turn.label)
        if turn.say is not None:
            await call.say(read_wav(turn.say), turn.label)
        elif turn.text is not None:
            await call.say(speak_text(turn.text), turn.label)
        elif turn.dtmf is not None:
            await call.press(turn.dtmf, mode=turn.dtmf_mode)
        elif turn.hang_up:
            await call.hang_up()


async def run_script(
    script: Script,
    options: CallerOptions,
    *,
    target: str = "",
    on_progress: OnProgress | None = None,
    tolerate_refusal: bool = False,
    open_caller: OpenCaller = Caller,
) -> CallRun:
    """Place the call of a script and measure it; never longer than the script's limit.

    Args:
        script: what to do.
        options: the caller; its ``limit_s`` is replaced by the script's.
        target: overrides the script's target.
        on_progress: called with (who, what) as things happen.
        tolerate_refusal: a refused call is no failure by itself (its status is checked later).
        open_caller: makes the caller; one of another kind calls a bot on virtual time.

    Raises:
        UsageError: no target, or a WAV file vanished.
        NetworkRefusedError: the target is outside 127.0.0.0/8.
    """
    progress = on_progress or (lambda _who, _what: None)
    target = target or script.target
    if not target:
        raise UsageError("no target: give sip:user@host:port, or 'target' in the script")
    options = replace(options, limit_s=script.limit_s, headers=[*options.headers, *script.headers])
    async with open_caller(target, options) as call:
        call.on_event = lambda event: _show(progress, event)
        run = _Run(call, script, progress)
        try:
            await call.invite(
                late_offer=script.late_offer, timeout_s=min(32.0, max(1.0, script.limit_s - 1.0))
            )
            for turn in script.turns:
                await run.turn(turn)
                run.done += 1
            if call.state == "confirmed" and script.turns:
                await _last_answer(call, script)
        except CallFailedError as error:
            if not (tolerate_refusal and error.status):
                run.failures.append(str(error))
        except CallEndedError as error:
            run.failures.append(f"{_where(run)}: {error}")
        except WaitTimeoutError as error:
            run.failures.append(f"{_where(run)}: {error}")
        except (SyntaxRefusedError, NetworkRefusedError) as error:
            run.failures.append(f"the bot's answer: {error}")
        except UsageError:
            raise
        except HarnessError as error:
            run.failures.append(str(error))
        if run.hang_up_expected and call.ended_by != "bot":
            run.failures.append(f"the call was ended by {call.ended_by or 'nobody'}, not the bot")
    if "limit of" in call.end_reason:
        run.failures.append(call.end_reason)
    measures = call.measures()
    if call.media.error is not None:
        run.failures.append(f"the sender failed: {call.media.error!r}")
    run.failures += _unmet(script, measures, run.done)
    return CallRun(measures, list(dict.fromkeys(run.failures)), call, call.capture, script, run.done)


async def _last_answer(call: Caller | OfflineCaller, script: Script) -> None:
    """Hear the answer to the last words out, then hang up."""
    last = script.turns[-1]
    if last.says:
        try:
            await call.wait_bot_silent(script.silence_ms, script.turn_timeout_s)
        except CallEndedError:
            return  # an answer that ends with the bot hanging up is an answer
    await call.hang_up()


def _where(run: _Run) -> str:
    turns = run.script.turns
    return turns[run.done].key if run.done < len(turns) else "after the last turn"


def _show(progress: OnProgress, event: LegEvent) -> None:
    progress("sip", f"{event.kind} {event.text}".strip())


def _unmet(script: Script, measures: CallMeasures, done: int) -> list[str]:
    """Compare the turns that were played with what the script demands of them."""
    out: list[str] = []
    spoken = [turn for turn in script.turns[:done] if turn.says]
    for turn, measure in zip(spoken, measures.turns, strict=False):
        onset_ms, stop_ms = measure.response_onset_ms, measure.barge_in_stop_ms
        if turn.onset_within_ms is not None and (onset_ms is None or onset_ms > turn.onset_within_ms):
            said = "no answer" if onset_ms is None else f"answer after {onset_ms:g} ms"
            out.append(f"{turn.key}: {said}, {turn.onset_within_ms:g} ms allowed")
        if turn.stop_within_ms is not None and (stop_ms or 0.0) > turn.stop_within_ms:
            out.append(
                f"{turn.key}: the bot spoke on for {stop_ms:g} ms, {turn.stop_within_ms:g} allowed"
            )
    timed = any(turn.onset_within_ms or turn.stop_within_ms for turn in spoken)
    if timed and measures.void:
        out.append(f"void: {measures.void_reason}")
    return out
