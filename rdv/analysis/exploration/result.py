"""What randomised requests say of two policies: coverage of labels, estimates, sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rdv.analysis.charts import share, signed
from rdv.analysis.metrics import Metric, TooFew, Undefined
from rdv.analysis.statistics import Interval, plain

Found = Interval | TooFew | Undefined
SELECTIVE_RATIO = 2.0
"""Labels count as selective if the best-covered answer has this many times the worst's share."""
_ANSWERS_MIN = 50
"""The minimum number of answers of a kind for a statement about its coverage."""


@dataclass(frozen=True)
class Coverage:
    """How many of the requests with this answer have a known outcome."""

    answer: str
    requests: int
    known: int

    @property
    def share(self) -> float:
        return self.known / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Policy:
    """Both policies by one method of estimation, and their difference."""

    method: str
    first: Found
    second: Found
    difference: Found


@dataclass(frozen=True)
class Explored:
    """The label coverage of all requests, and estimates by the randomised ones."""

    metric: Metric
    names: tuple[str, str]
    requests: int
    coverage: tuple[Coverage, ...]
    """By answer, the most frequent first."""
    randomised: int = 0
    known: int = 0
    """Randomised requests with a known outcome."""
    supported: float = 0.0
    """The share of the randomised requests whose outcome had a chance of being seen."""
    effective: float = 0.0
    """Kish's effective number of known outcomes: how many equal weights would say as much."""
    policies: tuple[Policy, ...] = ()
    problem: str = ""
    """Why there are no estimates."""
    is_caused: bool = False
    """Whether the answer given causes the outcome, so that only equal answers can be compared."""

    @property
    def is_selective(self) -> bool:
        """Whether it depends much on the answer whether the outcome is known."""
        shares = [one.share for one in self.coverage if one.requests >= _ANSWERS_MIN]
        return bool(shares) and max(shares) > SELECTIVE_RATIO * min(shares)

    def coverage_table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows) of the label coverage."""
        rows = [[one.answer, one.requests, one.known, share(one.share)] for one in self.coverage]
        return ["answer", "requests", "outcomes known", "share"], rows

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows) of the estimates."""
        rows = [
            [one.method, self._text(one.first), self._text(one.second), self._gain(one.difference)]
            for one in self.policies
        ]
        return [f"{self.metric.title} by", *self.names, "difference"], rows

    def sentences(self) -> list[str]:
        """Return what limits the figures that do not use the randomised requests."""
        if self.is_caused:
            return self._sentences_of_caused()
        found = []
        if self.is_selective:
            found.append(
                "It depends on the answer whether the outcome is known: figures of all known "
                "outcomes are of those answers that are followed up"
            )
            if self.problem:
                found[0] += f", and cannot be corrected ({self.problem}): see explore of [cohorts]"
            found[0] += "."
        if self.policies:
            found.append(
                f"{self.randomised:,} requests were randomised, {self.known:,} with a known "
                f"outcome, worth {self.effective:,.0f} of equal weight; "
                f"{share(self.supported)} of them had a chance of being seen."
            )
        return found

    def _sentences_of_caused(self) -> list[str]:
        first = (
            "The answer given causes the outcome (caused_by_answer), so that plain means of other "
            "answers would be of the wrong outcomes"
        )
        if self.problem:
            return [f"{first}; {' and '.join(self.names)} cannot be compared: {self.problem}."]
        counted = (
            f"{first}: only randomised requests count that got the answer that is valued, by the "
            "inverse of its probability."
        )
        known = (
            f"{self.randomised:,} requests were randomised, {self.known:,} with a known outcome; "
            f"{share(self.supported)} of them could have got the answers of both, worth "
            f"{self.effective:,.0f} of equal weight."
        )
        return [counted, known]

    def _text(self, found: Found) -> str:
        if isinstance(found, Undefined):
            return "–"
        if isinstance(found, TooFew):
            return f"{self.metric.text(found.estimate)}, {found.reason}"
        low, high = (self.metric.text(end) for end in (found.low, found.high))
        return f"{self.metric.text(found.estimate)} ({low} to {high})"

    def _gain(self, found: Found) -> str | None:
        if isinstance(found, Undefined):
            return None
        is_share = self.metric.unit == "%"
        value = found if isinstance(found, Interval) else found.estimate
        return str(signed(value, scale=100 if is_share else 1, unit="points" if is_share else ""))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "metric": self.metric.name,
            "policies": list(self.names),
            "label_coverage": [{**plain(one), "share": one.share} for one in self.coverage],
            "is_selective": self.is_selective,
            "caused_by_answer": self.is_caused,
            "randomised": self.randomised,
            "randomised_known": self.known,
            "supported": self.supported,
            "effective": self.effective,
            "estimates": [plain(one) for one in self.policies],
            "problem": self.problem or None,
        }
