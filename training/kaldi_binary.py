r"""Writes Kaldi's binary file format: transition model and nnet3 network in one ``final.mdl``.

file     "\0B", then tokens and values
token    ASCII and one space
int32    \\x04 + 4 bytes little endian        float   \\x04 + 4 bytes        double  \\x08 + 8 bytes
vector   "FV " + int32 length + raw float32
matrix   "FM " + int32 rows + int32 columns + raw float32, row by row
int list \\x04 + raw int32 length + raw int32s
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


class KaldiWriter:
    """Collects the bytes of one binary file."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0B")

    def token(self, text: str) -> None:
        """A name and a space."""
        self.data += text.encode("ascii") + b" "

    def text(self, text: str) -> None:
        """Raw text, as in the network's configuration."""
        self.data += text.encode("ascii")

    def integer(self, value: int) -> None:
        """An int32 with its size."""
        self.data += b"\x04" + struct.pack("<i", value)

    def single(self, value: float) -> None:
        """A float32 with its size."""
        self.data += b"\x04" + struct.pack("<f", value)

    def double(self, value: float) -> None:
        """A float64 with its size."""
        self.data += b"\x08" + struct.pack("<d", value)

    def integers(self, values: Sequence[int]) -> None:
        """A list of int32."""
        array = np.asarray(values, "<i4")
        self.data += b"\x04" + struct.pack("<i", len(array)) + array.tobytes()

    def vector(self, values: ArrayLike) -> None:
        """A float vector."""
        array = np.asarray(values, "<f4")
        self.token("FV")
        self.integer(len(array))
        self.data += array.tobytes()

    def matrix(self, values: ArrayLike) -> None:
        """A float matrix (rows, columns)."""
        array = np.ascontiguousarray(values, "<f4")
        self.token("FM")
        self.integer(array.shape[0])
        self.integer(array.shape[1])
        self.data += array.tobytes()
