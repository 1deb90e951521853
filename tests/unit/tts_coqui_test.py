"""Runs where the extra is installed (make test-coqui); a tiny model of random weights says no words."""

import importlib.util
import threading

import numpy as np
import pytest

from voicebot.core.errors import SynthesisError
from voicebot.tts.coqui import CoquiVoice
from voicebot.tts.protocol import NEUTRAL, Prosody

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]  # torch alone takes seconds to import
WITH_COQUI = pytest.mark.skipif(
    importlib.util.find_spec("TTS") is None, reason="the extra voicebot[coqui] is not installed"
)
TEXT = "Your balance is forty two pounds and ten pence."


@pytest.fixture(scope="module")
def vits_dir(tmp_path_factory):
    """Built by Coqui's own classes, saved as its trainer saves."""
    from voicebot.tts.vits_recipe import vits_8k_config

    config = vits_8k_config("tiny")
    import torch
    from TTS.tts.models.vits import Vits

    torch.manual_seed(1)
    directory = tmp_path_factory.mktemp("vits")
    model = Vits(config)
    model.config.save_json(str(directory / "config.json"))
    torch.save({"model": model.state_dict()}, directory / "model.pth")
    return directory


@pytest.fixture(scope="module")
def vits(vits_dir):
    return CoquiVoice(vits_dir, device="cpu")


def record(voice, prosody=NEUTRAL):
    pieces = []
    voice.synthesize(TEXT, lambda s: pieces.append(s) is None, prosody)
    return pieces


@WITH_COQUI
def test_a_saved_model_speaks_through_the_public_path(vits):
    """8 kHz as configured, in several pieces of growing size, none of them silent padding."""
    pieces = record(vits)
    assert vits.sample_rate_hz == 8000
    assert [p.size for p in pieces[:2]] == [12 * 128, 24 * 128]
    assert all(p.dtype == np.int16 for p in pieces)
    assert np.abs(np.concatenate(pieces)).max() > 0


@WITH_COQUI
def test_windows_join_to_what_the_whole_decoder_gives(vits):
    """Decoding by windows differs by one step of 16 bit at most."""
    with vits._torch.inference_mode():
        latent, conditioning = vits._encode(TEXT, 1.0)
        whole = vits._decoder(latent, g=conditioning).squeeze().numpy()
        pieces = []
        vits._decode_by_windows(latent, conditioning, lambda s: pieces.append(s) is None)
    windows = np.concatenate(pieces)
    assert windows.size == whole.size
    assert np.abs(windows - np.rint(whole * 32768)).max() <= 1


@WITH_COQUI
def test_it_stops_after_the_piece_that_was_refused(vits):
    """Barge-in costs one window."""
    calls = []
    vits.synthesize(TEXT, lambda s: calls.append(s.size) or len(calls) < 2)
    assert len(calls) == 2


@WITH_COQUI
def test_only_what_speaking_needs_stays_in_memory(vits):
    """Discriminator and posterior encoder are gone."""
    assert vits._model.disc is None
    assert vits._model.posterior_encoder is None


@WITH_COQUI
def test_rate_and_pitch_change_the_length_as_they_should(vits):
    """Half as fast is longer; a pitch alone keeps the length."""
    plain = sum(p.size for p in record(vits))
    slow = sum(p.size for p in record(vits, Prosody(rate=0.5)))
    high = sum(p.size for p in record(vits, Prosody(pitch=1.2)))
    assert slow > 1.4 * plain
    assert high == pytest.approx(plain, rel=0.35)


@WITH_COQUI
def test_threads_share_one_model(vits):
    """Four at once: everybody gets audio, nobody an error."""
    lengths, errors = [], []

    def work():
        try:
            lengths.append(sum(p.size for p in record(vits)))
        except Exception as error:  # noqa: BLE001  shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    assert len(lengths) == 4
    assert min(lengths) > 0


@WITH_COQUI
def test_the_renderer_speaks_with_a_coqui_model_and_its_own_profile(vits_dir, tmp_path):
    """tts.engine=coqui with model_path; the profile beside the model is used."""
    from voicebot.audio.narrowband import VoiceProfile
    from voicebot.config.settings import TtsSettings
    from voicebot.tts.build import build_renderer
    from voicebot.tts.profiles import store_profile

    store_profile(vits_dir / "profiles.json", "coqui", VoiceProfile(30.0, (), ()))
    settings = TtsSettings(engine="coqui", model_path=vits_dir, deadline_ms=20_000)
    renderer = build_renderer(settings)
    assert renderer._open("coqui").profile.gain_db == 30.0
    assert len(b"".join(renderer.render("Hello there."))) > 400


@WITH_COQUI
@pytest.mark.parametrize("kind", ["glow_tts", "fast_pitch"])
def test_a_spectrogram_model_speaks_through_its_vocoder(kind, tmp_path):
    """GlowTTS and FastPitch with HiFi-GAN; without the vocoder the directory is refused."""
    from voicebot.tts.coqui_stand_ins import install_stand_ins

    install_stand_ins()
    import torch
    from TTS.config import register_config
    from TTS.config.shared_configs import BaseAudioConfig
    from TTS.tts.models import setup_model
    from TTS.vocoder.configs import HifiganConfig
    from TTS.vocoder.models import setup_model as setup_vocoder

    audio = BaseAudioConfig(
        sample_rate=8000, fft_size=512, win_length=512, hop_length=128, mel_fmax=4000
    )
    config = register_config(kind)(audio=audio, use_phonemes=False, text_cleaner="basic_cleaners")
    model = setup_model(config)
    model.config.save_json(str(tmp_path / "config.json"))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    with pytest.raises(SynthesisError, match="needs a vocoder"):
        CoquiVoice(tmp_path, device="cpu")

    vocoder_config = HifiganConfig(audio=audio)
    vocoder_config.generator_model_params.update(
        upsample_factors=[8, 8, 2], upsample_kernel_sizes=[16, 16, 4], upsample_initial_channel=32
    )
    (tmp_path / "vocoder").mkdir()
    vocoder_config.save_json(str(tmp_path / "vocoder" / "config.json"))
    torch.save(
        {"model": setup_vocoder(vocoder_config).state_dict()}, tmp_path / "vocoder" / "vocoder.pth"
    )
    pieces = record(CoquiVoice(tmp_path, device="cpu"))
    assert sum(p.size for p in pieces) > 0


@WITH_COQUI
def test_a_file_that_is_no_model_is_refused_with_its_name(tmp_path):
    """A broken download is a sentence, not a traceback."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.pth").write_bytes(b"no model")
    with pytest.raises(SynthesisError, match="cannot be loaded as a Coqui model"):
        CoquiVoice(tmp_path)


def test_a_directory_without_a_model_is_refused(tmp_path):
    """Before anything heavy is imported."""
    with pytest.raises(SynthesisError, match=r"exactly one \.pth"):
        CoquiVoice(tmp_path)
    with pytest.raises(SynthesisError, match="is no directory"):
        CoquiVoice(tmp_path / "nowhere")


@pytest.mark.skipif(importlib.util.find_spec("TTS") is not None, reason="coqui-tts is installed")
def test_without_the_extra_the_message_says_what_to_install(tmp_path):
    """The default installation has no coqui-tts."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(SynthesisError, match=r"voicebot\[coqui\]"):
        CoquiVoice(tmp_path)
