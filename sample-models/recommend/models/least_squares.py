"""The least squares of implicit feedback, once for training and for answering."""

from __future__ import annotations

import numpy as np

CONFIDENCE, RIDGE = 10.0, 5.0


def taste(songs: np.ndarray, gram: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The vector that explains best that just the `known` of `songs` were chosen.

    What was chosen counts (1 + CONFIDENCE) times, everything else once: one linear system, with
    `gram` = songs' · songs computed beforehand. Hu, Koren, Volinsky, "Collaborative filtering for
    implicit feedback datasets", 2008.
    """
    chosen = songs[known]
    left = gram + CONFIDENCE * chosen.T @ chosen + RIDGE * np.eye(songs.shape[1])
    return np.asarray(np.linalg.solve(left, (1 + CONFIDENCE) * chosen.sum(0)))


def factorise(chosen: np.ndarray, factors: int, rounds: int, seed: int) -> np.ndarray:
    """Vectors of the songs from people × songs of 0 and 1, by alternating least squares."""
    rng = np.random.default_rng(seed)
    songs = rng.normal(0, 0.1, (chosen.shape[1], factors))
    for _ in range(rounds):
        people = _all_tastes(chosen, songs)
        songs = _all_tastes(chosen.T, people)
    return songs


def _all_tastes(chosen: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    gram = vectors.T @ vectors
    return np.stack([taste(vectors, gram, np.flatnonzero(line)) for line in chosen])
