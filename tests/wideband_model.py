"""A 16 kHz model directory that hears, in the layouts of official models, made from the packaged one.

The mel filters below 3.8 kHz are the same at both rates; what differs is a constant: twice as many samples
in a frame and another pre-emphasis. So the packaged network with another bias in its first layer is a model
whose features are computed at 16 kHz, which only audio at 16 kHz can satisfy.
"""

import shutil
import struct
from pathlib import Path

import numpy as np

from training.features import COSINE_TRANSFORM, HIGH_HZ, LOW_HZ, MEL_BINS, MFCC_CONF, PREEMPHASIS
from voicebot.asr.vosk_model import packaged_model

FIXED_GRAPH = Path(__file__).parent / "data" / "asr" / "digits-hclg"
"""A loop of the ten digits, "oh", "yes", "no" and [unk] as HCLG.fst, by `python -m training.tiny`."""


def wideband_model(folder, *, fixed_graph=False):
    """Write the directory: am, conf, graph with HCLr.fst and Gr.fst, or with HCLG.fst."""
    packaged = packaged_model()
    for name in ("am", "conf"):
        (folder / name).mkdir(parents=True)
    network = (packaged / "am/final.mdl").read_bytes()
    (folder / "am/final.mdl").write_bytes(at_16_khz(network))
    conf = MFCC_CONF.replace("=8000", "=16000").replace("--high-freq=-200", f"--high-freq={HIGH_HZ:.0f}")
    # Without the allowances Vosk refuses audio at any other rate than this.
    lines = [line for line in conf.splitlines() if "sample=true" not in line]
    (folder / "conf/mfcc.conf").write_text("\n".join(lines) + "\n")
    shutil.copy(packaged / "conf/model.conf", folder / "conf/model.conf")
    shutil.copytree(FIXED_GRAPH if fixed_graph else packaged / "graph", folder / "graph")
    return folder


def at_16_khz(network):
    """The bytes of final.mdl with the first layer's bias corrected by what 16 kHz adds to its inputs."""
    at = network.index(b"<LinearParams> FM ") + len("<LinearParams> FM ")
    rows, columns = (struct.unpack_from("<i", network, at + offset)[0] for offset in (1, 6))
    at += 10
    weights = np.frombuffer(network, "<f4", rows * columns, at).reshape(rows, columns)
    at = network.index(b"<BiasParams> FV ", at) + len("<BiasParams> FV ") + 5
    bias = np.frombuffer(network, "<f4", rows, at)
    added = np.tile(added_at_16_khz(), columns // MEL_BINS)
    return network[:at] + (bias - weights @ added).astype("<f4").tobytes() + network[at + 4 * rows :]


def added_at_16_khz():
    """Cepstra at 16 kHz less those at 8 kHz, of the same sound."""
    mel_low, mel_high = (1127 * np.log(1 + hz / 700) for hz in (LOW_HZ, HIGH_HZ))
    mel = mel_low + (np.arange(MEL_BINS) + 1) * (mel_high - mel_low) / (MEL_BINS + 1)
    hz = 700 * (np.exp(mel / 1127) - 1)

    def emphasis(rate_hz):
        return np.abs(1 - PREEMPHASIS * np.exp(-2j * np.pi * hz / rate_hz)) ** 2

    return np.log(4 * emphasis(16_000) / emphasis(8_000)) @ COSINE_TRANSFORM
