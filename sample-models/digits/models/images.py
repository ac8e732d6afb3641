"""From requests to images, and from the models' opinions to bins."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

_HERE = Path(__file__).parent
PIXELS = 64
WHITEST = 16


def images(rows: list[dict[str, Any]]) -> np.ndarray:
    """One line of 64 numbers from 0 to 1 for each {"pixels": [64 numbers from 0 to 16]}."""
    pixels = np.array([row["pixels"] for row in rows], float)
    if pixels.shape[1:] != (PIXELS,):
        raise ValueError(f"an image has {PIXELS} pixels, not {pixels.shape[1:]}")
    return pixels / WHITEST


def bins(confidence: np.ndarray) -> list[dict[str, Any]]:
    """The bin of each image, and how sure the model is: one line of 10 numbers for each."""
    best = confidence.argmax(1)
    sure = confidence[np.arange(len(best)), best]
    return [
        {"bin": digit, "confidence": round(value, 4)}
        for digit, value in zip(best.tolist(), sure.tolist(), strict=True)
    ]


def softmax(values: np.ndarray) -> np.ndarray:
    """Decision values as shares of one."""
    exp = np.exp(values - values.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)


def trained(name: str) -> tuple[Path, str]:
    """The file that `train.py` wrote, and its version: models that differ never share one."""
    path = _HERE / name
    return path, f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
