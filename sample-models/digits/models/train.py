"""Trains the models on two thirds of the handwritten digits that come inside scikit-learn.

    python models/train.py          a few seconds; writes models/*.joblib and ../requests.jsonl

The other third is what the models are judged by and what `requests.jsonl` holds: no model has
seen it. The seed is fixed.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from images import WHITEST
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

_HERE = Path(__file__).parent
_LEARNED = 1_200
_SEED = 1
_SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 images of 8 × 8 pixels with what they show, shuffled."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SEED).permutation(len(labels))
    return pixels[order], labels[order]


def with_shifted(x: np.ndarray) -> np.ndarray:
    """The images, and each of them moved by one pixel in four directions: hands are not steady."""
    margin = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moved = [margin[:, 1 + dy : 9 + dy, 1 + dx : 9 + dx].reshape(-1, 64) for dy, dx in _SHIFTS]
    return np.concatenate([x, *moved])


def train(x: np.ndarray, y: np.ndarray) -> None:
    """Write the trained models."""
    svm = SVC(gamma=0.3, C=10).fit(with_shifted(x), np.tile(y, 1 + len(_SHIFTS)))
    trees = ExtraTreesClassifier(60, random_state=_SEED).fit(x, y)
    _write("committee.joblib", (svm, trees))
    _write("logit.joblib", LogisticRegression(max_iter=300, C=0.5).fit(x, y))
    means = np.stack([x[y == digit].mean(0) for digit in range(10)])
    np.save(_HERE / "centroid.npy", means)


def _write(name: str, model: object) -> None:
    """Replace a file by rename: a worker that loads it meanwhile sees the old or the new."""
    temporary = _HERE / f".{name}.new"
    joblib.dump(model, temporary)
    temporary.replace(_HERE / name)


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Measure the models as production calls them: by `predict`."""
    data = [row["data"] for row in rows]
    models = []
    for name in ("committee", "logit", "centroid"):
        predict = importlib.import_module(name).predict
        right = [
            answer["bin"] == row["truth"]["bin"]
            for answer, row in zip(predict(data), rows, strict=True)
        ]
        times = []
        for row in data[:100]:
            start = time.perf_counter()
            predict([row])
            times.append(time.perf_counter() - start)
        cost_ms = round(1e3 * float(np.median(times)), 4)
        models.append({"name": name, "value": round(float(np.mean(right)), 4), "row_ms": cost_ms})
    return {"metric": "accuracy", "held_out": len(rows), "models": models}


def main() -> None:
    pixels, labels = digits()
    train(pixels[:_LEARNED] / WHITEST, labels[:_LEARNED])
    rows = [
        {
            "data": {"pixels": image.astype(int).tolist()},
            "key": f"letter-{number:04d}",
            "truth": {"bin": int(label)},
        }
        for number, (image, label) in enumerate(
            zip(pixels[_LEARNED:], labels[_LEARNED:], strict=True)
        )
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (_HERE.parent / "requests.jsonl").write_text(lines)
    sys.stdout.write(json.dumps(judge(rows)) + "\n")


if __name__ == "__main__":
    main()
