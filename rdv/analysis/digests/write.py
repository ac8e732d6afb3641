"""Derive the digests of whole hours from the log."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from glob import escape as glob_escape
from glob import glob

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import RESULT, Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.digests.hour import (
    FIELDS_MAX,
    FOLDER,
    HOUR_NS,
    KEYS_MAX,
    MODELS_MAX,
    BadDigest,
    Column,
    Flat,
    Hour,
    encoded,
    flat,
    hours_there,
    path_of,
    read_hour,
)
from rdv.analysis.errors import NothingRecorded
from rdv.decision.edit import replace_file
from rdv.payload import UnusableJson, read_recorded
from rdv.rendezvous.messages import MalformedMessage
from rdv.rendezvous.topology import INPUT
from rdv.system.faults import faults

_HASHES = 2.0**64


def write_digests(directory: str, weeks: int, now_ns: int, wait_ms: float) -> int:
    """Write the digest of each whole hour of the log that has none, or a bad one; return how many.

    Hours that ended less than `wait_ms` ago are left for later. Digests older than `weeks` are
    deleted. Run by one process at a time. Raises the log's SystemFaults, and those of the folder.
    """
    end = int((now_ns - wait_ms * 1e6) // HOUR_NS)
    oldest = end - weeks * 7 * 24
    there = hours_there(directory)
    _delete(directory, [path_of(directory, hour) for hour in there if hour < oldest])
    try:
        with Recorded(directory) as recorded:
            return _write(recorded, set(there), oldest, end)
    except NothingRecorded:
        return 0


def _delete(directory: str, paths: list[str]) -> None:
    """Delete these files, and those that a killed process has left half written."""
    folder = os.path.join(directory, FOLDER)
    with faults(folder, "delete"):
        for path in [*paths, *glob(os.path.join(glob_escape(folder), ".rdv-*"))]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _write(recorded: Recorded, there: set[int], oldest: int, end: int) -> int:
    directory, written = recorded.directory, 0
    parts = [part for part in sources(recorded.stream(INPUT)) if part.begin < part.end]
    begins_ns = [time_ns for part in parts if (time_ns := part.time_at(part.begin))]
    if not begins_ns:
        return 0
    hours = range(max(oldest, min(begins_ns) // HOUR_NS), end)
    lacking = [hour for hour in hours if hour not in there or not _is_good(directory, hour)]
    for first, last in _stretches(lacking):
        for digest in digests_of(recorded, first, last + 1):
            folder = os.path.join(directory, FOLDER)
            with faults(folder, "write"):
                os.makedirs(folder, mode=0o700, exist_ok=True)
                replace_file(path_of(directory, digest.hour), encoded(digest))
            written += 1
    return written


def _stretches(hours: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each stretch of consecutive hours."""
    known = set(hours)
    for first in (hour for hour in hours if hour - 1 not in known):
        last = first
        while last + 1 in known:
            last += 1
        yield first, last


def _is_good(directory: str, hour: int) -> bool:
    try:
        read_hour(directory, hour)
    except BadDigest:
        return False
    return True


def digests_of(recorded: Recorded, first: int, end: int) -> Iterator[Hour]:
    """Yield the digest of each hour from `first` to before `end`, by append times, in one reading.

    Raises SystemFaults.
    """
    sampler = _Sampler(first)
    with contextlib.suppress(NothingRecorded):
        for joined in Join(recorded, first * HOUR_NS, end * HOUR_NS):
            hours = joined.append_ns // HOUR_NS
            for hour in np.unique(hours).tolist():
                while sampler.number < hour:
                    yield sampler.hour()
                    sampler = _Sampler(sampler.number + 1)
                rows = np.flatnonzero(hours == hour)
                sampler.add(joined if len(rows) == len(joined) else joined.take(rows))
    while sampler.number < end:
        yield sampler.hour()
        sampler = _Sampler(sampler.number + 1)


class _Sampler:
    """Draws keys of one hour, all with the same chance, and one request of each."""

    def __init__(self, hour: int) -> None:
        self.number = hour
        self._salt = np.uint64(zlib.crc32(hour.to_bytes(8, "big")) << 32 | hour & 0xFFFFFFFF)
        self._chance = np.random.default_rng(hour)
        self._kept: dict[int, tuple[float, int, Flat, dict[str, Flat]]] = {}
        """By rank: chance of the request, its key, its fields, and the models' answers."""
        self._limit = np.uint64(2**64 - 1)
        self._is_estimated = False
        self._requests = 0

    def add(self, joined: Joined) -> None:
        """Add the requests of one batch."""
        self._requests += len(joined)
        keys = hashed_keys(joined)
        ranks = mixed(keys ^ self._salt)
        chances = self._chance.random(len(joined))
        rows = np.flatnonzero(ranks <= self._limit)
        rows = rows[np.lexsort((chances[rows], ranks[rows]))]
        _, firsts = np.unique(ranks[rows], return_index=True)
        self._is_estimated = self._is_estimated or len(firsts) > KEYS_MAX
        for row in rows[firsts[:KEYS_MAX]].tolist():
            rank, chance = int(ranks[row]), float(chances[row])
            if rank not in self._kept or chance < self._kept[rank][0]:
                fields, answers = _fields(joined, row), dict(_answers(joined, row))
                self._kept[rank] = chance, int(keys[row]), fields, answers
        if len(self._kept) >= KEYS_MAX:
            self._is_estimated = self._is_estimated or len(self._kept) > KEYS_MAX
            self._kept = {rank: self._kept[rank] for rank in sorted(self._kept)[:KEYS_MAX]}
            self._limit = np.uint64(max(self._kept))

    def hour(self) -> Hour:
        """Return the digest of everything that was added."""
        kept = list(self._kept.values())
        names = list(dict.fromkeys(name for _, _, _, models in kept for name in models))
        drawn: Keys = np.array([key for _, key, _, _ in kept], "<u8")
        return Hour(
            hour=self.number,
            requests=self._requests,
            keys=self._keys(),
            sample=drawn.tobytes(),
            fields=_columns([fields for _, _, fields, _ in kept]),
            models={
                name: _columns([models.get(name, {}) for _, _, _, models in kept])
                for name in names[:MODELS_MAX]
            },
        )

    def _keys(self) -> float:
        """Return the number of keys: from the k smallest of equally spread hashes if there are more
        than are kept (Bar-Yossef et al., *Counting distinct elements in a data stream*, 2002).
        """
        if not self._is_estimated:
            return float(len(self._kept))
        return (KEYS_MAX - 1) / ((max(self._kept) + 1) / _HASHES)


def mixed(values: Keys) -> Keys:
    """Return well mixed hashes of 64 bits (the finaliser of SplitMix64)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return found


def _fields(joined: Joined, row: int) -> Flat:
    try:
        return flat(read_recorded(bytes(joined.request(row).data)))
    except (MalformedMessage, UnusableJson):
        return {}


def _answers(joined: Joined, row: int) -> Iterator[tuple[str, Flat]]:
    for number, model in enumerate(joined.models):
        if joined.outcome[number, row] != RESULT:
            continue
        try:
            score = joined.score(number, row)
            answer = None if score is None else read_recorded(bytes(score.result))  # type: ignore[arg-type]
        except (MalformedMessage, UnusableJson, TypeError):
            continue
        yield model, flat(answer)


def _columns(rows: list[Flat]) -> dict[str, Column]:
    names = list(dict.fromkeys(name for row in rows for name in row))[:FIELDS_MAX]
    return {name: Column.of(row[name] for row in rows if name in row) for name in names}
