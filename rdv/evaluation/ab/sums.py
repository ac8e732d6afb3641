"""Sums by key are all that is needed of a cohort, however many requests it had."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.evaluation.ab.errors import TooManyKeys
from rdv.evaluation.statistics import Arm
from rdv.evaluation.statistics.ab.arm import Units

KEYS_MAX = 5_000_000
"""The maximum number of keys, at about 60 bytes each."""

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


class Sums:
    """`values` (columns, keys) are sums over the requests of each key. Raises TooManyKeys."""

    def __init__(self, columns: int) -> None:
        self.keys: Keys = np.empty(0, np.uint64)
        self.values: Floats = np.empty((columns, 0))

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Keys, values: Floats) -> None:
        """Add requests; `values` has one column for each."""
        every = np.concatenate([self.keys, keys])
        together = np.concatenate([self.values, values], axis=1)
        self.keys, place = np.unique(every, return_inverse=True)
        if len(self.keys) > KEYS_MAX:
            raise TooManyKeys(KEYS_MAX)
        count = len(self.keys)
        self.values = np.stack([np.bincount(place, row, count) for row in together])


def arm_of(name: str, totals: Floats, requests: Floats, *, is_binary: bool) -> Arm | None:
    """Return an arm from sums by key, without keys that have no requests; None for fewer than two
    keys.

    The mean is over requests, and its error is by the delta method, as in `statistics.ab.Units`.
    """
    there = requests > 0
    totals, requests = totals[there], requests[there]
    if len(totals) < 2:  # noqa: PLR2004 - a variance needs two
        return None
    mean = float(totals.sum() / requests.sum())
    pulls: Floats = (totals - mean * requests) / requests.mean()
    rare = None
    if is_binary:
        rare = min(int(np.sum(totals > 0)), int(np.sum(totals < requests)))
    return Units(name, mean, pulls, rare).arm()


def hashed(keys: pa.Array[Any], ids: npt.NDArray[np.bytes_]) -> Keys:
    """Return 64 bits of each request's key; of its id if it has no key."""
    coded = keys.dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = np.array([_hash(key.encode()) for key in coded.dictionary.to_pylist()], np.uint64)
    found = np.empty(len(ids), np.uint64)
    found[codes >= 0] = known[codes[codes >= 0]]
    without = np.flatnonzero(codes < 0)
    found[without] = [_hash(b"\0" + bytes(ids[row])) for row in without.tolist()]
    return found


def _hash(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
