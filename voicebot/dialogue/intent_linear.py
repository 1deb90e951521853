"""The linear part of a classifier of many intents: one least-squares fit over all views of the text.

Solved, not trained: with few examples of each of many intents it is as good as the networks, and it errs
elsewhere, so that the sum is better than either. With few intents it brings nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import hstack

FloatArray = NDArray[np.float32]

RIDGE: Final = 0.3
"""Added to each example's own likeness, which is 1: larger trusts single examples less."""
STEPS: Final = 40
TOLERANCE: Final = 1e-3


def fit_linear(views: Sequence[Any], labels: NDArray[np.int64], intents: int) -> list[FloatArray]:
    """Weights of each view, shape (features, intents): the sum over all views is near 1.

    Args:
        views: One sparse matrix (examples, features) per view; each row has two halves of length 1.
        labels: The intent of each example, 0 to ``intents`` - 1.
        intents: How many.
    """
    scale = np.float32(1 / (2 * len(views)))  # so that an example's likeness to itself is 1
    together = hstack(views, format="csr")
    wanted = np.zeros((len(labels), intents), np.float32)
    wanted[np.arange(len(labels)), labels] = 1
    weights = together.T @ _solved(together, scale, wanted) * scale
    ends = np.cumsum([view.shape[1] for view in views])[:-1]
    return [np.ascontiguousarray(part, np.float32) for part in np.split(weights, ends)]


def _solved(examples: Any, scale: np.float32, wanted: FloatArray) -> FloatArray:
    """Conjugate gradients for ``(likenesses + RIDGE) x = wanted``, all intents at once."""
    turned = examples.T.tocsr()
    solution = np.zeros_like(wanted)
    rest = wanted.copy()
    way = rest.copy()
    squares = (rest * rest).sum(axis=0)
    first = squares.copy()
    for _ in range(STEPS):
        product = (examples @ (turned @ way)) * scale + np.float32(RIDGE) * way
        step = squares / np.maximum((way * product).sum(axis=0), 1e-12)
        solution += step * way
        rest -= step * product
        before, squares = squares, (rest * rest).sum(axis=0)
        if bool((squares <= TOLERANCE**2 * first).all()):
            break
        way = rest + (squares / np.maximum(before, 1e-12)) * way
    return solution
