"""Reasons of endings of a call that neither the caller nor the conversation wanted."""

from typing import Final

EDGE_DIED: Final = "edge died"
EDGE_LOST: Final = "edge lost"
NO_WORKER: Final = "no worker"
WORKER_STOPPED: Final = "worker stopped"
INTERNAL_ERROR: Final = "internal error"

FAULTS: Final = frozenset({EDGE_DIED, EDGE_LOST, NO_WORKER, WORKER_STOPPED, INTERNAL_ERROR})
OUR_PROGRAMS: Final = frozenset({"edge", "worker", "supervisor"})
"""Who ended a call when it was none of its two parties."""
