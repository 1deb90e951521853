"""Echo, noise, gain, clipping and tandem codings of the caller's sound; synthetic words."""

import shutil

import numpy as np
import pytest
from loopback_bot import LoopbackBot

from sip_test_harness import Caller, CallerOptions, MediaOptions, ScriptError, UsageError, write_wav
from sip_test_harness.script_reader import read_script
from sip_test_harness.speech_text import speak_text
from sip_test_harness.voice import Voice, VoicePath
from sip_test_harness.wav_file import place_sent


def tone(blocks=50, amplitude=8000):
    return (amplitude * np.sin(np.arange(blocks * 160) * 0.35)).astype(np.int16).reshape(blocks, 160)


def level_db(samples):
    return 10 * np.log10(np.mean(samples.astype(float) ** 2) / 32768.0**2 + 1e-12)


@pytest.mark.parametrize("noise", ["white", "pink"])
def test_noise_has_its_level_and_repeats_with_the_seed(noise):
    """Noise of -40 dBov measures -40 dBov; the same seed gives the same samples."""
    path, again = (VoicePath(Voice(noise=noise, noise_dbov=-40), 3) for _ in range(2))
    silence = np.zeros(160, np.int16)
    out = np.concatenate([path.speak(silence) for _ in range(200)])
    assert level_db(out) == pytest.approx(-40, abs=0.7)
    assert np.array_equal(out[:160], again.speak(silence))


def test_gain_clipping_and_tandem():
    """-6 dB halves, clipping at -12 dBov bounds, tandem codings change a little."""
    block = tone()[3]
    assert np.abs(VoicePath(Voice(gain_db=-6.02), 1).speak(block) - block / 2).max() <= 1
    assert np.abs(VoicePath(Voice(clip_dbov=-12.04), 1).speak(block)).max() <= 8193
    coded = VoicePath(Voice(tandem=3), 1).speak(block)
    error = np.abs(coded.astype(float) - block)
    assert 0 < error.max() < 400


def test_babble_comes_from_a_file(tmp_path):
    """A WAV is looped at the stated level; a silent one is refused."""
    write_wav(tmp_path / "b.wav", tone(10).reshape(-1))
    out = np.concatenate(
        [
            VoicePath(Voice(noise=str(tmp_path / "b.wav"), noise_dbov=-30), 1).speak(
                np.zeros(160, np.int16)
            )
            for _ in range(1)
        ]
    )
    assert level_db(out) == pytest.approx(-30, abs=1)
    write_wav(tmp_path / "s.wav", np.zeros(800, np.int16))
    with pytest.raises(UsageError):
        VoicePath(Voice(noise=str(tmp_path / "s.wav")), 1)


def test_echo_comes_back_later_and_weaker():
    """100 ms and about 12 dB: nothing in the first five blocks, then the tone."""
    path = VoicePath(Voice(echo="hybrid", return_loss_db=12, echo_delay_ms=100), 1)
    silence, out = np.zeros(160, np.int16), []
    for block in tone(40):
        path.hear(block)
        out.append(path.speak(silence))
    assert level_db(np.concatenate(out[:5])) < -80
    assert -45 < level_db(np.concatenate(out[10:])) < level_db(tone(40).reshape(-1)) - 5


@pytest.mark.loopback
async def test_the_bot_hears_its_own_greeting_from_a_speakerphone():
    """With echo the bot's tone comes back in the caller's packets; without it they are silent."""
    levels = {}
    for echo in ("none", "speakerphone"):
        voice = Voice(echo=echo, return_loss_db=10, echo_delay_ms=100)
        async with (
            LoopbackBot(greeting_ms=800) as bot,
            Caller(bot.uri, CallerOptions(limit_s=10, media=MediaOptions(voice=voice))) as call,
        ):
            await call.invite()
            await call.sleep(0.9)
        spoken = call.media.spoken
        levels[echo] = level_db(place_sent(spoken, spoken[0][0], 8000))
    assert levels["none"] < -90
    assert levels["speakerphone"] > -50


def test_a_scripts_voice_is_checked(tmp_path):
    """Voice settings are read; wrong ones name their key."""
    path = tmp_path / "x.yaml"
    path.write_text("turns: []\nvoice: {echo: hybrid, noise: pink, noise_dbov: -45, gain_db: -3}\n")
    assert read_script(path).voice == Voice(echo="hybrid", noise="pink", noise_dbov=-45, gain_db=-3)
    for text, key in (
        ("{echo: cave}", "voice.echo"),
        ("{noise: none.wav}", "voice.noise"),
        ("{gain_db: loud}", "voice.gain_db"),
        ("{clip_dbov: 3}", "voice.clip_dbov"),
        ("{speed: 1}", "voice.speed"),
    ):
        path.write_text(f"turns: []\nvoice: {text}\n")
        with pytest.raises(ScriptError) as caught:
            read_script(path)
        assert caught.value.key == key


@pytest.mark.peer
@pytest.mark.skipif(
    not (shutil.which("flite") or shutil.which("espeak-ng")),
    reason="flite or espeak-ng is not installed",
)
def test_words_are_spoken():
    """A text becomes a second or so of 8 kHz speech, even when it looks like an option."""
    samples = speak_text("-what is my balance")
    assert 0.5 < len(samples) / 8000 < 4
    assert level_db(samples) > -45
    with pytest.raises(UsageError):
        speak_text(" ")
