"""What `train.py` has learned: arrays in a .npz file beside the models."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

_HERE = Path(__file__).parent


def read_weights(name: str) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of NAME.npz and their version: weights that differ never share one."""
    path = _HERE / f"{name}.npz"
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, f"{name}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def write_weights(name: str, **arrays: np.ndarray) -> None:
    """Replace NAME.npz by rename: a worker that loads it meanwhile sees the old or the new."""
    path = _HERE / f"{name}.npz"
    temporary = path.with_name(f".{name}.new.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Probabilities; clipped, because exp of a large number is no number."""
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))
