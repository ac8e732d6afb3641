"""The fast fallback: the nearest of ten mean images. numpy only: it loads in no time."""

from __future__ import annotations

from typing import Any

import numpy as np
from images import bins, images, softmax, trained

_path, version = trained("centroid.npy")
_means = np.load(_path)
_lengths = (_means**2).sum(1)
_SHARPNESS = 2.0


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One bin for each image; distances by one matrix product."""
    nearness = 2 * images(rows) @ _means.T - _lengths
    return bins(softmax(_SHARPNESS * nearness))
