"""Judge which model was right, where outcomes are known: paired, by the class or by the number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.pairs import Answers, ModelReports
from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.outcomes import Outcomes
from rdv.analysis.dataset.values import Extract, judge
from rdv.analysis.statistics import PairedCounts, PairedShares

Basis = Literal["class", "number"]
Floats = npt.NDArray[np.float64]


@dataclass
class Truths:
    """Fourfold counts for both ways of judging; which way is used is decided at the end.

    Answers name actions, and outcomes are often only 0 or 1 ("it was fraud"): those are compared
    with the number, since no action equals them.
    """

    counts: dict[Basis, PairedCounts] = field(
        default_factory=lambda: {"class": PairedCounts(), "number": PairedCounts()}
    )
    """Requests by which of the two was right."""
    _named: int = 0
    """The number of outcomes that are a class which answers also name."""
    _seen: int = 0

    def add(self, first: ModelReports, second: ModelReports, truths: TruthColumns) -> None:
        """Add one batch, for the requests that both have scored."""
        both = first.is_result & second.is_result
        self._seen += int((both & ~np.isnan(truths.label)).sum())
        self._named += int((both & truths.is_named).sum())
        columns = {
            "class": (first.label, second.label, truths.label),
            "number": (first.number, second.number, truths.number),
        }
        for basis, counts in self.counts.items():
            a, b, truth = columns[basis]
            right_a, right_b = (judge(one, truth, is_number=basis == "number") for one in (a, b))
            known = both & ~(np.isnan(a) | np.isnan(b) | np.isnan(right_a) | np.isnan(right_b))
            counts.add(right_a[known] == 1, right_b[known] == 1)

    @property
    def basis(self) -> Basis:
        """Judge by the number if there are numbers and most outcomes are no answer's class."""
        is_foreign = 2 * self._named < self._seen or self.counts["class"].shares() is None
        return "number" if is_foreign and self.counts["number"].shares() is not None else "class"

    def paired(self, confidence: float) -> PairedShares | None:
        """Return the paired shares; None if no outcome can be compared with the answers."""
        if self.basis == "class" and not self._named:
            return None
        return self.counts[self.basis].shares(confidence)


@dataclass(frozen=True)
class TruthColumns:
    """Columns (n,) of the outcomes, NaN where they are not known."""

    label: Floats
    number: Floats
    is_named: npt.NDArray[np.bool_]
    """Whether the outcome is a class that at least one answer has named."""


class TruthReader:
    """Reads outcomes as columns that match the joined ones. For one thread at a time."""

    def __init__(self, outcomes: Outcomes, answers: Answers) -> None:
        self._outcomes, self._answers = outcomes, answers

    def __len__(self) -> int:
        return len(self._outcomes)

    def read(self, joined: Joined) -> TruthColumns:
        """Return the outcomes of a batch whose answers have been read."""
        table = _Table(self._answers)
        codes = self._outcomes.of(joined, table)
        pairs = np.array([*table.pairs, (np.nan, np.nan)])
        rows = np.where(np.isnan(codes), len(table.pairs), np.nan_to_num(codes)).astype(np.int64)
        label, number = pairs[rows, 0], pairs[rows, 1]
        named = np.array(sorted(self._answers.named))
        return TruthColumns(label, number, np.isin(label, named))


class _Table(Extract):
    """Lets `Outcomes.of` look up pairs: the value of a truth is its row in `pairs`."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(answers.on)
        self._answers = answers
        self.pairs: list[tuple[float, float]] = []

    def of_truth(self, truth: Any) -> float:
        self.pairs.append(self._answers.of_truth(truth))
        return float(len(self.pairs) - 1)
