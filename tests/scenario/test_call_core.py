"""A whole call on virtual time: the worker's core with fake engines and a dialogue of three lines."""

import pytest

from tests.scenario.virtual_callers import HearsTheCaller, LineWithoutEcho, ScriptedCaller, engines
from voicebot.config.settings import BudgetSettings, TurnSettings
from voicebot.core.expectation import Expectation
from voicebot.dialogue.actions import HangUp, Listen, Speak, StartTimer, StoreTurn, TransferCall
from voicebot.dialogue.events import (
    CallerHungUp,
    CallerSaid,
    DigitPressed,
    NoInput,
    PromptFinished,
    PromptInterrupted,
    TimerExpired,
    TransferFinished,
)
from voicebot.link.binary_media import BotAudio, CallerAudio
from voicebot.link.messages import (
    Acknowledge,
    Answer,
    Clear,
    Dtmf,
    Hangup,
    Held,
    Resume,
    Start,
    UtteranceProgress,
)
from voicebot.worker.call_core import CallCore
from voicebot.worker.effects import (
    BeginRecognition,
    CallState,
    Persist,
    RenderAhead,
    SaveState,
    ToEdge,
    TurnMeasured,
)
from voicebot.worker.silence_watch import SilenceWatch
from voicebot.worker.virtual_call import VirtualCall

START = Start(call_id="c1", session_id="s1", called="bank", edge_monotonic_us=1)
ASK = Listen(
    expectation=Expectation(kind="menu", phrases=("balance",), complete=frozenset({"balance"})),
    no_input_ms=3000,
)


class ThreeLines:
    """Greets, answers once, says goodbye; keeps what it was told."""

    def __init__(self, *, barge_in=True):
        self.events = []
        self.barge_in = barge_in

    def start(self):
        greeting = Speak(utterance="u1", text="Welcome to the bank", speech_barge_in=self.barge_in)
        return [greeting, ASK]

    def snapshot(self):
        return {"events": len(self.events)}

    def resume(self, unheard):
        return [Speak(utterance="again", text="How can I help?"), ASK]

    def fork(self):
        twin = ThreeLines(barge_in=self.barge_in)
        twin.events = list(self.events)
        return twin

    def count_on(self, other):
        pass

    def handle(self, event):
        self.events.append(event)
        match event:
            case CallerSaid(text="agent"):
                return [TransferCall(request="t1", uri="sip:2000@127.0.0.1")]
            case CallerSaid(text="") | NoInput():
                return [Speak(utterance=f"u{len(self.events) + 1}", text="Sorry?"), ASK]
            case CallerSaid() | DigitPressed():
                stored = StoreTurn(
                    turn=0, who="caller", text=getattr(event, "text", "#"), intent="balance"
                )
                return [
                    stored,
                    Speak(utterance=f"u{len(self.events) + 1}", text="Forty two pounds"),
                    HangUp(reason="done"),
                ]
            case TransferFinished():
                return [HangUp(reason="transferred")]
        return []


class KeysOneByOne(ThreeLines):
    """Waits up to three seconds for the next key."""

    def __init__(self):
        super().__init__()
        self.expired = []

    def start(self):
        return [Listen(expectation=Expectation(), no_input_ms=None)]

    def handle(self, event):
        match event:
            case DigitPressed():
                return [StartTimer(timer="inter_digit", after_ms=3000)]
            case TimerExpired(timer=timer):
                self.expired.append(timer)
        return []


def call_core(dialogue, settings=None):
    return CallCore(
        settings or TurnSettings(),
        BudgetSettings(),
        HearsTheCaller(),
        lambda start: dialogue,
        LineWithoutEcho(),
    )


def call(dialogue, caller, *texts, settings=None, **options):
    core = call_core(dialogue, settings)
    return VirtualCall(core, engines(*texts, **options), caller).run(START)


def test_a_spoken_answer_is_stored_before_it_is_answered_and_the_bot_hangs_up():
    dialogue = ThreeLines()
    record = call(dialogue, ScriptedCaller(("listen",), ("say", 600)), "balance")
    assert record.spoken == ["Welcome to the bank", "Forty two pounds"]
    assert [type(e) for e in dialogue.events if isinstance(e, CallerSaid | CallerHungUp)] == [
        CallerSaid,
        CallerHungUp,
    ]
    order = [type(e).__name__ for _, e in record.effects]
    assert order.index("Persist") < order.index("BeginSynthesis", order.index("Persist"))
    assert any(isinstance(e, ToEdge) and isinstance(e.message, Hangup) for _, e in record.effects)


def test_a_closed_answer_is_answered_within_300_ms_at_the_wire():
    """With engines that answer at once the onset is detector window, hold and tick."""
    record = call(ThreeLines(), ScriptedCaller(("listen",), ("say", 600)), "balance")
    (measured,) = record.of(TurnMeasured)
    assert measured.end_reason == "complete"
    assert 100 <= measured.response_onset_ms <= 300
    assert list(measured.hops_ms) == [
        "packet_in",
        "speech_end",
        "endpoint",
        "asr_final",
        "route",
        "tts_first_audio",
        "packet_out",
    ]


def test_slow_stages_show_in_their_own_stage():
    record = call(
        ThreeLines(),
        ScriptedCaller(("listen",), ("say", 600)),
        "balance",
        asr_final_ms=100,
        synthesis_ms=60,
    )
    (measured,) = record.of(TurnMeasured)
    assert measured.stages_ms["asr_final"] == pytest.approx(100, abs=20)
    assert measured.stages_ms["tts_first_audio"] == pytest.approx(60, abs=20)


def test_speech_over_the_greeting_cuts_it_and_counts_as_the_answer():
    dialogue = ThreeLines()
    record = call(dialogue, ScriptedCaller(("wait", 100), ("say", 700)), "balance", ms_per_character=60)
    interrupted = next(e for e in dialogue.events if isinstance(e, PromptInterrupted))
    assert interrupted.utterance == "u1"
    assert 200 <= interrupted.played_ms <= 400
    assert any(isinstance(e, ToEdge) and isinstance(e.message, Clear) for _, e in record.effects)
    assert record.spoken[-1] == "Forty two pounds"


def test_a_greeting_that_must_be_heard_is_not_cut():
    dialogue = ThreeLines(barge_in=False)
    record = call(dialogue, ScriptedCaller(("wait", 100), ("say", 200), ("listen",), ("hang_up",)))
    assert not any(isinstance(e, ToEdge) and isinstance(e.message, Clear) for _, e in record.effects)
    assert not any(isinstance(e, CallerSaid) for e in dialogue.events)


def test_a_key_cuts_the_greeting():
    dialogue = ThreeLines()
    record = call(dialogue, ScriptedCaller(("wait", 200), ("key", "1")))
    assert [e.digit for e in dialogue.events if isinstance(e, DigitPressed)] == ["1"]
    assert record.spoken[-1] == "Forty two pounds"
    (measured,) = record.of(TurnMeasured)
    assert measured.response_onset_ms <= 40


def test_silence_after_the_prompt_is_reported_once_per_listen():
    dialogue = ThreeLines()
    call(dialogue, ScriptedCaller(("listen",), ("wait", 3500), ("hang_up",)))
    assert [type(e) for e in dialogue.events if isinstance(e, NoInput)] == [NoInput]


@pytest.mark.parametrize("frames", [0, 25], ids=["never any", "stop"])
def test_a_line_that_brings_nothing_is_prompted_all_the_same(frames):
    """Without a packet from the caller time goes by as in silence; the edge says BYE some time later."""
    dialogue = ThreeLines()
    playing = call_core(dialogue)
    virtual = VirtualCall(playing, engines())
    virtual.put(0, START)
    prompted_ms = None
    for frame, now_ms in enumerate(range(0, 6000, 20)):
        out = virtual.send(now_ms)
        if frame < frames:
            sound = CallerAudio(
                frame, frame * 160, now_ms * 1000, virtual.position_samples, b"\xff" * 160
            )
            virtual.hear(sound, now_ms)
        virtual.deliver(now_ms)
        if prompted_ms is None and "Sorry?" in virtual.record.spoken and not out.silence:
            prompted_ms = now_ms
    greeting_ms = 20 * len("Welcome to the bank")
    # The edge says that the greeting is over when it sends the last 20 ms of it.
    assert greeting_ms - 20 + 3000 <= prompted_ms <= greeting_ms + 3200


def test_on_hold_timers_stand_still():
    """What was left of a timer before the hold is left of it after; silence counts anew."""
    dialogue = KeysOneByOne()
    core = call_core(dialogue)
    core.handle(START, 0)
    core.handle(Dtmf(digit="4"), 1000)
    core.handle(Held(held=True), 2000)
    assert core.next_deadline_ms() is None
    assert core.advance(60_000) == []
    core.handle(Held(held=True), 60_000)
    core.handle(Held(held=False), 62_000)
    assert core.next_deadline_ms() == 64_000  # 3 s after the key, of which one had gone by
    core.advance(63_999)
    assert dialogue.expired == []
    core.advance(64_000)
    assert dialogue.expired == ["inter_digit"]


def test_a_short_noise_without_words_is_not_answered():
    dialogue = ThreeLines()
    call(dialogue, ScriptedCaller(("listen",), ("say", 200), ("wait", 1500), ("hang_up",)), "")
    assert not any(isinstance(e, CallerSaid) for e in dialogue.events)


def test_a_short_word_that_was_heard_and_lost_again_is_asked_for():
    """The final result has nothing, but a partial had a word: silence until the no-input prompt is no answer."""
    dialogue = ThreeLines()
    call(dialogue, ScriptedCaller(("listen",), ("say", 300), ("wait", 1500), ("hang_up",)), "balance?")
    assert [e.text for e in dialogue.events if isinstance(e, CallerSaid)] == [""]


def test_long_speech_without_words_is_a_no_match():
    dialogue = ThreeLines()
    call(dialogue, ScriptedCaller(("listen",), ("say", 1200), ("wait", 1500), ("hang_up",)), "")
    assert [e.text for e in dialogue.events if isinstance(e, CallerSaid)] == [""]


def test_a_refused_transfer_comes_back_to_the_dialogue():
    dialogue = ThreeLines()
    record = call(dialogue, ScriptedCaller(("listen",), ("say", 600)), "agent", transfer_code=486)
    finished = next(e for e in dialogue.events if isinstance(e, TransferFinished))
    assert (finished.outcome, finished.sip_code) == ("failed", 486)
    assert record.transferred_to == "sip:2000@127.0.0.1"


def test_a_number_without_a_route_gets_404():
    core = CallCore(
        TurnSettings(), BudgetSettings(), HearsTheCaller(), lambda start: None, LineWithoutEcho()
    )
    record = VirtualCall(core, engines(), ScriptedCaller()).run(START)
    assert record.rejected == 404
    assert record.spoken == []


def test_a_hang_up_in_mid_prompt_ends_the_call():
    dialogue = ThreeLines()
    record = call(dialogue, ScriptedCaller(("wait", 100), ("hang_up",)))
    assert record.ended_ms == 100
    assert isinstance(dialogue.events[-1], CallerHungUp)
    assert record.of(Persist) == []


def test_the_same_call_is_the_same_to_the_byte():
    one, two = (
        call(ThreeLines(), ScriptedCaller(("listen",), ("say", 600)), "balance") for _ in range(2)
    )
    assert one.bot_audio == two.bot_audio
    assert one.effects == two.effects


def test_a_backchannel_pauses_the_prompt_and_lets_it_go_on():
    """A "yeah" in mid-sentence: playing pauses, goes on from the same sample, nothing is answered."""
    dialogue = ThreeLines()
    record = call(
        dialogue,
        ScriptedCaller(("wait", 100), ("say", 400), ("wait", 1500), ("hang_up",)),
        "yeah",
        ms_per_character=60,
    )
    sent = [type(e.message).__name__ for _, e in record.effects if isinstance(e, ToEdge)]
    assert sent.index("Pause") < sent.index("Unpause")
    assert "Clear" not in sent
    assert not any(isinstance(e, CallerSaid | PromptInterrupted) for e in dialogue.events)


def test_what_interrupts_can_be_heard_while_the_bot_speaks_and_only_then():
    """A closed grammar without "stop" would make it [unk], or a word of the menu that sounds like it."""
    over = call(ThreeLines(), ScriptedCaller(("wait", 500), ("say", 500)), "stop", ms_per_character=60)
    after = call(ThreeLines(), ScriptedCaller(("listen",), ("say", 500)), "balance")
    heard_over, heard_after = (r.of(BeginRecognition)[0].expectation for r in (over, after))
    assert {"balance", "stop", "wait", "yeah"} <= set(heard_over.phrases)
    assert heard_over.complete == ASK.expectation.complete
    assert {"stop", "no"} <= set(heard_over.likely) <= set(heard_over.phrases)
    assert heard_after == ASK.expectation
    assert any(isinstance(e, ToEdge) and isinstance(e.message, Clear) for _, e in over.effects)


def test_what_was_heard_of_a_cut_prompt_is_told_in_words():
    dialogue = ThreeLines()
    call(dialogue, ScriptedCaller(("wait", 500), ("say", 500)), "balance", ms_per_character=60)
    (interrupted,) = [e for e in dialogue.events if isinstance(e, PromptInterrupted)]
    assert interrupted.heard == "welcome to"


def test_the_answer_is_prepared_before_the_turn_is_committed():
    """Speculation: in the silence after the words, the answer's text is rendered ahead; it is a hit."""
    record = call(ThreeLines(), ScriptedCaller(("listen",), ("say", 600)), "balance")
    order = [type(e).__name__ for _, e in record.effects]
    assert order.index("RenderAhead") < order.index("EndRecognition")
    (ahead,) = record.of(RenderAhead)
    assert ahead.text == "Forty two pounds"
    assert record.of(TurnMeasured)[0].speculation == "hit"


def test_nothing_is_prepared_for_half_a_number():
    """Four digits are asked for, three were heard: an answer to them is of no use, and launches are few."""

    class Asks(ThreeLines):
        def start(self):
            digits = Expectation(kind="digits", phrases=("one", "two"), min_digits=4, max_digits=4)
            return [
                Speak(utterance="u1", text="The number?"),
                Listen(expectation=digits, no_input_ms=3000),
            ]

        def fork(self):
            return Asks()

    for said, prepared in (("one two one", False), ("one two one two", True)):
        record = call(
            Asks(), ScriptedCaller(("listen",), ("say", 600), ("wait", 300), ("hang_up",)), said
        )
        assert bool(record.of(RenderAhead)) is prepared


def test_preparing_does_nothing_that_the_caller_did_not_commit_to():
    """A twin decides: nothing is stored, said or hung up for a text that never became a turn."""
    dialogue = ThreeLines()
    caller = ScriptedCaller(("listen",), ("say", 600), ("wait", 80), ("hang_up",))
    record = call(dialogue, caller, "balance")
    assert record.of(RenderAhead)
    assert record.of(Persist) == []
    assert not any(isinstance(e, CallerSaid) for e in dialogue.events)


def test_a_caller_who_goes_on_before_the_answer_had_not_finished():
    """The first part was committed too early: the answer is dropped and both parts are one turn."""
    opened = []

    def open_dialogue(start):
        opened.append(ThreeLines())
        return opened[0]

    core = CallCore(TurnSettings(), BudgetSettings(), HearsTheCaller(), open_dialogue, LineWithoutEcho())
    caller = ScriptedCaller(("listen",), ("say", 600), ("wait", 240), ("say", 600))
    record = VirtualCall(core, engines("balance", "please", synthesis_ms=400), caller).run(START)
    stored = [e.turn.text for e in record.of(Persist)]
    assert stored == ["balance", "balance please"]
    sent = [e.message for e in record.of(ToEdge) if isinstance(e.message, BotAudio)]
    assert {audio.utterance for audio in sent} == {"u1", "u4"}  # it was told that u3 was cut


def test_a_late_recogniser_is_not_waited_for():
    """Its last partial stands for the final result; the caller does not hear the difference as silence."""
    record = call(ThreeLines(), ScriptedCaller(("listen",), ("say", 600)), "balance", asr_final_ms=5000)
    assert [e.turn.text for e in record.of(Persist)] == ["balance"]
    (measured,) = record.of(TurnMeasured)
    assert measured.stages_ms["asr_final"] == pytest.approx(TurnSettings().asr_limit_ms, abs=20)
    assert "asr_final" in measured.overspent


def test_a_stage_that_overspends_is_named():
    record = call(ThreeLines(), ScriptedCaller(("listen",), ("say", 600)), "balance", synthesis_ms=200)
    assert record.of(TurnMeasured)[0].overspent == ("tts_first_audio",)


def taken_over(at_edge, speaks, *caller_steps, texts=("balance",)):
    """A worker that gets a call which another one began."""
    dialogue = ThreeLines()
    core = CallCore(
        TurnSettings(), BudgetSettings(), HearsTheCaller(), lambda start: ThreeLines(), LineWithoutEcho()
    )
    core.take_over(dialogue, CallState(conversation={}, speaks=speaks))
    resume = Resume(session_id="s1", generation=3, lease=1, utterances=at_edge)
    start = Start(call_id="c1", session_id="s1", answered=True, edge_monotonic_us=1, resume=resume)
    record = VirtualCall(core, engines(*texts), ScriptedCaller(*caller_steps)).run(start)
    return dialogue, record


def test_a_worker_that_takes_over_says_only_what_never_reached_the_edge():
    """No greeting again, no answer: the dialogue goes on, in a generation that the edge accepts."""
    at_edge = (
        UtteranceProgress(utterance="u1", played_ms=500, complete=True, finished=True),
        UtteranceProgress(utterance="u2", played_ms=40, complete=False, finished=False),
    )
    speaks = tuple(Speak(utterance=f"u{n}", text=f"sentence {n}") for n in (1, 2, 3))
    dialogue, record = taken_over(at_edge, speaks, ("listen",), ("say", 600))
    assert record.spoken == ["sentence 2", "sentence 3", "Forty two pounds"]
    assert next(e.utterance for e in dialogue.events if isinstance(e, PromptFinished)) == "u1"
    generations = {e.message.generation for e in record.of(ToEdge) if isinstance(e.message, BotAudio)}
    assert generations == {3}
    assert not any(isinstance(e.message, Answer) for e in record.of(ToEdge))


def test_the_state_is_kept_with_the_turn_and_before_the_answer():
    record = call(ThreeLines(), ScriptedCaller(("listen",), ("say", 600)), "balance")
    order = [type(e).__name__ for _, e in record.effects]
    kept = order.index("SaveState")
    assert order[kept - 2 : kept] == ["Persist", "ToEdge"] or order[kept - 1] == "Persist"
    assert kept < order.index("BeginSynthesis", kept)
    assert [s.text for s in record.of(SaveState)[0].state.speaks] == ["Forty two pounds"]


def test_audio_is_acknowledged_after_the_state_is_kept_and_keys_are_counted():
    """A worker that dies between the two leaves the turn to be heard again."""
    record = call(ThreeLines(), ScriptedCaller(("listen",), ("key", "1"), ("say", 600)), "balance")
    effects = [effect for _, effect in record.effects]
    acknowledged = [
        i for i, e in enumerate(effects) if isinstance(getattr(e, "message", None), Acknowledge)
    ]
    assert acknowledged
    with_key = next(i for i in acknowledged if effects[i].message.keys == 1)
    assert isinstance(effects[with_key - 1], SaveState)
    assert effects[acknowledged[-1]].message.keys == 1


class AsksMeanwhile(ThreeLines):
    """Says something of its own accord after a second and a half, whoever is speaking."""

    def start(self):
        return [
            Listen(expectation=Expectation(), no_input_ms=None),
            StartTimer(timer="t", after_ms=1500),
        ]

    def handle(self, event):
        if isinstance(event, TimerExpired):
            stored = StoreTurn(turn=0, who="bot", text="Still there?")
            return [stored, Speak(utterance="x", text="Still there?")]
        return super().handle(event)


def test_what_the_caller_is_saying_is_not_acknowledged_with_a_turn_of_the_bot():
    """The next worker must hear it from its beginning: a turn in between does not make it known."""
    record = call(AsksMeanwhile(), ScriptedCaller(("wait", 1000), ("say", 1600)), "balance")
    began_ms = next(at_ms for at_ms, e in record.effects if isinstance(e, BeginRecognition))
    between = next(at_ms for at_ms, e in record.effects if isinstance(e, SaveState))
    assert began_ms < between < 2600
    heard = [
        e.message.frame
        for at_ms, e in record.effects
        if isinstance(e, ToEdge) and isinstance(e.message, Acknowledge) and at_ms <= between
    ]
    assert heard
    assert max(heard) * 20 < 1000
    assert record.of(SaveState)[0].state.heard_frame == heard[-1]


def test_long_silence_is_let_go_of():
    """A takeover after a long silence replays a second or two, not all of it."""
    record = call(ThreeLines(), ScriptedCaller(("wait", 8000)), "balance")
    frames = [e.message.frame for e in record.of(ToEdge) if isinstance(e.message, Acknowledge)]
    assert len(frames) > 3
    assert frames == sorted(set(frames))
    assert frames[-1] > 200


def test_a_key_pressed_on_hold_does_not_put_off_the_filler():
    """Before, the time on hold was added to it: silence for as long again."""
    watch = SilenceWatch(0)
    watch.heard_caller(1000)
    watch.start("filler", 900)
    watch.heard_caller(10_900)
    watch.skip(10_000, 11_000)
    assert watch.next_deadline_ms() == 11_900
