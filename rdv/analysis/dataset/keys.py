"""Hash the keys of requests: a key is the unit of every interval, as its requests are alike."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.analysis.dataset.joined import Joined

Keys = npt.NDArray[np.uint64]


def hashed_keys(joined: Joined) -> Keys:
    """Return 64 bits of each request's key, (n,); of its id if it has no key."""
    return hashed(joined.key, joined.ids)


def hashed(keys: pa.Array[Any], ids: npt.NDArray[np.bytes_]) -> Keys:
    """Return 64 bits of each request's key; of its id if it has no key."""
    coded = keys.dictionary_encode()
    codes = np.full(len(ids), -1, np.int64)
    codes[keys.is_valid().to_numpy(zero_copy_only=False)] = coded.indices.drop_null().to_numpy()
    known = np.array([_hash(key.encode()) for key in coded.dictionary.to_pylist()], np.uint64)
    found = np.empty(len(ids), np.uint64)
    found[codes >= 0] = known[codes[codes >= 0]]
    without = np.flatnonzero(codes < 0)
    found[without] = [_hash(b"\0" + bytes(ids[row])) for row in without.tolist()]
    return found


def _hash(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
