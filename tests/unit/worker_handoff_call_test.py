"""A call core whose transfers go by the handoff machine."""

from voicebot.config.settings import BudgetSettings, HandoffSettings, TurnSettings
from voicebot.dialogue.actions import CallTool, StopListening, StoreTurn, TransferCall
from voicebot.dialogue.events import DigitPressed, ToolFinished, TransferFinished
from voicebot.link.messages import (
    Bridge,
    Clear,
    Dial,
    Dtmf,
    Hangup,
    LegDtmf,
    LegEnded,
    Played,
    Result,
    Resume,
    Start,
    Stop,
    Transfer,
    TransferProgress,
    Unbridge,
)
from voicebot.worker.effects import (
    BeginSynthesis,
    ConsoleCommand,
    HandoffNews,
    LegSpeech,
    SpeechAudio,
    SpeechDone,
    ToEdge,
)
from voicebot.worker.handoff_call import HOLD_MUSIC, HandoffCall, HandoffRules, QueueTarget

DESK = "sip:2000@127.0.0.1"


TAKEN_OVER = []


class Script:
    """A dialogue that hands over at once and keeps what it is told."""

    def __init__(self, mode):
        self.mode = mode
        self.told = []

    def start(self):
        return [
            StoreTurn(
                turn=0, who="caller", text="my card", intent="block_card", slots={"account": "12345678"}
            ),
            StoreTurn(turn=1, who="caller", text="[redacted]", slots={"passcode": "[redacted]"}),
            CallTool(request="t1", tool="check_passcode", arguments={}, idempotency_key="k"),
            StopListening(),
        ]

    def handle(self, event):
        self.told.append(event)
        if isinstance(event, ToolFinished):
            return [TransferCall(request="r1", uri=DESK, mode=self.mode, reason="asked")]
        return []

    def snapshot(self):
        return {"wait": {"kind": "transfer", "request": "r1"}} if self.told is TAKEN_OVER else {}

    def resume(self):
        return []

    def fork(self):
        return self


class Quiet:  # a detector that hears nothing
    def feed(self, pcm):
        return []

    def reset(self):
        pass


def call(mode="warm", agents="sip", may_call=lambda uri: "", may_call_back=lambda number: True):
    script = Script(mode)
    rules = HandoffRules(
        HandoffSettings(agents=agents),
        (QueueTarget("general", DESK, "warm"),),
        sensitive=frozenset({"passcode"}),
        may_call=may_call,
        may_call_back=may_call_back,
    )
    core = HandoffCall(TurnSettings(), BudgetSettings(), Quiet(), lambda start: script, rules)
    core.handle(Start(call_id="c1", session_id="s1", caller="+44207", called="bank"), 0.0)
    effects = core.handle(ToolFinished(request="t1", outcome="ok"), 100.0)
    return core, script, effects


def sent(effects, kind):
    return [e.message for e in effects if isinstance(e, ToEdge) and isinstance(e.message, kind)]


def of(effects, kind):
    return [e for e in effects if isinstance(e, kind)]


def test_warm_plays_music_briefs_and_bridges():
    core, script, effects = call()
    (dial,) = sent(effects, Dial)
    assert not sent(effects, Transfer)
    assert [s.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    (begin,) = [n for n in of(effects, HandoffNews) if n.stage == "begin"]
    assert begin.context.verified == "yes" and begin.context.slots == {"account": "12345678"}
    assert begin.context.queue == "general" and "[redacted]" not in begin.context.summary
    assert dial.headers["X-Handoff-ID"] == begin.handoff_id and "User-to-User" in dial.headers
    music = of(effects, BeginSynthesis)[0].utterance
    core.handle(SpeechAudio(music, b"\xff" * 800), 110.0)
    core.handle(SpeechDone(music), 111.0)
    effects = core.handle(Played(utterance=music, played_ms=100, finished=True), 300.0)
    assert [s.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    effects = core.handle(Result(request=dial.request, ok=True, code=200), 2000.0)
    (speech,) = of(effects, LegSpeech)
    assert speech.leg == dial.leg and "Press 1" in speech.text
    effects = core.handle(LegDtmf(leg=dial.leg, digit="1"), 4000.0)
    assert sent(effects, Clear) and [b.leg for b in sent(effects, Bridge)] == [dial.leg]
    core.handle(Result(request=sent(effects, Bridge)[0].request, ok=True), 4010.0)
    assert not [e for e in script.told if isinstance(e, TransferFinished)]
    core.handle(LegEnded(leg=dial.leg, code=200), 60_000.0)
    (over,) = [e for e in script.told if isinstance(e, TransferFinished)]
    assert (over.request, over.outcome, over.reason) == ("r1", "bridged", "colleague hung up")


def test_a_busy_desk_returns_the_caller_with_the_status():
    core, script, effects = call()
    (dial,) = sent(effects, Dial)
    core.handle(Result(request=dial.request, ok=False, code=486, reason="Busy Here"), 500.0)
    (over,) = [e for e in script.told if isinstance(e, TransferFinished)]
    assert (over.outcome, over.sip_code, over.reason) == ("returned", 486, "busy")
    core.handle(Dtmf(digit="5"), 600.0)
    assert [e.digit for e in script.told if isinstance(e, DigitPressed)] == ["5"]


def test_keys_of_a_caller_on_hold_are_not_the_dialogues():
    core, script, _ = call()
    core.handle(Dtmf(digit="0"), 600.0)
    assert not [e for e in script.told if isinstance(e, DigitPressed)]


def test_silence_of_the_edge_ends_by_the_deadline():
    core, script, _ = call()
    due = core.next_deadline_ms()
    core.advance(due)
    (over,) = [e for e in script.told if isinstance(e, TransferFinished)]
    assert over.sip_code == 408 and due == 100.0 + 30_000


def test_blind_sends_a_refer_and_waits_for_its_end():
    core, script, effects = call("blind")
    (refer,) = sent(effects, Transfer)
    assert refer.uri == DESK and not of(effects, BeginSynthesis)
    core.handle(TransferProgress(request=refer.request, code=503, reason="No", final=True), 900.0)
    (over,) = [e for e in script.told if isinstance(e, TransferFinished)]
    assert (over.outcome, over.sip_code) == ("failed", 503)


def test_a_forbidden_destination_never_reaches_the_edge():
    _, script, effects = call(may_call=lambda uri: "premium number")
    assert not sent(effects, Dial | Transfer)
    assert script.told[-1].reason == "premium number"


def test_the_caller_hangs_up_during_the_brief():
    """The leg is hung up and the record closed."""
    core, _, effects = call()
    (dial,) = sent(effects, Dial)
    core.handle(Result(request=dial.request, ok=True, code=200), 2000.0)
    effects = core.handle(Stop(reason="caller hung up"), 3000.0)
    assert [u.leg for u in sent(effects, Unbridge)] == [dial.leg]
    (end,) = [n for n in of(effects, HandoffNews) if n.stage == "end"]
    assert (end.outcome, end.detail) == ("failed", "caller hung up")


def test_the_console_accepts_takes_back_and_hangs_up():
    core, script, effects = call(agents="console")
    assert not sent(effects, Dial)
    (dial,) = sent(core.handle(ConsoleCommand("accept", uri="sip:ann@127.0.0.1"), 5000.0), Dial)
    assert dial.uri == "sip:ann@127.0.0.1"
    effects = core.handle(Result(request=dial.request, ok=True, code=200), 6000.0)
    assert sent(effects, Bridge) and not of(effects, LegSpeech)
    effects = core.handle(ConsoleCommand("take_back"), 7000.0)
    assert [u.leg for u in sent(effects, Unbridge)] == [dial.leg]
    assert script.told[-1].outcome == "returned"
    assert sent(core.handle(ConsoleCommand("hang_up"), 8000.0), Hangup)
    assert core.handle(ConsoleCommand("nonsense"), 8001.0) == []


def test_a_waiting_caller_hears_the_place_and_may_ask_to_be_called_back():
    """Announcement between two pieces of music; the key ends the call with the number read back."""
    core, script, _ = call(agents="console")
    effects = core.handle(ConsoleCommand("place", position=2, wait_s=170), 5000.0)
    (speech,) = of(effects, BeginSynthesis)
    assert speech.text == (
        "You are number 2 in the queue. The wait is about 3 minutes. Press 2 to be called back instead."
    )
    effects = core.handle(SpeechDone(speech.utterance, "no voice"), 5001.0)
    assert [s.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    effects = core.handle(Dtmf(digit="2"), 6000.0)
    assert [(n.stage, n.outcome) for n in of(effects, HandoffNews)] == [
        ("callback", ""),
        ("end", "returned"),
    ]
    (goodbye,) = of(effects, BeginSynthesis)
    assert goodbye.text == "We will call you back on plus 4 4 2 0 7. Goodbye."
    core.handle(SpeechAudio(goodbye.utterance, b"\xff" * 80), 6010.0)
    core.handle(SpeechDone(goodbye.utterance), 6011.0)
    done = Played(utterance=goodbye.utterance, played_ms=10, finished=True)
    assert sent(core.handle(done, 6100.0), Hangup)
    assert not [e for e in script.told if isinstance(e, TransferFinished)]


def test_no_call_back_for_numbers_that_may_not_be_called():
    core, _, _ = call(agents="console", may_call_back=lambda number: False)
    effects = core.handle(ConsoleCommand("place", position=1), 5000.0)
    assert [s.text for s in of(effects, BeginSynthesis)] == ["You are next."]
    assert core.handle(Dtmf(digit="2"), 6000.0) == []


def taken_over():
    """A call whose worker died in the middle of a handoff, at its new worker."""
    TAKEN_OVER.clear()
    script = Script("warm")
    script.told = TAKEN_OVER
    rules = HandoffRules(HandoffSettings())
    core = HandoffCall(TurnSettings(), BudgetSettings(), Quiet(), lambda start: script, rules)
    core.take_over(script, ())
    resume = Resume(session_id="s1")
    effects = core.handle(Start(call_id="c1", session_id="s1", answered=True, resume=resume), 0.0)
    return core, script, sent(effects, Bridge)


def test_a_new_worker_finds_the_caller_still_talking_to_the_colleague():
    """The leg answers to its name: nothing is said until the colleague hangs up."""
    core, script, (probe,) = taken_over()
    assert probe.leg == "r1l1"
    core.handle(Result(request=probe.request, ok=True), 10.0)
    assert not script.told
    core.handle(LegEnded(leg="r1l1"), 9000.0)
    assert [(e.outcome, e.reason) for e in script.told] == [("bridged", "colleague hung up")]


def test_a_new_worker_takes_a_caller_on_hold_back():
    """No leg is left: the bot has the caller back and says so; no silence."""
    core, script, probes = taken_over()
    for number in range(4):
        (probe,) = probes
        assert probe.leg == f"r1l{number + 1}"
        effects = core.handle(Result(request=probe.request, ok=False, code=481), 10.0)
        probes = sent(effects, Bridge)
    assert not probes and script.told[-1].outcome == "returned"
