"""Trains the models on made-up sales and says how good they are on others.

    python models/train.py      a second; writes season.npz, linear.npz and ../requests.jsonl

Everything has a fixed seed: the same machine trains the same models. Sales to learn from, to judge
by and to try are made with three different seeds, so no model is judged by what it learned. The
canary is trained once: last_year.npz is never written again, or it would be no canary.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from features import features
from sales import make_rows
from weights import sigmoid, write_weights

LEARN, JUDGE, TRY = (24_000, 1), (10_000, 2), (1_000, 3)
HIDDEN = 32
CANARY = Path(__file__).parent / "last_year.npz"


def train() -> None:
    """Write the weights."""
    rows = make_rows(*LEARN)
    x = features([row["data"] for row in rows])
    y = np.array([row["truth"]["runs_out"] for row in rows], float)
    mean, std = x.mean(0), x.std(0) + 1e-9
    z = (x - mean) / std
    w, b = fit_logit(z, y)
    write_weights("linear", mean=mean, std=std, w=w, b=b)
    w1, b1, w2, b2 = fit_mlp(z, y)
    write_weights("season", mean=mean, std=std, w1=w1, b1=b1, w2=w2, b2=b2)
    if not CANARY.exists():
        w, b = fit_logit(x[:, :2], y)
        write_weights("last_year", w=w, b=b)


def fit_logit(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method, with a little ridge: a dozen steps are more than enough."""
    design = np.hstack([z, np.ones((len(z), 1))])
    w = np.zeros(design.shape[1])
    for _ in range(12):
        p = sigmoid(design @ w)
        gradient = design.T @ (p - y) + w
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.eye(len(w))
        w -= np.linalg.solve(curvature, gradient)
    return w[:-1], w[-1]


def fit_mlp(z: np.ndarray, y: np.ndarray, epochs: int = 12, batch: int = 256) -> list[np.ndarray]:
    """Adam on batches, the learning rate falling to zero; written out, since it is short."""
    rng = np.random.default_rng(0)
    weights = [
        rng.normal(0, np.sqrt(2 / z.shape[1]), (z.shape[1], HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, np.sqrt(1 / HIDDEN), HIDDEN),
        np.array(-1.0),
    ]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    steps = epochs * (len(z) // batch)
    order = np.concatenate(
        [rng.permutation(len(z))[: steps // epochs * batch] for _ in range(epochs)]
    )
    for step, lines in enumerate(np.split(order, steps), 1):
        rate = 0.01 * (1 - step / steps)
        for number, gradient in enumerate(_gradients(weights, z[lines], y[lines])):
            first[number] = 0.9 * first[number] + 0.1 * gradient
            second[number] = 0.999 * second[number] + 0.001 * gradient**2
            m, v = first[number] / (1 - 0.9**step), second[number] / (1 - 0.999**step)
            weights[number] = weights[number] - rate * m / (np.sqrt(v) + 1e-8)
    return weights


def _gradients(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Of the mean log loss of a batch, by the chain rule, with a little weight decay."""
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1 + b1, 0)
    error = (sigmoid(hidden @ w2 + b2) - y) / len(y)
    back = np.outer(error, w2) * (hidden > 0)
    return [x.T @ back + 1e-4 * w1, back.sum(0), hidden.T @ error + 1e-4 * w2, error.sum()]


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """The probability that one that runs out scores higher than one that does not; ties half."""
    values, ranks = np.unique(scores, return_inverse=True)
    counts = np.bincount(ranks, minlength=len(values))
    mean_rank = (np.cumsum(counts) - (counts - 1) / 2)[ranks]
    ran_out = int(truth.sum())
    return float(
        (mean_rank[truth].sum() - ran_out * (ran_out + 1) / 2) / (ran_out * (len(truth) - ran_out))
    )


def judge() -> dict[str, Any]:
    """Measure the models as production calls them: by `predict`."""
    rows = make_rows(*JUDGE)
    data = [row["data"] for row in rows]
    truth = np.array([row["truth"]["runs_out"] for row in rows])
    models = []
    for name in ("season", "linear", "rules", "last_year"):
        predict = importlib.import_module(name).predict
        scores = np.array([answer["out_of_stock"] for answer in predict(data)])
        times = []
        for row in data[:300]:
            start = time.perf_counter()
            predict([row])
            times.append(time.perf_counter() - start)
        cost_ms = round(1e3 * float(np.median(times)), 4)
        shown = "canary" if name == "last_year" else name
        models.append({"name": shown, "value": round(auc(scores, truth), 4), "row_ms": cost_ms})
    return {"metric": "AUC", "held_out": len(rows), "models": models}


def main() -> None:
    train()
    lines = "".join(json.dumps(row) + "\n" for row in make_rows(*TRY))
    (Path(__file__).parent.parent / "requests.jsonl").write_text(lines)
    sys.stdout.write(json.dumps(judge()) + "\n")


if __name__ == "__main__":
    main()
