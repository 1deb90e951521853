"""A packaged model directory -> a checkpoint, so that training can go on where a release ended.

``final.mdl`` holds no BatchNorm any more: `training.network_file` wrote each as a scale and a bias, or
folded it into the next layer. Here every BatchNorm is put back in a form that changes nothing: its
running mean and spread are measured on recordings, and its own scale and bias undo them. The network
computes what it computed before (``check`` of `training.export` says so), and can be trained further.
"""

import argparse
import json
import random
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from training.augmentation import augment
from training.data import load_audio, load_index
from training.export import check
from training.features import mfcc
from training.model import AcousticModel, Shape, save

Matrix = NDArray[np.float32]


class _Reader:
    """Finds named matrices and vectors in Kaldi's binary format."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def seek(self, token: str) -> None:
        """Go behind the next occurrence of a token."""
        found = self.data.index(f"{token} ".encode(), self.at)
        self.at = found + len(token) + 1

    def _integer(self) -> int:
        size, value = struct.unpack_from("<bi", self.data, self.at)
        if size != 4:
            raise ValueError("not a 32-bit number")
        self.at += 5
        return int(value)

    def _floats(self, count: int) -> Matrix:
        values = np.frombuffer(self.data, "<f4", count, self.at)
        self.at += 4 * count
        return values

    def matrix(self) -> Matrix:
        """The FM that starts here."""
        self.seek("FM")
        rows, columns = self._integer(), self._integer()
        return self._floats(rows * columns).reshape(rows, columns)

    def vector(self) -> Matrix:
        """The FV that starts here."""
        self.seek("FV")
        return self._floats(self._integer())


def _tensor(values: Matrix) -> Tensor:
    return torch.from_numpy(np.array(values))


def _fill_convolution(layer: nn.Conv1d, reader: _Reader, name: str) -> None:
    reader.seek(f"<ComponentName> {name}")
    reader.seek("<LinearParams>")
    weight = reader.matrix()
    outputs, inputs, taps = layer.weight.shape
    if weight.shape != (outputs, inputs * taps):
        raise ValueError(f"{name}: {weight.shape} does not fit {tuple(layer.weight.shape)}")
    layer.weight.data = _tensor(weight.reshape(outputs, taps, inputs).transpose(0, 2, 1))
    reader.seek("<BiasParams>")
    bias = _tensor(reader.vector())
    if layer.bias is not None:
        layer.bias.data = bias


def _fill_norm(layer: nn.BatchNorm1d, reader: _Reader, name: str) -> None:
    reader.seek(f"<ComponentName> {name}.scale")
    reader.seek("<Scales>")
    layer.weight.data = _tensor(reader.vector())
    reader.seek(f"<ComponentName> {name}.bias")
    reader.seek("<Bias>")
    layer.bias.data = _tensor(reader.vector())


def read_final_mdl(path: Path, shape: Shape) -> AcousticModel:
    """The network of a ``final.mdl`` that `network_file` wrote; each BatchNorm a scale and a bias."""
    reader = _Reader(path.read_bytes())
    model = AcousticModel(shape).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_var.fill_(1.0 - module.eps)  # type: ignore[operator]  # a buffer
    _fill_convolution(model.front, reader, "front.affine")
    _fill_convolution(model.stride, reader, "stride.affine")
    _fill_norm(model.stride_norm, reader, "stride")
    for number, block in enumerate(model.blocks):
        _fill_convolution(block.linear, reader, f"block{number}.linear")
        _fill_convolution(block.affine, reader, f"block{number}.affine")
        _fill_norm(block.norm, reader, f"block{number}")
    _fill_convolution(model.out, reader, "output.affine")
    return model


def training_clips(work: Path, count: int, seed: int = 3) -> list[NDArray[np.float32]]:
    """Damaged training recordings, at least half a second each."""
    audio, rng = load_audio(work), np.random.default_rng(seed)
    chosen = [u for u in load_index(work) if u.split == "train" and u.samples > 4000]
    random.Random(seed).shuffle(chosen)
    return [
        augment(audio[u.offset : u.offset + u.samples].astype(np.float32), rng) for u in chosen[:count]
    ]


def restore_norms(model: AcousticModel, features: list[Tensor]) -> None:
    """Measure the statistics of each BatchNorm's input, and let its scale and bias undo them."""
    sums: dict[nn.Module, list[Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0].transpose(0, 1).flatten(1).double()
        total = torch.stack([torch.full((len(x),), float(x.shape[1])), x.sum(1), (x**2).sum(1)])
        sums.setdefault(module, []).append(total)

    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    hooks = [m.register_forward_pre_hook(note) for m in norms]
    with torch.no_grad():
        for clip in features:
            model(clip[None])
    for hook in hooks:
        hook.remove()
    for norm in norms:
        count, total, squares = torch.stack(sums[norm]).sum(0)
        mean = total / count
        variance = (squares / count - mean**2).clamp_min(1e-6)
        scale, bias = norm.weight.data.double(), norm.bias.data.double()
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]  # always there
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.data = (scale * (variance + norm.eps).sqrt()).float()
        norm.bias.data = (bias + scale * mean).float()


def restore_input_scale(model: AcousticModel, features: list[Tensor]) -> None:
    """Take the normalisation of the input out of the first layer again."""
    frames = torch.cat(features).double()
    mean, spread = frames.mean(0), frames.std(0) + 1e-3
    weight = model.front.weight.data.double()
    model.front.bias.data = (model.front.bias.data + (weight * mean[None, :, None]).sum((1, 2))).float()
    model.front.weight.data = (weight * spread[None, :, None]).float()
    model.mean.copy_(mean)
    model.inverse_std.copy_(1.0 / spread)


def main() -> None:
    """Write the checkpoint and say how well it agrees with the engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("voicebot/asr/models/en-narrowband-8k"),
        help="model directory",
    )
    parser.add_argument("--out", type=Path, help="checkpoint (default: <work>/warm.pt)")
    args = parser.parse_args()
    model = read_final_mdl(args.model / "am" / "final.mdl", Shape())
    clips = training_clips(args.work, 150)
    features = [torch.from_numpy(mfcc(clip)) for clip in clips]
    with torch.no_grad():
        before = model(features[0][None])
        restore_input_scale(model, features)
        restore_norms(model, features)
        after = model(features[0][None])
    rows = list(check(model, clips[:10]))
    out = args.out or args.work / "warm.pt"
    save(out, model, ema={k: v.clone() for k, v in model.state_dict().items()})
    difference = float((before - after).abs().max())
    same = sum(agree for *_, agree in rows)
    Console().print(
        json.dumps(
            {"largest change of a score": round(difference, 5), "paths equal": f"{same}/{len(rows)}"}
        )
    )


if __name__ == "__main__":
    main()
