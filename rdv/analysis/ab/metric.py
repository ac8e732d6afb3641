"""The metric of an experiment: a value for each request, and its sums by key.

A value is of the answer that was given, or of one that another schedule would have given. Sums by
key are all that is needed of a cohort, however many requests it had.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import UNSET, Raw, UnsetType

from rdv.analysis.dataset.chunk import read_scores
from rdv.analysis.dataset.joined import DEFAULT, NO_RESULT, Joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import Outcomes, read_truths
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.dataset.values import NUMBER_FIELDS, Extract, judge
from rdv.analysis.errors import TooManyKeys
from rdv.analysis.statistics import Arm
from rdv.analysis.statistics.ab.effect import Units
from rdv.analysis.whatif.decide import Decided
from rdv.analysis.whatif.result import values_of
from rdv.payload import UnusableJson, read_recorded
from rdv.rendezvous.schedule import Schedule
from rdv.rendezvous.topology import OUTCOMES, SCORES

RIGHT, DEFAULTS, WAITED = "right", "default", "waited_ms"

Floats = npt.NDArray[np.float64]
KEYS_MAX = 5_000_000
"""The maximum number of keys, at about 60 bytes each."""
Keys = npt.NDArray[np.uint64]
LOOK_AT = 200


@dataclass(frozen=True)
class Metric:
    """The metric of an experiment, by its name.

    `right`: the answer was right; `default`: it was the default; `waited_ms`: the wait; any other
    name: the number in that field of the outcome.
    """

    name: str
    extract: Extract
    outcomes: Outcomes

    @property
    def is_share(self) -> bool:
        """Whether values are 0 or 1."""
        return self.name in (RIGHT, DEFAULTS)

    @property
    def is_of_answers(self) -> bool:
        """Whether the metric is known for answers not given, so that requests can be paired."""
        return self.name in (RIGHT, DEFAULTS, WAITED)

    @property
    def needs_truth(self) -> bool:
        return self.name not in (DEFAULTS, WAITED)

    def truths(self, joined: Joined) -> Floats:
        """Return the value of each outcome, (n,); NaN where it is not known."""
        if self.name == RIGHT or not self.needs_truth:
            return self.outcomes.of(joined, self.extract)
        return self.outcomes.of(joined, _Field(self.name))

    def of_answers(self, joined: Joined, truths: Floats) -> Floats:
        """Return the metric of the answers that were given, (n,); NaN without an answer."""
        answered = joined.kind != NO_RESULT
        if self.name == DEFAULTS:
            return np.asarray(np.where(answered, joined.kind == DEFAULT, np.nan), np.float64)
        if self.name == WAITED:
            return joined.waited_ms
        if self.name == RIGHT:
            assert joined.given is not None
            right = judge(joined.given, truths, is_number=bool(self.extract.is_number))
            return np.asarray(np.where(answered, right, np.nan), np.float64)
        return np.asarray(np.where(answered, truths, np.nan), np.float64)

    def decided(
        self, joined: Joined, decided: Decided, schedule: Schedule, truths: Floats
    ) -> Floats:
        """Return the metric of the answers that the schedule would have given, (n,); see
        `is_of_answers`.
        """
        if self.name == DEFAULTS:
            return np.asarray(decided.kind == DEFAULT, np.float64)
        if self.name == WAITED:
            return decided.at_us.astype(np.float64) / 1000
        values = values_of(joined, decided, schedule, self.extract)
        return judge(values, truths, is_number=bool(self.extract.is_number))


class _Field(Extract):
    """Extracts the number in a field of an outcome; a yes is 1."""

    def of_truth(self, truth: Any) -> float:
        value = truth.get(self.on) if isinstance(truth, dict) else None
        if not isinstance(value, int | float):
            return math.nan
        return float(value) if math.isfinite(value) else math.nan


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


def number_field(recorded: Recorded) -> str | None:
    """Return `score` if outcomes are only yes or no (1, 0) and answers have a score.

    Answers that also name an action would otherwise be compared by it, and would always be wrong.
    None stands for the usual rule (`values`). Raises the log's SystemFaults.
    """
    truths = _some_truths(recorded)
    if not truths or not all(truth in (0, 1) for truth in truths):
        return None
    for source in sources(recorded.stream(SCORES)):
        for chunk in source.chunks(source.begin, min(source.end, source.begin + LOOK_AT), Notes()):
            for score in read_scores(chunk):
                if score is None or score.result is UNSET:
                    continue
                answer = _read(score.result)
                if not isinstance(answer, dict):
                    return None
                return next((field for field in NUMBER_FIELDS if field in answer), None)
    return None


def _some_truths(recorded: Recorded) -> list[Any]:
    found: list[Any] = []
    for source in sources(recorded.stream(OUTCOMES)):
        for chunk in source.chunks(source.begin, min(source.end, source.begin + LOOK_AT), Notes()):
            truths = (truth for truth in read_truths(chunk) if truth is not None)
            found += [_read(truth.outcome) for truth in truths]
    return [truth for truth in found if truth is not None]  # null takes an outcome back


def _read(raw: Raw | UnsetType) -> Any:
    """Return the parsed value; None for what cannot be read."""
    if isinstance(raw, UnsetType):
        return None
    try:
        return read_recorded(bytes(raw))
    except UnusableJson:
        return None
