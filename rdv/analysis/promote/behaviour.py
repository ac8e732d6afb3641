"""What the models answer while a new champion is watched, beside what they answered before. Pure.

Three findings show a champion that is not what was judged: it disagrees with the old champion more
often, its scores lie where they rarely lay, and outcomes, as they come, show it wrong where the old
champion is right.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.pairs import Answers, Both
from rdv.analysis.compare.result import Comparison
from rdv.analysis.dataset.keys import Keys
from rdv.analysis.dataset.reading import Reading
from rdv.analysis.errors import TooManyValues
from rdv.analysis.measure.sides import SHARE
from rdv.analysis.metrics import estimate
from rdv.analysis.promote.watch import Fact
from rdv.analysis.promote.window import Unit
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.proportion import wilson
from rdv.payload import UnusableJson, read_recorded

IDS_MAX = 100_000
"""The maximum number of requests that wait for the other model's score, or for an outcome."""
LEVELS = (0.05, 0.25, 0.75, 0.95)
"""The quantiles of its earlier scores that bound its low, middle and high scores."""
SCORES_MIN = 100
"""The minimum number of scores from which it is known where they lie."""
Column = float | npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True)
class Levels:
    """Where scores lie: at most the lowest cut, between the middle ones, at least the highest."""

    cuts: tuple[float, float, float, float]
    shares: Mapping[str, float]
    """The shares of low, middle and high scores among those that it was judged by."""

    @classmethod
    def of(cls, scores: npt.NDArray[np.float64]) -> Levels | None:
        """Return the levels of a sample; None if it has too few scores."""
        known = scores[~np.isnan(scores)]
        if len(known) < SCORES_MIN:
            return None
        a, b, c, d = np.quantile(known, LEVELS).tolist()
        made = cls((a, b, c, d), {})
        kinds = made.kinds(known)
        return replace(made, shares={kind: float(np.mean(kinds[kind])) for kind in kinds})

    def kinds(self, score: Column) -> dict[str, Any]:
        """Return of which kinds a score is."""
        lowest, lower, upper, highest = self.cuts
        return {
            "low_scores": score <= lowest,
            "middle_scores": (score >= lower) & (score <= upper),
            "high_scores": score >= highest,
        }


@dataclass(frozen=True)
class Expected:
    """How the models answered when they were judged."""

    reading: Reading
    on: str | None = None
    disagreements: float | None = None
    """The share of requests with different answers, its upper bound; None if not comparable."""
    scores: Levels | None = None
    """Where the new champion's scores lay; None if it has none."""

    @classmethod
    def of(cls, found: Comparison, on: str | None) -> Expected:
        """Return what to expect after a comparison of old (first) and new champion."""
        reading, pairs = found.judged.extract.reading, found.pairs
        share = None
        if pairs is not None:
            known, differs = differ(
                reading,
                (pairs.first_label, pairs.first),
                (pairs.second_label, pairs.second),
            )
            if known.any():
                share = _highest(differs[known], pairs.keys[known])
        scores = None if pairs is None else Levels.of(pairs.second)
        return cls(reading, on, share, scores)


def _highest(holds: npt.NDArray[np.bool_], keys: Keys) -> float:
    """Return the upper bound of how often something holds, by key where there are enough."""
    found = estimate(SHARE, holds.astype(np.float64), None, keys)
    return found.high if isinstance(found, Interval) else wilson(int(holds.sum()), len(holds)).high


def differ(
    reading: Reading, first: tuple[Column, Column], second: tuple[Column, Column]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where answers (class, number) can be compared, and where they differ.

    By the class, or else by the side of the threshold, if numbers are probabilities.
    """
    labels, numbers = zip(first, second, strict=True)
    has_labels = ~np.isnan(labels[0]) & ~np.isnan(labels[1])
    has_numbers = ~np.isnan(numbers[0]) & ~np.isnan(numbers[1])
    if reading.kind != "probability":
        has_numbers = np.zeros_like(has_numbers)
    sides = [np.asarray(one) >= reading.threshold for one in numbers]
    differs = np.where(
        has_labels, np.asarray(labels[0]) != np.asarray(labels[1]), sides[0] != sides[1]
    )
    return np.asarray(has_labels | has_numbers), np.asarray(differs)


class Behaviour:
    """Turns scores and outcomes into facts for a `WatchPeriod`. For one thread at a time."""

    def __init__(self, expected: Expected, champion: str, challenger: str) -> None:
        """`champion` is the model that was replaced, `challenger` the new champion."""
        self._expected = expected
        self._names = champion, challenger
        self._answers = Answers(expected.reading, expected.on)
        self._open: OrderedDict[str, dict[str, Both]] = OrderedDict()
        self._both: OrderedDict[str, tuple[Unit | None, dict[str, Both]]] = OrderedDict()

    def score(
        self, model: str, id_: str, result: bytes, unit: Unit | None = None
    ) -> Iterator[Fact]:
        """Add a result of one of the models; `unit` is the request's key, if it has one."""
        try:
            answer = self._answers.of_json(result)
        except TooManyValues:
            return
        number, levels = answer[1], self._expected.scores
        if model == self._names[1] and levels is not None and not math.isnan(number):
            yield Fact("scored", levels.kinds(number), unit)
        answers = self._open.pop(id_, {})
        answers[model] = answer
        if len(answers) < len(self._names):
            _keep(self._open, id_, answers)
            return
        _keep(self._both, id_, (unit, answers))
        known, differs = differ(self._expected.reading, *(answers[name] for name in self._names))
        if known:
            yield Fact("pairs", {"disagreements": bool(differs)}, unit)

    def truth(self, id_: str, outcome: bytes) -> Iterator[Fact]:
        """Add an outcome: it counts if both models have scored the request while watched."""
        both = self._both.pop(id_, None)
        if both is None:
            return
        unit, answers = both
        extract = self._answers.judged
        try:
            truth = extract.of_truth(read_recorded(outcome))
        except (UnusableJson, TooManyValues):
            return
        if math.isnan(truth):
            return
        values = [answers[name][1 if extract.is_number else 0] for name in self._names]
        old, new = self._losses(values, truth)
        if old != new:
            yield Fact("differing", {"worse": new > old}, unit)
        yield Fact("judged", {}, unit)

    def _losses(self, values: list[float], truth: float) -> list[float]:
        """Return for each answer how wrong it is; no answer is as wrong as can be."""
        extract = self._answers.judged
        if not extract.reading.has_right:
            return [math.inf if math.isnan(one) else abs(one - truth) for one in values]
        right = extract.judge(np.array(values), np.full(len(values), truth))
        return [1.0 - float(one) for one in right]


class KeysOf:
    """The keys of the latest requests, by id, as results and scores have none. One thread.

    At most IDS_MAX are kept; a request that is not among them is a unit of its own.
    """

    def __init__(self) -> None:
        self._units: OrderedDict[str, Unit | None] = OrderedDict()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._units

    def add(self, line: bytes) -> str | None:
        """Add a request as it is in the log, and return its id; None if it cannot be read."""
        try:
            request = _requests.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        # Of long keys only a hash is kept. The ids of requests are no keys.
        _keep(self._units, request.id, None if request.key is None else hash(request.key))
        return request.id

    def of(self, id_: str) -> Unit | None:
        """Return the key of a request; None if it has none."""
        return self._units.get(id_)


class _Request(msgspec.Struct, gc=False):
    """The fields of a request that are needed here."""

    id: str
    key: str | None = None


_requests = msgspec.json.Decoder(_Request)


def _keep(places: OrderedDict[str, T], id_: str, one: T) -> None:
    places[id_] = one
    if len(places) > IDS_MAX:
        places.popitem(last=False)
