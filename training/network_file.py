"""The acoustic model as an nnet3 network, and the whole of ``final.mdl``.

BatchNorm becomes a fixed scale and bias behind each ReLU; where nothing bypasses it, it is folded into
the next affine layer. Input normalisation is folded into the first.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.kaldi_binary import KaldiWriter
from training.model import SKIP, SUBSAMPLING, AcousticModel
from training.phone_set import PhoneSet

Matrix = NDArray[np.float64]


def _array(tensor: Any) -> Matrix:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)


def _norm(layer: Any) -> tuple[Matrix, Matrix]:
    """A trained BatchNorm as y = scale * x + bias."""
    scale = _array(layer.weight) / np.sqrt(_array(layer.running_var) + layer.eps)
    return scale, _array(layer.bias) - _array(layer.running_mean) * scale


class NetworkWriter:
    """Collects configuration lines and components."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.parts: list[tuple[str, KaldiWriter]] = []

    def node(self, name: str, source: str, part: KaldiWriter) -> str:
        """One component fed by a descriptor; returns its name."""
        self.lines.append(f"component-node name={name} component={name} input={source}")
        self.parts.append((name, part))
        return name

    def affine(self, name: str, source: str, offsets: list[int], weight: Matrix, bias: Matrix) -> str:
        """A convolution: weight (out, in, kernel), one kernel column per offset in 10 ms frames."""
        terms = [source if offset == 0 else f"Offset({source}, {offset})" for offset in offsets]
        descriptor = terms[0] if len(terms) == 1 else f"Append({', '.join(terms)})"
        part = _part()
        part.token("<FixedAffineComponent>")
        part.token("<LinearParams>")
        part.matrix(weight.transpose(0, 2, 1).reshape(weight.shape[0], -1))
        part.token("<BiasParams>")
        part.vector(bias)
        part.token("</FixedAffineComponent>")
        return self.node(name, descriptor, part)

    def nonlinear(self, name: str, source: str, kind: str, dim: int) -> str:
        """A RectifiedLinearComponent or LogSoftmaxComponent without statistics."""
        part = _part()
        part.token(f"<{kind}>")
        part.token("<Dim>")
        part.integer(dim)
        for field in ("<ValueAvg>", "<DerivAvg>"):
            part.token(field)
            part.vector([])
        part.token("<Count>")
        part.double(0.0)
        part.token("<OderivRms>")
        part.vector([])
        for field in ("<OderivCount>", "<NumDimsSelfRepaired>", "<NumDimsProcessed>"):
            part.token(field)
            part.double(0.0)
        part.token(f"</{kind}>")
        return self.node(name, source, part)

    def scale_and_bias(self, name: str, source: str, scale: Matrix, bias: Matrix) -> str:
        """Two fixed components, one after the other."""
        first = _part()
        first.token("<FixedScaleComponent>")
        first.token("<Scales>")
        first.vector(scale)
        first.token("</FixedScaleComponent>")
        second = _part()
        second.token("<FixedBiasComponent>")
        second.token("<Bias>")
        second.vector(bias)
        second.token("</FixedBiasComponent>")
        return self.node(f"{name}.bias", self.node(f"{name}.scale", source, first), second)

    def write(self, out: KaldiWriter) -> None:
        """The <Nnet3> section."""
        out.token("<Nnet3>")
        out.text("\n" + "\n".join(self.lines) + "\n\n")
        out.token("<NumComponents>")
        out.integer(len(self.parts))
        for name, part in self.parts:
            out.token("<ComponentName>")
            out.token(name)
            out.data += part.data
        out.token("</Nnet3>")


def _part() -> KaldiWriter:
    writer = KaldiWriter()
    writer.data.clear()
    return writer


def network(model: AcousticModel) -> NetworkWriter:
    """The trained model as nnet3 components."""
    net, shape = NetworkWriter(), model.shape
    net.lines.append(f"input-node name=input dim={shape.inputs}")

    def front(
        name: str, layer: Any, source: str, offsets: list[int], scale: Matrix, bias: Matrix
    ) -> str:
        """An affine layer whose input is scale * x + bias, then ReLU."""
        weight = _array(layer.weight)
        offset = _array(layer.bias) + np.einsum("oik,i->o", weight, bias)
        node = net.affine(f"{name}.affine", source, offsets, weight * scale[None, :, None], offset)
        return net.nonlinear(f"{name}.relu", node, "RectifiedLinearComponent", weight.shape[0])

    scale = _array(model.inverse_std)
    node = front("front", model.front, "input", [-2, -1, 0, 1, 2], scale, -_array(model.mean) * scale)
    node = front("stride", model.stride, node, [-1, 0, 1], *_norm(model.front_norm))
    total = net.scale_and_bias("stride", node, *_norm(model.stride_norm))
    for number, block in enumerate(model.blocks):
        name = f"block{number}"
        linear = _array(block.linear.weight)
        reach = -SUBSAMPLING * int(block.reach)
        node = net.affine(f"{name}.linear", total, [reach, 0], linear, np.zeros(linear.shape[0]))
        weight = _array(block.affine.weight)
        ahead = [0, SUBSAMPLING] if block.lookahead else [0]
        node = net.affine(f"{name}.affine", node, ahead, weight, _array(block.affine.bias))
        node = net.nonlinear(f"{name}.relu", node, "RectifiedLinearComponent", shape.width)
        node = net.scale_and_bias(name, node, *_norm(block.norm))
        # A descriptor may be summed but not appended with offsets of a sum; a no-op carries the sum.
        carry = _part()
        carry.token("<NoOpComponent>")
        carry.token("<Dim>")
        carry.integer(shape.width)
        carry.token("<BackpropScale>")
        carry.single(1.0)
        carry.token("</NoOpComponent>")
        total = net.node(f"{name}.sum", f"Sum(Scale({SKIP}, {total}), {node})", carry)
    node = net.affine("output.affine", total, [0], _array(model.out.weight), _array(model.out.bias))
    node = net.nonlinear("output.log-softmax", node, "LogSoftmaxComponent", shape.outputs)
    net.lines.append(f"output-node name=output input={node} objective=linear")
    return net


def write_final_mdl(path: Path, model: AcousticModel, phones: PhoneSet, priors: Matrix | None) -> None:
    """Write final.mdl; the decoder divides by ``priors`` (outputs,), which need not be true priors."""
    out = KaldiWriter()
    phones.write(out)
    network(model).write(out)
    out.token("<LeftContext>")
    out.integer(model.shape.left)
    out.token("<RightContext>")
    out.integer(model.shape.right)
    out.token("<Priors>")
    out.vector([] if priors is None else priors)
    path.write_bytes(bytes(out.data))
