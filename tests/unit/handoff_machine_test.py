"""The handoff state machine: every outcome, in one pure object."""

import pytest

from voicebot.handoff.handoff import (
    Finished,
    Handoff,
    HandoffPlan,
    HoldCaller,
    SayToBoth,
    SayToLeg,
    Stage,
    StageChanged,
)
from voicebot.link.messages import (
    Bridge,
    Dial,
    LegDtmf,
    LegEnded,
    LegPlayed,
    Result,
    Transfer,
    TransferProgress,
    Unbridge,
)

DESK, OTHER, MAILBOX = "sip:2000@127.0.0.1", "sip:2001@127.0.0.1", "sip:9000@127.0.0.1"


def handoff(mode="warm", tries=((DESK,),), brief="Call from one two.", refused=(), **more):
    plan = HandoffPlan("r1", mode, tries, brief=brief, **more)
    return Handoff(plan, lambda uri: "not allowed" if uri in refused else "")


def of(commands, kind):
    return [c for c in commands if isinstance(c, kind)]


def finished(commands):
    (done,) = of(commands, Finished)
    return done.outcome, done.code, done.reason


def answered(machine, now_ms=1000.0):
    """Dialled and picked up; returns the leg's name."""
    (dial,) = of(machine.begin(0.0), Dial)
    machine.handle(Result(request=dial.request, ok=True, code=200), now_ms)
    return dial.leg


def talking(machine):
    leg = answered(machine)
    (bridge,) = of(machine.handle(LegDtmf(leg=leg, digit="1"), 3000.0), Bridge)
    machine.handle(Result(request=bridge.request, ok=True), 3010.0)
    assert machine.stage is Stage.TALKING
    return leg


def test_warm_goes_by_music_brief_digit_and_bridge():
    """The caller gets music while the colleague is dialled and briefed, and silence of ours at the bridge."""
    machine = handoff(headers={"X-Handoff-ID": "h1"})
    commands = machine.begin(0.0)
    assert HoldCaller(music=True) in commands
    (dial,) = of(commands, Dial)
    assert (dial.uri, dial.timeout_s, dial.headers) == (DESK, 25.0, {"X-Handoff-ID": "h1"})
    (say,) = of(machine.handle(Result(request=dial.request, ok=True, code=200), 1000.0), SayToLeg)
    assert say.text == "Call from one two."
    assert not machine.handle(LegDtmf(leg=dial.leg, digit="2"), 2000.0)
    commands = machine.handle(LegDtmf(leg=dial.leg, digit="1"), 2500.0)
    assert commands.index(HoldCaller(music=False)) < commands.index(of(commands, Bridge)[0])
    machine.handle(Result(request=of(commands, Bridge)[0].request, ok=True), 2510.0)
    assert machine.talking and machine.next_deadline_ms() is None
    assert finished(machine.handle(LegEnded(leg=dial.leg, code=200), 9000.0)) == (
        "bridged",
        200,
        "colleague hung up",
    )


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (486, "returned", "busy"),
        (600, "returned", "busy"),
        (603, "returned", "declined"),
        (480, "returned", "no answer"),
        (408, "returned", "no answer"),
        (404, "returned", "Not Found"),
        (500, "failed", "Server Error"),
        (503, "failed", "Service Unavailable"),
    ],
)
def test_a_refused_dial_gives_the_caller_back_with_the_status(code, outcome, reason):
    """Each final status ends in one outcome with that status, music off before it."""
    machine = handoff()
    (dial,) = of(machine.begin(0.0), Dial)
    named = {404: "Not Found", 500: "Server Error", 503: "Service Unavailable"}.get(code, "")
    commands = machine.handle(Result(request=dial.request, ok=False, code=code, reason=named), 500.0)
    assert finished(commands) == (outcome, code, reason)
    assert commands.index(HoldCaller(music=False)) < len(commands) - 1
    assert machine.over and not machine.handle(LegEnded(leg=dial.leg), 600.0)


def test_no_word_of_the_edge_ends_the_ringing_all_the_same():
    """Without any result the machine gives up by itself and hangs the leg up."""
    machine = handoff()
    (dial,) = of(machine.begin(0.0), Dial)
    assert machine.next_deadline_ms() == 30_000
    commands = machine.advance(30_000)
    assert [u.leg for u in of(commands, Unbridge)] == [dial.leg]
    assert finished(commands) == ("returned", 408, "no answer")


def test_a_brief_that_nobody_accepts_gives_the_caller_back():
    """The time for the key counts from the end of the brief; then the leg is hung up."""
    machine = handoff(accept_ms=15_000)
    leg = answered(machine)
    machine.handle(LegPlayed(leg=leg, utterance=f"{leg}b"), 8000.0)
    assert not machine.advance(22_999)
    commands = machine.advance(23_000)
    assert [u.leg for u in of(commands, Unbridge)] == [leg]
    assert finished(commands)[0::2] == ("returned", "not accepted")


def test_an_agent_who_hangs_up_during_the_brief_has_declined():
    """A BYE in the brief is an answer: no."""
    machine = handoff()
    leg = answered(machine)
    assert finished(machine.handle(LegEnded(leg=leg, code=200), 3000.0)) == (
        "returned",
        480,
        "not accepted",
    )


def test_the_next_queue_is_tried_after_a_busy_one():
    """Tries go one after the other while the caller's music plays on."""
    machine = handoff(tries=((DESK,), (OTHER,)))
    (first,) = of(machine.begin(0.0), Dial)
    commands = machine.handle(Result(request=first.request, ok=False, code=486), 300.0)
    assert [d.uri for d in of(commands, Dial)] == [OTHER] and not of(commands, HoldCaller)


def test_of_several_that_ring_the_first_that_accepts_wins():
    """The others are hung up in the same breath; a late key of theirs changes nothing."""
    machine = handoff(tries=((DESK, OTHER),))
    one, two = of(machine.begin(0.0), Dial)
    machine.handle(Result(request=one.request, ok=True, code=200), 1000.0)
    machine.handle(Result(request=two.request, ok=True, code=200), 1200.0)
    commands = machine.handle(LegDtmf(leg=two.leg, digit="1"), 2000.0)
    assert [u.leg for u in of(commands, Unbridge)] == [one.leg]
    assert [b.leg for b in of(commands, Bridge)] == [two.leg]
    assert not machine.handle(LegDtmf(leg=one.leg, digit="1"), 2001.0)
    assert not machine.handle(LegEnded(leg=one.leg), 2002.0)


def test_one_of_several_that_is_busy_leaves_the_others_ringing():
    machine = handoff(tries=((DESK, OTHER),))
    one, _ = of(machine.begin(0.0), Dial)
    assert not machine.handle(Result(request=one.request, ok=False, code=486), 500.0)
    assert machine.stage is Stage.DIALLING


def test_a_full_edge_makes_it_blind():
    """No leg is free: the caller's own leg is referred instead."""
    machine = handoff()
    (dial,) = of(machine.begin(0.0), Dial)
    full = Result(request=dial.request, ok=False, code=503, reason="no free call slot")
    commands = machine.handle(full, 10.0)
    assert [t.uri for t in of(commands, Transfer)] == [DESK] and HoldCaller(music=False) in commands


def test_blind_follows_the_notifies_to_the_end():
    """100 Trying and 180 are no outcome; 200 is."""
    machine = handoff("blind")
    (refer,) = of(machine.begin(0.0), Transfer)
    for code in (100, 180):
        assert not machine.handle(TransferProgress(request=refer.request, code=code), 100.0)
    done = TransferProgress(request=refer.request, code=200, reason="OK", final=True)
    assert finished(machine.handle(done, 900.0)) == ("bridged", 200, "OK")


@pytest.mark.parametrize("code", [486, 503, 603])
def test_a_blind_transfer_that_the_notify_calls_failed_is_failed(code):
    machine = handoff("blind")
    (refer,) = of(machine.begin(0.0), Transfer)
    done = TransferProgress(request=refer.request, code=code, reason="Sorry", final=True)
    assert finished(machine.handle(done, 900.0)) == ("failed", code, "Sorry")


def test_a_refused_refer_and_a_silent_one_fail():
    """403 to the REFER, and no NOTIFY at all."""
    machine = handoff("blind")
    (refer,) = of(machine.begin(0.0), Transfer)
    refused = Result(request=refer.request, ok=False, code=403, reason="Forbidden")
    assert finished(machine.handle(refused, 900.0)) == ("failed", 403, "Forbidden")
    silent = handoff("blind")
    silent.begin(0.0)
    assert finished(silent.advance(65_000)) == ("failed", 408, "no outcome of the transfer")


def test_a_destination_that_is_not_allowed_is_never_dialled():
    """Neither blind nor warm nor from the console."""
    for mode in ("blind", "warm"):
        machine = handoff(mode, refused=(DESK,))
        commands = machine.begin(0.0)
        assert not of(commands, Dial) and not of(commands, Transfer)
        assert finished(commands)[0:2] == ("failed", 403)
    waiting = handoff("console", refused=("sip:+1900@x",))
    waiting.begin(0.0)
    assert not of(waiting.accept("sip:+1900@x", 1.0), Dial)
    assert waiting.stage is Stage.WAITING


def test_the_caller_may_leave_at_any_time():
    """Legs are hung up; a caller who leaves during the brief was not handed over."""
    machine = handoff()
    leg = answered(machine)
    commands = machine.caller_gone()
    assert [u.leg for u in of(commands, Unbridge)] == [leg]
    assert finished(commands) == ("failed", 0, "caller hung up")
    bridged = handoff()
    leg = talking(bridged)
    commands = bridged.caller_gone()
    assert [u.leg for u in of(commands, Unbridge)] == [leg] and finished(commands)[0] == "bridged"


def test_console_waits_for_a_person_then_bridges_without_a_brief():
    """The one who accepts in the console has read the brief there."""
    machine = handoff("console")
    commands = machine.begin(0.0)
    assert not of(commands, Dial) and HoldCaller(music=True) in commands
    (dial,) = of(machine.accept(OTHER, 5000.0), Dial)
    commands = machine.handle(Result(request=dial.request, ok=True, code=200), 6000.0)
    assert [b.leg for b in of(commands, Bridge)] == [dial.leg] and not of(commands, SayToLeg)


def test_a_colleague_in_the_browser_needs_no_leg():
    """Talking begins at once, ends as bridged, or with the caller back when the browser falls silent."""
    machine = handoff("console")
    machine.begin(0.0)
    commands = machine.accept_here(1000.0)
    assert HoldCaller(music=False) in commands and not of(commands, Dial) and machine.here
    machine.colleague_heard(4000.0)
    assert not machine.advance(8999.0)
    assert finished(machine.colleague_done()) == ("bridged", 200, "colleague hung up")
    silent = handoff("console")
    silent.begin(0.0)
    silent.accept_here(1000.0)
    assert finished(silent.advance(6000.0)) == ("returned", 0, "colleague gone")
    assert handoff("warm").accept_here(0.0) == []


def test_console_falls_back_to_the_queues_own_target():
    """Nobody accepted in time: the PBX queue is dialled, warm."""
    machine = handoff("console", wait_ms=60_000)
    machine.begin(0.0)
    assert [d.uri for d in of(machine.advance(60_000), Dial)] == [DESK]


def test_take_back_returns_the_caller_to_the_bot():
    """From the middle of the conversation with the colleague, too."""
    machine = handoff()
    leg = talking(machine)
    commands = machine.take_back("taken back")
    assert [u.leg for u in of(commands, Unbridge)] == [leg]
    assert finished(commands) == ("returned", 0, "taken back")


def test_voicemail_is_the_last_resort_and_says_so():
    """It needs no key; its end is outcome voicemail."""
    machine = handoff(voicemail=MAILBOX)
    (first,) = of(machine.begin(0.0), Dial)
    (dial,) = of(machine.handle(Result(request=first.request, ok=False, code=486), 300.0), Dial)
    assert dial.uri == MAILBOX
    (bridge,) = of(machine.handle(Result(request=dial.request, ok=True, code=200), 900.0), Bridge)
    machine.handle(Result(request=bridge.request, ok=True), 910.0)
    assert finished(machine.handle(LegEnded(leg=dial.leg), 9000.0))[0] == "voicemail"


def test_a_bridge_that_fails_gives_the_caller_back():
    """Refused, or no answer of the edge."""
    for late in (False, True):
        machine = handoff()
        leg = answered(machine)
        (bridge,) = of(machine.handle(LegDtmf(leg=leg, digit="1"), 3000.0), Bridge)
        no = Result(request=bridge.request, ok=False, code=481, reason="no such leg")
        commands = machine.advance(6000.0) if late else machine.handle(no, 3010.0)
        assert finished(commands)[0] == "failed" and [u.leg for u in of(commands, Unbridge)] == [leg]


def stepping_out():
    machine = handoff("attended")
    leg = answered(machine)
    (bridge,) = of(machine.handle(LegDtmf(leg=leg, digit="1"), 3000.0), Bridge)
    commands = machine.handle(Result(request=bridge.request, ok=True), 3010.0)
    (refer,) = of(commands, Transfer)
    assert refer.leg == leg and machine.stage is Stage.STEPPING_OUT
    return machine, leg, refer


def test_attended_steps_out_once_both_talk():
    """REFER to the colleague's leg; its end by Replaces is no end of the conversation, the NOTIFY is."""
    machine, leg, refer = stepping_out()
    assert machine.handle(LegEnded(leg=leg), 3500.0) == []
    done = machine.handle(TransferProgress(request=refer.request, code=200, final=True), 3600.0)
    assert finished(done)[:2] == ("bridged", 200)


@pytest.mark.parametrize("how", ["refused", "notified", "silent"])
def test_a_telephone_that_cannot_be_referred_stays_in_the_bridge(how):
    """Both go on talking over the edge; the colleague's hanging up is the end then."""
    machine, leg, refer = stepping_out()
    if how == "refused":
        commands = machine.handle(Result(request=refer.request, ok=False, code=501), 3500.0)
    elif how == "notified":
        failed = TransferProgress(request=refer.request, code=503, final=True)
        commands = machine.handle(failed, 3500.0)
    else:
        commands = machine.advance(machine.next_deadline_ms())
    assert machine.stage is Stage.TALKING and not of(commands, Unbridge | Finished)
    assert machine.next_deadline_ms() is None
    assert finished(machine.handle(LegEnded(leg=leg), 9000.0))[0] == "bridged"


def test_a_refer_that_fails_after_the_colleague_is_gone_gives_the_caller_back():
    machine, leg, refer = stepping_out()
    machine.handle(LegEnded(leg=leg), 3500.0)
    done = machine.handle(TransferProgress(request=refer.request, code=503, final=True), 3600.0)
    assert finished(done)[:2] == ("returned", 503)


def test_both_hear_the_introduction_over_their_bridge():
    machine = handoff(introduction="You are connected.")
    leg = answered(machine)
    (bridge,) = of(machine.handle(LegDtmf(leg=leg, digit="1"), 3000.0), Bridge)
    (say,) = of(machine.handle(Result(request=bridge.request, ok=True), 3010.0), SayToBoth)
    assert (say.leg, say.text) == (leg, "You are connected.")


def test_the_colleague_gives_the_caller_back_by_key():
    machine = handoff(return_keys="*9")
    leg = talking(machine)
    for digit in "1*8*":
        assert machine.handle(LegDtmf(leg=leg, digit=digit), 5000.0) == []
    commands = machine.handle(LegDtmf(leg=leg, digit="9"), 5000.0)
    assert [u.leg for u in of(commands, Unbridge)] == [leg]
    assert finished(commands) == ("returned", 0, "given back by the colleague")


def test_who_finds_the_desk_busy_waits_and_the_desk_is_called_again():
    """In the queue, with music; until the wait is over, then the bot has the caller back."""
    machine = handoff(busy_waits=True, redial_ms=15_000, wait_ms=20_000)
    now_ms = 0.0
    (dial,) = of(machine.begin(now_ms), Dial)
    for due_ms in (15_100.0, 20_000.0):
        now_ms += 100
        commands = machine.handle(Result(request=dial.request, ok=False, code=486), now_ms)
        (waiting,) = of(commands, StageChanged)
        assert (waiting.stage, waiting.detail) == (Stage.WAITING, "busy")
        assert waiting.again is (due_ms < 20_000)  # told once
        assert not of(commands, HoldCaller)  # the music goes on
        assert machine.next_deadline_ms() == due_ms
        now_ms = due_ms
        (dial,) = of(machine.advance(now_ms), Dial)
    done = machine.handle(Result(request=dial.request, ok=False, code=486), now_ms + 100)
    assert finished(done) == ("returned", 486, "busy")


def test_who_finds_nobody_there_does_not_wait_for_a_busy_desk():
    machine = handoff(busy_waits=True)
    (dial,) = of(machine.begin(0.0), Dial)
    done = machine.handle(Result(request=dial.request, ok=False, code=480), 100.0)
    assert finished(done) == ("returned", 480, "no answer")
