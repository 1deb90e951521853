"""A call core whose transfers go by the handoff machine."""

from dataclasses import replace

import msgspec

from voicebot.config.settings import BudgetSettings, HandoffSettings, TurnSettings
from voicebot.dialogue.actions import CallTool, StopListening, StoreTurn, TransferCall
from voicebot.dialogue.events import DigitPressed, ToolFinished, TransferFinished
from voicebot.handoff.context import ContextBuilder
from voicebot.link.binary_media import BotAudio
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
    CallState,
    ConsoleCommand,
    HandoffNews,
    LegSpeech,
    SaveState,
    SpeechAudio,
    SpeechDone,
    ToEdge,
)
from voicebot.worker.handoff_call import HOLD_MUSIC, HandoffCall, HandoffRules, QueueTarget

DESK = "sip:2000@127.0.0.1"


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
            return [
                TransferCall(request="r1", uri=DESK, queue="general", mode=self.mode, reason="asked")
            ]
        return []

    def snapshot(self):
        return {}

    def resume(self, unheard):
        return []

    def fork(self):
        return self


class Quiet:  # a detector that hears nothing
    def feed(self, pcm):
        return []

    def reset(self):
        pass


def call(
    mode="warm",
    agents="sip",
    may_call=lambda uri: "",
    may_call_back=lambda number: True,
    start=True,
    queues=(),
    busy_waits=False,
):
    script = Script(mode)
    rules = HandoffRules(
        HandoffSettings(agents=agents),
        queues or (QueueTarget("general", (DESK,), "warm"),),
        sensitive=frozenset({"passcode"}),
        may_call=may_call,
        may_call_back=may_call_back,
        busy_waits=busy_waits,
    )
    core = HandoffCall(TurnSettings(), BudgetSettings(), Quiet(), lambda start: script, rules)
    if not start:
        return core, script, []
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
    assert [s.delivery.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    (begin,) = [n for n in of(effects, HandoffNews) if n.stage == "begin"]
    assert begin.context.verified == "yes" and begin.context.slots == {"account": "12345678"}
    assert begin.context.queue == "general" and "[redacted]" not in begin.context.summary
    assert dial.headers["X-Handoff-ID"] == begin.handoff_id and "User-to-User" in dial.headers
    music = of(effects, BeginSynthesis)[0].utterance
    core.handle(SpeechAudio(music, b"\xff" * 800), 110.0)
    core.handle(SpeechDone(music), 111.0)
    effects = core.handle(Played(utterance=music, played_ms=100, finished=True), 300.0)
    assert [s.delivery.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
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


def texts(effects):
    return [s.text for s in of(effects, BeginSynthesis)]


def test_a_waiting_caller_hears_the_place_and_may_ask_to_be_called_back():
    """Announcement between two pieces of music; the number is confirmed before the call ends."""
    core, script, _ = call(agents="console")
    place = ConsoleCommand("place", position=2, wait_s=170)
    effects = core.handle(place, 5000.0)
    (speech,) = of(effects, BeginSynthesis)
    assert speech.text == "You are number 2 in the queue. The wait is about 3 minutes."
    effects = core.handle(SpeechDone(speech.utterance, "no voice"), 5001.0)
    assert [s.delivery.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    assert core.handle(Dtmf(digit="2"), 5500.0) == []  # not offered yet
    offer = "If you would rather be called back, press 2."
    assert texts(core.handle(ConsoleCommand("offer_callback"), 6000.0)) == [offer]
    question = "We would call you back on plus 4 4 2 0 7. Press 1 for yes, or 2 to go on waiting."
    assert texts(core.handle(Dtmf(digit="2"), 6100.0)) == [question]
    assert texts(core.handle(Dtmf(digit="2"), 6200.0)) == [""]  # music
    assert texts(core.handle(place, 6300.0))[0].endswith(offer)
    assert texts(core.handle(Dtmf(digit="2"), 6400.0)) == [question]
    effects = core.handle(Dtmf(digit="1"), 6500.0)
    assert [(n.stage, n.outcome) for n in of(effects, HandoffNews)] == [
        ("callback", ""),
        ("end", "returned"),
    ]
    (goodbye,) = of(effects, BeginSynthesis)
    assert goodbye.text == "We will call you back on plus 4 4 2 0 7. Goodbye."
    core.handle(SpeechAudio(goodbye.utterance, b"\xff" * 80), 6510.0)
    core.handle(SpeechDone(goodbye.utterance), 6511.0)
    done = Played(utterance=goodbye.utterance, played_ms=10, finished=True)
    assert sent(core.handle(done, 6600.0), Hangup)
    assert not [e for e in script.told if isinstance(e, TransferFinished)]


def test_no_call_back_for_numbers_that_may_not_be_called():
    core, _, _ = call(agents="console", may_call_back=lambda number: False)
    assert core.handle(ConsoleCommand("offer_callback"), 4000.0) == []
    assert texts(core.handle(ConsoleCommand("place", position=1), 5000.0)) == ["You are next."]
    assert core.handle(Dtmf(digit="2"), 6000.0) == []


GENERAL = QueueTarget("general", (DESK,), "warm")
NIGHT = QueueTarget("night", ("sip:night@127.0.0.1",), "warm", skills=("night",))


def test_a_wait_that_is_too_long_goes_on_in_another_queue():
    """Same handoff, the new queue's skills and targets, nothing said to the dialogue."""
    core, script, effects = call(agents="console", queues=(GENERAL, NIGHT))
    (begin,) = [n for n in of(effects, HandoffNews) if n.stage == "begin"]
    effects = core.handle(ConsoleCommand("overflow", uri="night"), 9000.0)
    moved, waits = of(effects, HandoffNews)
    assert (moved.stage, moved.detail, moved.skills) == ("moved", "night", ("night",))
    assert (waits.stage, waits.handoff_id) == ("waiting", begin.handoff_id)
    due = core.next_deadline_ms()
    (dial,) = sent(core.advance(due), Dial)
    assert dial.uri == "sip:night@127.0.0.1"
    assert not [e for e in script.told if isinstance(e, TransferFinished)]


def test_a_wait_without_another_queue_ends_at_the_bot():
    core, script, _ = call(agents="console")
    core.handle(ConsoleCommand("overflow"), 9000.0)
    assert (script.told[-1].outcome, script.told[-1].reason) == ("returned", "nobody accepted in time")


def test_a_closed_queue_rings_nowhere():
    """Back to the bot at once, or on to the queue that is open."""
    closed = replace(GENERAL, closed=True)
    _, script, effects = call(queues=(closed, NIGHT))
    assert not sent(effects, Dial) and not of(effects, HandoffNews)
    assert (script.told[-1].outcome, script.told[-1].reason) == ("returned", "closed")
    _, _, effects = call(queues=(replace(closed, overflow="night"), NIGHT))
    assert [d.uri for d in sent(effects, Dial)] == ["sip:night@127.0.0.1"]


def test_all_telephones_of_a_queue_ring_and_the_first_wins():
    both = replace(GENERAL, uris=(DESK, "sip:2001@127.0.0.1"))
    core, _, effects = call(queues=(both,))
    first, second = sent(effects, Dial)
    core.handle(Result(request=first.request, ok=True, code=200), 900.0)
    core.handle(Result(request=second.request, ok=True, code=200), 950.0)
    effects = core.handle(LegDtmf(leg=second.leg, digit="1"), 2000.0)
    assert [u.leg for u in sent(effects, Unbridge)] == [first.leg]
    assert [b.leg for b in sent(effects, Bridge)] == [second.leg]


class Waits(Script):
    """A dialogue that waits for the end of its transfer."""

    def snapshot(self):
        return {"wait": {"kind": "transfer", "request": "r1"}}


def taken_over(before, **options):
    """The call of `before` at its next worker, which knows what that one saved last."""
    _, _, effects = before
    state = of(effects, SaveState)[-1].state
    state = msgspec.json.decode(msgspec.json.encode(state), type=CallState)
    new, _, _ = call(**options, start=False)
    waits = Waits("warm")
    new.take_over(waits, state)
    start = Start(call_id="c1", session_id="s1", answered=True, resume=Resume(session_id="s1", lease=1))
    return new, waits, new.handle(start, 0.0)


def bridged():
    core, script, effects = call()
    (dial,) = sent(effects, Dial)
    core.handle(Result(request=dial.request, ok=True, code=200), 2000.0)
    effects = core.handle(LegDtmf(leg=dial.leg, digit="1"), 4000.0)
    return core, script, effects


def test_a_new_worker_finds_the_caller_still_talking_to_the_colleague():
    """The leg answers to its name: nothing is said until the colleague hangs up; Take back works too."""
    core, waits, effects = taken_over(bridged())
    (bridge,) = sent(effects, Bridge)
    assert bridge.leg == "r1l1" and not sent(effects, Dial) and not of(effects, BeginSynthesis)
    core.handle(Result(request=bridge.request, ok=True), 10.0)
    assert not waits.told
    core.handle(LegEnded(leg="r1l1"), 9000.0)
    assert [(e.outcome, e.reason) for e in waits.told] == [("bridged", "colleague hung up")]


def test_a_new_worker_rings_again_when_the_leg_died_with_the_old_one():
    core, _, effects = taken_over(bridged())
    (bridge,) = sent(effects, Bridge)
    effects = core.handle(Result(request=bridge.request, ok=False, code=481), 10.0)
    assert [d.leg for d in sent(effects, Dial)] == ["r1l2"]
    assert [s.delivery.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]


def test_a_new_worker_rings_the_colleague_again():
    """The edge has hung up the leg that rang; the caller hears music on, under the same handoff."""
    before = call()
    _, waits, effects = taken_over(before)
    (first,), (again,) = sent(before[2], Dial), sent(effects, Dial)
    assert again.leg == "r1l2" and again.headers == first.headers
    assert [s.delivery.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    assert not [n for n in of(effects, HandoffNews) if n.stage == "begin"] and not waits.told


def test_a_caller_in_the_consoles_queue_waits_on_at_the_new_worker():
    """Same entry, music, and whoever accepts reaches him."""
    before = call(agents="console")
    core, waits, effects = taken_over(before, agents="console")
    (begin,) = [n for n in of(before[2], HandoffNews) if n.stage == "begin"]
    (news,) = of(effects, HandoffNews)
    assert (news.handoff_id, news.stage) == (begin.handoff_id, "waiting") and not waits.told
    (dial,) = sent(core.handle(ConsoleCommand("accept", uri="sip:ann@127.0.0.1"), 100.0), Dial)
    assert dial.headers["X-Handoff-ID"] == begin.handoff_id


def test_a_conversation_in_the_browser_goes_on_at_the_new_worker():
    core, script, _ = call(agents="console")
    effects = core.handle(ConsoleCommand("accept", uri="browser"), 100.0)
    new, waits, _ = taken_over((core, script, effects), agents="console")
    audio = ConsoleCommand("talk", audio=b"\x40" * 160)
    assert [a.payload for a in sent(new.handle(audio, 200.0), BotAudio)] == [audio.audio]
    new.handle(ConsoleCommand("colleague_done"), 900.0)
    assert waits.told[-1].outcome == "bridged"


def test_a_refer_under_way_is_followed_by_the_new_worker():
    """The request has the same id: the edge sends no second REFER."""
    before = call("blind")
    core, waits, effects = taken_over(before)
    assert [t.request for t in sent(effects, Transfer)] == [t.request for t in sent(before[2], Transfer)]
    core.handle(TransferProgress(request="r1.refer", code=503, reason="No", final=True), 900.0)
    assert (waits.told[-1].outcome, waits.told[-1].sip_code) == ("failed", 503)


def test_what_the_colleague_learns_survives_the_takeover():
    """Nothing of the sensitive slot is in the saved state."""
    _, _, effects = call(agents="console")
    state = of(effects, SaveState)[-1].state
    assert state.context.slots == {"account": "12345678"}
    assert state.context.actions[0].tool == "check_passcode"


def test_a_telephone_that_is_not_picked_up_leaves_the_caller_waiting():
    """Accepted in the console, busy at the desk: back into the queue, not to the bot."""
    core, script, _ = call(agents="console")
    (dial,) = sent(core.handle(ConsoleCommand("accept", uri="sip:ann@127.0.0.1"), 100.0), Dial)
    effects = core.handle(Result(request=dial.request, ok=False, code=486), 900.0)
    assert [(n.stage, n.detail) for n in of(effects, HandoffNews)] == [("waiting", "busy")]
    assert not [e for e in script.told if isinstance(e, TransferFinished)]
    assert sent(core.handle(ConsoleCommand("accept", uri="sip:bob@127.0.0.1"), 1000.0), Dial)


def test_a_full_edge_sends_the_caller_to_the_colleague_who_accepted():
    """No leg is free: the caller's own leg is referred to the telephone that was named."""
    core, _, _ = call(agents="console")
    (dial,) = sent(core.handle(ConsoleCommand("accept", uri="sip:ann@127.0.0.1"), 100.0), Dial)
    full = Result(request=dial.request, ok=False, code=503, reason="no free call slot")
    (refer,) = sent(core.handle(full, 200.0), Transfer)
    assert refer.uri == "sip:ann@127.0.0.1"


def test_a_caller_who_waits_again_hears_it():
    """Busy desk, then a colleague at the console whose telephone is not there: words, then music."""
    core, _, effects = call(busy_waits=True)
    (dial,) = sent(effects, Dial)
    effects = core.handle(Result(request=dial.request, ok=False, code=486), 500.0)
    said = of(effects, BeginSynthesis)
    assert "colleagues are talking" in said[0].text and sent(effects, Clear)
    assert [n.stage for n in of(effects, HandoffNews)] == ["waiting"]
    effects = core.handle(SpeechDone(said[0].utterance, "no voice"), 600.0)
    assert [s.delivery.voice for s in of(effects, BeginSynthesis)] == [HOLD_MUSIC]
    effects = core.handle(ConsoleCommand("accept", uri=DESK), 700.0)
    (dial,) = sent(effects, Dial)
    effects = core.handle(Result(request=dial.request, ok=False, code=486), 800.0)
    assert [n.stage for n in of(effects, HandoffNews)] == ["waiting"]


def test_a_promised_call_back_survives_the_takeover():
    """Before, the next worker put the caller through, who was called back as well."""
    core, script, _ = call(agents="console")
    core.handle(ConsoleCommand("offer_callback"), 6000.0)
    core.handle(Dtmf(digit="2"), 6100.0)
    effects = core.handle(Dtmf(digit="1"), 6500.0)
    new, _, effects = taken_over((core, script, effects), agents="console")
    (goodbye,) = of(effects, BeginSynthesis)
    assert goodbye.text.endswith("Goodbye.") and not of(effects, HandoffNews)
    new.handle(SpeechAudio(goodbye.utterance, b"\xff" * 80), 10.0)
    new.handle(SpeechDone(goodbye.utterance), 11.0)
    done = Played(utterance=goodbye.utterance, played_ms=10, finished=True)
    assert sent(new.handle(done, 100.0), Hangup)


def test_the_key_for_a_call_back_works_on_at_the_new_worker():
    """It was offered once; before, the key meant nothing any more."""
    core, script, _ = call(agents="console")
    effects = core.handle(ConsoleCommand("offer_callback"), 6000.0)
    new, _, _ = taken_over((core, script, effects), agents="console")
    assert "We would call you back" in texts(new.handle(Dtmf(digit="2"), 100.0))[0]


def test_the_state_knows_the_turn_that_it_is_kept_with():
    """The worker after this one tells the colleague what the caller asked for."""
    core, _, _ = call(start=False)
    effects = core.handle(Start(call_id="c1", session_id="s1", caller="+44207", called="bank"), 0.0)
    context = of(effects, SaveState)[0].state.context
    assert (context.intent, [t.text for t in context.turns]) == ("block_card", ["my card", "[redacted]"])


def test_a_turn_that_was_taken_back_is_not_told_to_the_colleague():
    """The caller went on: both parts are one turn, under the number of the first."""
    builder = ContextBuilder()
    builder.turn("bot", "How can I help?", 0, slots={}, number=0)
    builder.turn("caller", "balance", 900, slots={}, number=1)
    builder.turn("bot", "Your account number?", 1000, slots={}, number=2)
    builder.turn("caller", "balance and block my card", 1900, slots={}, number=1)
    assert [t.text for t in builder.memory().turns] == ["How can I help?", "balance and block my card"]
