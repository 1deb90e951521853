"""The acoustic model: a factored time-delay network trained with CTC.

    features (100 per second) -> affine(-2..2) -> ReLU -> BatchNorm
                              -> affine(-1..1), stride 3 -> ReLU -> BatchNorm       (33 per second)
                              -> n x [ linear(-3, 0) -> affine(0, +3) -> ReLU -> BatchNorm,
                                       plus 0.66 x the block's input ]
                              -> 40 outputs: blank + 39 phones

Offsets are in 10 ms frames. The look-ahead is short (the later blocks look back only), the past is
long: what a caller just said may cost nothing, waiting for what comes next costs response time.
All convolutions are "valid": only the raw input is padded by repeating its first and last frame,
which is what Kaldi does at the edges of an utterance.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.lexicon import PHONES

SKIP = 0.66
SUBSAMPLING = 3


@dataclass(frozen=True)
class Shape:
    """Sizes of the network.

    Attributes:
        inputs: Cepstra per frame.
        front: Width before the stride.
        width: Width of the blocks.
        bottleneck: Rank of each block.
        lookahead: For each block, 1 if it looks 30 ms ahead, else 0.
        reach: For each block, how far it looks back, in 30 ms frames.
        outputs: Blank and phones.
    """

    inputs: int = 40
    front: int = 192
    width: int = 384
    bottleneck: int = 96
    lookahead: tuple[int, ...] = (1, 1, 1, 0, 1, 0, 0, 0, 0)
    reach: tuple[int, ...] = (1, 1, 1, 1, 1, 2, 2, 3, 3)
    outputs: int = len(PHONES) + 1

    @property
    def left(self) -> int:
        """Context before a frame, in 10 ms frames."""
        return 3 + SUBSAMPLING * sum(self.reach)

    @property
    def right(self) -> int:
        """Look-ahead after a frame, in 10 ms frames."""
        return 3 + SUBSAMPLING * sum(self.lookahead)


class Block(nn.Module):
    """One factored layer with a bypass."""

    def __init__(self, width: int, bottleneck: int, reach: int, lookahead: int) -> None:
        super().__init__()
        self.reach, self.lookahead = reach, lookahead
        self.linear = nn.Conv1d(width, bottleneck, 2, dilation=reach, bias=False)
        self.affine = nn.Conv1d(bottleneck, width, 1 + lookahead)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, n) -> (batch, width, n - reach - lookahead)."""
        y = self.norm(torch.relu(self.affine(self.linear(x))))
        return y + SKIP * x[:, :, self.reach : x.shape[2] - self.lookahead]


class AcousticModel(nn.Module):
    """MFCC frames in, one score per blank or phone every 30 ms out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.front = nn.Conv1d(shape.inputs, shape.front, 5)
        self.front_norm = nn.BatchNorm1d(shape.front)
        self.stride = nn.Conv1d(shape.front, shape.width, 3, stride=SUBSAMPLING)
        self.stride_norm = nn.BatchNorm1d(shape.width)
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.bottleneck, reach, ahead)
            for reach, ahead in zip(shape.reach, shape.lookahead, strict=True)
        )
        self.out = nn.Conv1d(shape.width, shape.outputs, 1)
        self.register_buffer("mean", torch.zeros(shape.inputs))
        self.register_buffer("inverse_std", torch.ones(shape.inputs))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, inputs) -> logits (batch, ceil(frames / 3), outputs); output k is at 3k."""
        frames = features.shape[1]
        count = (frames + SUBSAMPLING - 1) // SUBSAMPLING
        x = torch.cat(
            [
                features[:, :1].expand(-1, self.shape.left, -1),
                features,
                features[:, -1:].expand(-1, self.shape.right + SUBSAMPLING, -1),
            ],
            dim=1,
        )
        x = ((x - self.mean) * self.inverse_std).transpose(1, 2)
        x = self.front_norm(torch.relu(self.front(x)))
        x = self.stride_norm(torch.relu(self.stride(x)))
        for block in self.blocks:
            x = block(x)
        return self.out(x).transpose(1, 2)[:, :count]


def save(path: Path, model: AcousticModel, **extra: Any) -> None:
    """Write a checkpoint in one step, so that a killed run never leaves half a file."""
    temporary = path.with_suffix(".tmp")
    torch.save({"shape": asdict(model.shape), "state": model.state_dict(), **extra}, temporary)
    temporary.replace(path)


def load(path: Path) -> tuple[AcousticModel, dict[str, Any]]:
    """Read a checkpoint: the model in evaluation mode and everything stored beside it."""
    checkpoint = torch.load(path, weights_only=False, map_location="cpu")
    shape = {k: tuple(v) if isinstance(v, list) else v for k, v in checkpoint["shape"].items()}
    model = AcousticModel(Shape(**shape))
    model.load_state_dict(checkpoint["state"])
    model.eval()
    return model, checkpoint


def averaged_model(path: Path) -> AcousticModel:
    """The checkpoint's averaged weights."""
    model, checkpoint = load(path)
    own = model.state_dict()
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in checkpoint["ema"].items()})
    model.eval()
    return model
