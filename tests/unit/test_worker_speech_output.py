"""What the bot says is rendered one by one, cleared at once, and accounted by what was heard."""

from voicebot.dialogue.actions import Speak
from voicebot.dialogue.events import PromptFinished, PromptInterrupted
from voicebot.link.binary_media import BotAudio
from voicebot.link.messages import Clear, Cleared, ClearedUtterance, EndUtterance, Played
from voicebot.worker.effects import BeginSynthesis, CancelSynthesis, SpeechAudio, SpeechDone, ToEdge
from voicebot.worker.speech_output import SpeechOutput


def two_queued():
    output = SpeechOutput()
    first = output.say(Speak(utterance="u1", text="hello"))
    second = output.say(Speak(utterance="u2", text="there"))
    return output, first, second


def test_one_utterance_is_rendered_at_a_time():
    output, first, second = two_queued()
    assert first == [BeginSynthesis("u1", "hello")]
    assert second == []
    assert output.audio(SpeechAudio("u1", b"\x01" * 320)) == [ToEdge(BotAudio(0, "u1", b"\x01" * 320))]
    effects, finished = output.rendered(SpeechDone("u1"))
    assert effects == [ToEdge(EndUtterance(utterance="u1")), BeginSynthesis("u2", "there")]
    assert finished == []


def test_an_utterance_is_finished_when_the_edge_says_so():
    output, _, _ = two_queued()
    output.audio(SpeechAudio("u1", b"\x01" * 320))
    output.rendered(SpeechDone("u1"))
    assert output.played(Played(utterance="u1", played_ms=20)) == []
    assert output.played(Played(utterance="u1", played_ms=40, finished=True)) == [
        PromptFinished(utterance="u1")
    ]
    assert output.speaking


def test_a_voice_that_gives_nothing_does_not_hold_up_the_call():
    output, _, _ = two_queued()
    effects, finished = output.rendered(SpeechDone("u1", "no voice"))
    assert finished == [PromptFinished(utterance="u1")]
    assert effects == [BeginSynthesis("u2", "there")]


def test_clear_drops_everything_and_says_what_was_heard():
    output, _, _ = two_queued()
    output.audio(SpeechAudio("u1", b"\x01" * 8000))
    output.played(Played(utterance="u1", played_ms=300))
    effects, interrupted = output.clear()
    assert effects == [ToEdge(Clear(generation=1)), CancelSynthesis("u1")]
    assert interrupted == [PromptInterrupted(utterance="u2", played_ms=0)]
    assert not output.speaking
    cleared = Cleared(
        generation=1, utterances=(ClearedUtterance(utterance="u1", played_ms=320, dropped_ms=680),)
    )
    assert output.cleared(cleared) == [PromptInterrupted(utterance="u1", played_ms=320)]


def test_late_audio_of_a_cleared_utterance_is_dropped_and_new_audio_has_the_new_generation():
    output, _, _ = two_queued()
    output.audio(SpeechAudio("u1", b"\x01" * 160))
    output.clear()
    assert output.audio(SpeechAudio("u1", b"\x01" * 160)) == []
    output.say(Speak(utterance="u3", text="new"))
    assert output.audio(SpeechAudio("u3", b"\x02")) == [ToEdge(BotAudio(1, "u3", b"\x02"))]


def test_one_utterance_that_must_be_heard_protects_the_queue():
    output = SpeechOutput()
    output.say(Speak(utterance="u1", text="a"))
    assert output.speech_may_interrupt
    output.say(Speak(utterance="u2", text="b", speech_barge_in=False))
    assert not output.speech_may_interrupt
    assert output.dtmf_may_interrupt


def test_the_rest_of_an_utterance_follows_what_a_worker_before_us_has_sent():
    """Rendered again, the part that is at the edge is left out, wherever the pieces are cut."""
    output = SpeechOutput(first_generation=2)
    output.say(Speak(utterance="u1", text="hello"), at_edge_bytes=400, played_ms=20)
    voice = bytes(range(1, 201)) * 3
    sent = b""
    for at in range(0, 600, 240):
        for effect in output.audio(SpeechAudio("u1", voice[at : at + 240])):
            assert effect.message.generation == 2
            sent += effect.message.payload
    assert sent == voice[400:]
    effects, _ = output.rendered(SpeechDone("u1"))
    assert effects == [ToEdge(EndUtterance(utterance="u1"))]
