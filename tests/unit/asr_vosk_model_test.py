"""A model directory is checked before Vosk's C++ code, which aborts the process on some, sees it."""

import shutil
from pathlib import Path

import pytest

from voicebot.asr.vosk_model import packaged_model, read_model_directory
from voicebot.core.errors import ConfigError

TINY = Path(__file__).parent.parent / "data" / "asr" / "tiny-16k"


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(TINY, tmp_path / "model")


def test_reads_rate_words_and_kind_of_graph():
    """The rate comes from mfcc.conf, the words from words.txt, grammars from HCLr.fst."""
    directory = read_model_directory(TINY)
    assert directory.sample_rate_hz == 16000
    assert {"one", "yes"} <= directory.words
    assert "<eps>" not in directory.words
    assert directory.grammars
    assert directory.has_unknown_word


def test_the_packaged_model_is_narrowband():
    """The default model takes telephone audio as it is and knows run-time grammars and [unk]."""
    directory = read_model_directory(packaged_model())
    assert directory.sample_rate_hz == 8000
    assert directory.grammars
    assert directory.has_unknown_word
    assert {"zero", "oh", "double", "yes", "no", "balance", "operator", "menu"} <= directory.words


def test_a_missing_directory_is_a_sentence(tmp_path):
    """No download is tried: the error names the path and the setting."""
    with pytest.raises(ConfigError, match=r"asr\.model_path.*no model directory"):
        read_model_directory(tmp_path / "vosk-model-small-en-us-0.15")


@pytest.mark.parametrize(
    "name", ["am/final.mdl", "conf/mfcc.conf", "conf/model.conf", "graph/words.txt", "graph/HCLr.fst",
             "graph/Gr.fst", "graph/disambig_tid.int"]
)  # fmt: skip
def test_a_missing_file_is_named(model, name):
    """Each file without which Vosk fails or aborts."""
    (model / name).unlink()
    with pytest.raises(ConfigError, match=name.split("/")[-1]):
        read_model_directory(model)


def test_an_empty_graph_is_refused(model):
    """A cut-off copy."""
    (model / "graph" / "HCLr.fst").write_bytes(b"")
    with pytest.raises(ConfigError, match="empty"):
        read_model_directory(model)


@pytest.mark.parametrize("line", ["--endpoint.silence-phones=1\n", "--frame-subsampling-factor=3\n"])
def test_a_configuration_that_aborts_vosk_is_refused(model, line):
    """Without silence phones Kaldi asserts; another subsampling factor gives wrong times."""
    conf = model / "conf" / "model.conf"
    conf.write_text(conf.read_text().replace(line, ""))
    with pytest.raises(ConfigError, match=line.split("=")[0]):
        read_model_directory(model)


def test_a_fixed_graph_cannot_take_grammars(model):
    """HCLG.fst beside the dynamic graph wins in Vosk."""
    (model / "graph" / "HCLG.fst").write_bytes(b"graph")
    assert not read_model_directory(model).grammars


def test_a_rate_the_bot_cannot_give_is_refused(model):
    """Official models are 8 or 16 kHz."""
    conf = model / "conf" / "mfcc.conf"
    conf.write_text(conf.read_text().replace("16000", "44100"))
    with pytest.raises(ConfigError, match="44100 Hz"):
        read_model_directory(model)


def test_the_older_flat_layout_is_read(model, tmp_path):
    """Old small models have everything in one folder."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("am/final.mdl", "conf/mfcc.conf", "graph/words.txt", "graph/HCLr.fst", "graph/Gr.fst"):
        shutil.copy(model / name, flat)
    assert read_model_directory(flat).sample_rate_hz == 16000
