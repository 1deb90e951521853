"""The queue in which audio and control keep their order."""

from voicebot.link.binary_media import BotAudio
from voicebot.link.messages import EndUtterance
from voicebot.link.queues import MergedQueue


def audio(name):
    return BotAudio(generation=0, utterance=name, payload=b"")


def drain(queue):
    return [queue.get().utterance for _ in range(len(queue))]


def test_audio_and_control_keep_their_common_order():
    """What was put first comes out first, whatever it is."""
    queue = MergedQueue(10)
    for item in (audio("a"), EndUtterance(utterance="b"), audio("c"), EndUtterance(utterance="d")):
        queue.put(item)
    assert drain(queue) == ["a", "b", "c", "d"]


def test_full_of_audio_the_oldest_audio_goes_and_control_stays():
    """Audio is dropped oldest first and counted; no control message is lost."""
    queue = MergedQueue(2)
    dropped = [
        queue.put(item)
        for item in (EndUtterance(utterance="x"), audio("a"), EndUtterance(utterance="y"), audio("b"))
    ]
    dropped.append(queue.put(audio("c")))
    assert dropped == [0, 0, 0, 0, 1]
    assert queue.control_length == 2
    assert drain(queue) == ["x", "y", "b", "c"]


def test_peek_takes_nothing():
    """Looking leaves the message where it is."""
    queue = MergedQueue(2)
    queue.put(audio("a"))
    assert queue.peek() is queue.get()
