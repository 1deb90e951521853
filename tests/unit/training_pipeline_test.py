"""The training pipeline's own arithmetic. Needs the dependency group "training"; skipped without it."""

import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from training.splits import split_of

TINY = Path(__file__).parent.parent / "data" / "asr" / "tiny-16k"


def needs(*modules):
    """Skip a test, saying why, where the training group is not installed."""
    missing = [m for m in modules if not _importable(m)]
    return pytest.mark.skipif(
        bool(missing), reason=f"dependency group training: {missing} not installed"
    )


def _importable(module):
    import importlib.util

    return importlib.util.find_spec(module) is not None


def test_a_speaker_is_in_one_split_for_ever():
    """The splits are fixed by name: a changed hash would leak test speakers into training."""
    assert split_of("fsdd", "fsdd-theo") == "test"
    assert split_of("fsdd", "fsdd-nicolas") == "dev"
    assert split_of("fsdd", "fsdd-george") == "train"
    assert split_of("synthetic", "anybody") == "train"
    drawn = [split_of("speech_commands", f"sc-{n:08x}") for n in range(2000)]
    assert drawn[:6] == [split_of("speech_commands", f"sc-{n:08x}") for n in range(6)]
    assert 0.25 < drawn.count("test") / 2000 < 0.35
    assert 0.08 < drawn.count("dev") / 2000 < 0.16


@needs("kaldi_native_fbank")
def test_features_are_kaldis():
    """Our whole-utterance MFCC equals kaldi-native-fbank's to a thousandth."""
    import kaldi_native_fbank as knf

    from training.features import mfcc

    options = knf.MfccOptions()
    options.frame_opts.samp_freq = 8000
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 40
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -200
    options.num_ceps = 40
    options.use_energy = False
    audio = np.random.default_rng(0).normal(0, 2000, 16000).astype(np.float32)
    online = knf.OnlineMfcc(options)
    online.accept_waveform(8000, audio)
    online.input_finished()
    expected = np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])
    assert mfcc(audio).shape == expected.shape
    assert np.abs(mfcc(audio) - expected).max() < 1e-3


@needs("torch", "pocketsphinx")
def test_the_model_gives_one_output_for_three_frames():
    """ceil(frames / 3) outputs whatever the length, and the stated context is the real one."""
    import torch

    from training.model import AcousticModel, Shape

    torch.manual_seed(0)
    shape = Shape(front=8, width=8, bottleneck=4)
    model = AcousticModel(shape).eval()
    for frames in (1, 2, 3, 100):
        assert model(torch.zeros(1, frames, 40)).shape == (1, math.ceil(frames / 3), 40)
    features = torch.randn(1, 300, 40)
    changed = features.clone()
    changed[:, 150] += 1.0
    moved = (model(features) - model(changed)).abs().sum(-1)[0].nonzero().flatten() * 3
    assert moved.min() >= 150 - shape.right
    assert moved.max() <= 150 + shape.left


@needs("pocketsphinx")
def test_digit_strings_have_pronunciations():
    """Every word that the text grammars draw can be trained and decoded."""
    from training.lexicon import lexicon
    from training.texts import Caller

    caller = Caller(random.Random(1))
    words = {word for _ in range(2000) for word in caller.utterance().split()}
    assert not words - set(lexicon())


@needs("pocketsphinx")
def test_transcripts_are_normalised_or_refused():
    """Digits and signs become words, hints go, a word without pronunciation refuses the text."""
    from training.lexicon import normalise

    assert normalise("Press 0 for help [beep]") == ["press", "zero", "for", "help"]
    assert normalise("DON\u2019T stop!") == ["don't", "stop"]
    assert normalise("xqzzy said so") is None


@needs("pocketsphinx")
def test_transition_ids_follow_kaldis_order():
    """Triples sorted by phone and state, ids from 1, one log-probability for each and one for id 0."""
    from training.phone_set import SIL, PhoneSet

    phones = PhoneSet()
    assert phones.triples == sorted(phones.triples)
    assert phones.transition(SIL, 0, 0) == 1
    assert phones.transition(SIL, 0, 1) == 2
    assert len(phones.log_probabilities) == phones.transition_count + 1
    assert len(phones.phones) == 1 + 39 * 4


@needs("pocketsphinx", "torch")
def test_loss_patterns_have_the_rate_asked_for():
    """The Gilbert model loses what it says, in bursts of the mean length asked for."""
    from training.augmentation import lost_frames

    pattern = lost_frames(40000, 0.1, 2.0, np.random.default_rng(0))
    bursts = sum(1 for a, b in zip([False, *pattern], pattern, strict=False) if b and not a)
    assert sum(pattern) / 40000 == pytest.approx(0.1, abs=0.01)
    assert sum(pattern) / bursts == pytest.approx(2.0, abs=0.15)


@needs("pocketsphinx")
def test_the_bigram_sums_to_one():
    """The unigram state of the language model is a distribution over words and [unk]."""
    from training.lm import bigram

    arcs = bigram(
        [["yes", "please"], ["no"]] * 5, {"yes", "no", "please"}, unknown="[unk]", unknown_share=0.1
    )
    shares = {a.word: math.exp(-a.cost) for a in arcs if a.source == 1 and a.word}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["[unk]"] == pytest.approx(0.1)


@needs("torch", "pocketsphinx", "vosk")
@pytest.mark.skipif(not shutil.which("fstcompile"), reason="Debian package libfst-tools not installed")
def test_vosk_computes_what_torch_computes():
    """The exported network gives the same score for every frame as the trained one."""
    import torch

    from training.export import check
    from training.model import AcousticModel, Shape

    torch.manual_seed(3)
    model = AcousticModel(Shape(front=8, width=8, bottleneck=4)).eval()
    clip = np.random.default_rng(0).normal(0, 1000, 8000).astype(np.float32)
    ((torch_score, vosk_score, same),) = check(model, [clip])
    assert vosk_score == pytest.approx(torch_score, abs=1e-4)
    assert same


@needs("pocketsphinx")
def test_rivals_are_other_words_that_fit():
    """Never the words said nor a homophone, always short enough, none for long utterances."""
    from training.lexicon import PHONE_INDEX, lexicon
    from training.rivals import RIVALS, RivalWords, needed_outputs

    rivals = RivalWords(np.random.default_rng(0))
    said = [[PHONE_INDEX[p] for p in form] for form in lexicon()["four"]]
    for _ in range(20):
        drawn = rivals.draw(["four"], 30)
        assert len(drawn) == RIVALS
        assert not any(reading in said for reading in drawn)
        assert all(needed_outputs(reading) < 30 for reading in drawn)
    assert rivals.draw(["one"] * 9, 100) == []
    assert rivals.draw(["seven"], 3) == []


@needs("torch", "pocketsphinx")
def test_forced_alignment_finds_the_frames():
    """Each label is entered where its score is, also when two equal labels follow each other."""
    from training.cut import path_of

    scores = np.full((12, 5), -9.0, np.float32)
    for frame, unit in enumerate([0, 2, 2, 0, 0, 3, 0, 3, 0, 4, 0, 0]):
        scores[frame, unit] = 0.0
    assert path_of(scores, [2, 3, 3, 4]).tolist() == [1, 5, 7, 9]


@needs("torch", "pocketsphinx", "vosk")
def test_a_packaged_network_can_be_trained_on(tmp_path):
    """Written, read back and given its norms again, the network computes what it did before."""
    import torch

    from training.model import AcousticModel, Shape
    from training.network_file import write_final_mdl
    from training.phone_set import PhoneSet
    from training.warm_start import read_final_mdl, restore_input_scale, restore_norms

    torch.manual_seed(4)
    shape = Shape(front=8, width=8, bottleneck=4)
    model = AcousticModel(shape).eval()
    model.front_norm.running_mean += 0.3
    model.stride_norm.running_var *= 2.0
    write_final_mdl(tmp_path / "final.mdl", model, PhoneSet(), None)
    back = read_final_mdl(tmp_path / "final.mdl", shape)
    clips = [torch.randn(50 + n, 40) * 5 + 1 for n in range(20)]
    with torch.no_grad():
        expected = model(clips[0][None])
        assert torch.allclose(back(clips[0][None]), expected, atol=1e-4)
        restore_input_scale(back, clips)
        restore_norms(back, clips)
        assert torch.allclose(back(clips[0][None]), expected, atol=1e-3)
    assert not torch.allclose(back.stride_norm.running_mean, torch.zeros(8))


@needs("torch", "pocketsphinx")
def test_silence_around_a_word_is_trimmed():
    """40 ms stay before and after; what is all speech stays whole."""
    from training.augmentation import trimmed

    word = np.random.default_rng(0).normal(0, 1000, 3200).astype(np.float32)
    padded = np.concatenate([np.zeros(4000, np.float32), word, np.zeros(4000, np.float32)])
    assert 3200 <= len(trimmed(padded)) <= 3200 + 5 * 160
    assert len(trimmed(word)) == len(word)
