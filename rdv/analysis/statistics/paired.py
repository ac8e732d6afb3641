"""Compare two models on the same requests with known truth: every request is its own control.

Shares by McNemar's test, means by Student's paired test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy.typing as npt

from rdv.analysis.statistics.distributions import binomial_cdf, binomial_pmf, two_sided_z
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.proportion import sample_size
from rdv.analysis.statistics.sample import (
    BoolArray,
    InvalidSample,
    as_truths,
    check_share,
    same_length,
)


@dataclass(frozen=True, slots=True)
class PairedShares:
    """Requests by which model was right, and what follows from it.

    Only those on which the models differ count: `only_first` and `only_second`. `difference` is the
    share that the first gets right minus the second's. `pairs_needed` and `unpaired_needed` (for
    each of two arms) are how many requests would show such a difference with power 0.8, as it is
    done here and by an A/B test.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: Interval
    exact_p: float
    mid_p: float
    pairs_needed: float
    unpaired_needed: float

    @property
    def requests(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def share_first(self) -> float:
        return (self.both + self.only_first) / self.requests

    @property
    def share_second(self) -> float:
        return (self.both + self.only_second) / self.requests


@dataclass
class PairedCounts:
    """On which of the same requests something holds: of both, of one of them, or of neither."""

    both: int = 0
    only_first: int = 0
    only_second: int = 0
    neither: int = 0

    def add(self, first: BoolArray, second: BoolArray) -> None:
        """Add a batch."""
        self.both += int((first & second).sum())
        self.only_first += int((first & ~second).sum())
        self.only_second += int((~first & second).sum())
        self.neither += int((~first & ~second).sum())

    def shares(self, confidence: float = 0.95) -> PairedShares | None:
        """Return what `shares_of_counts` does; None without a request."""
        counts = self.both, self.only_first, self.only_second, self.neither
        return shares_of_counts(*counts, confidence) if any(counts) else None


def compare_shares(
    first_right: npt.ArrayLike, second_right: npt.ArrayLike, confidence: float = 0.95
) -> PairedShares:
    """Compare shares, from whether each model was right on each request. Raises InvalidSample."""
    a, b = as_truths("first", first_right), as_truths("second", second_right)
    same_length(a, b)
    counts = PairedCounts()
    counts.add(a, b)
    if (found := counts.shares(confidence)) is None:
        raise InvalidSample("pair", "needs at least one request")
    return found


def shares_of_counts(
    both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95
) -> PairedShares:
    """Make McNemar's test, exact and mid-p, and the interval of the difference.

    Use mid-p (Fagerland, Lydersen & Laake 2013): the exact test is conservative. Interval: Bonett &
    Price (2012), Wald with one added to both discordant counts. Counts can be summed over chunks.
    Raises InvalidSample.
    """
    check_share("confidence", confidence)
    requests = both + only_first + only_second + neither
    if min(both, only_first, only_second, neither) < 0 or not requests:
        raise InvalidSample("counts", "must not be negative, and not all 0")
    differing, fewer = only_first + only_second, min(only_first, only_second)
    tail = binomial_cdf(fewer, differing, 0.5) if differing else 1.0
    at = binomial_pmf(fewer, differing, 0.5) if differing else 1.0
    difference = (only_first - only_second) / requests
    share_first, share_second = (both + only_first) / requests, (both + only_second) / requests
    return PairedShares(
        both,
        only_first,
        only_second,
        neither,
        _bonett_price(only_first, only_second, requests, difference, confidence),
        min(1.0, 2 * tail),
        min(1.0, 2 * tail - at),
        sample_size(differing / requests - difference**2, difference),
        sample_size(_of_share(share_first) + _of_share(share_second), difference),
    )


def _bonett_price(
    only_first: int, only_second: int, requests: int, difference: float, confidence: float
) -> Interval:
    p, q = (only_first + 1) / (requests + 2), (only_second + 1) / (requests + 2)
    half = two_sided_z(confidence) * math.sqrt((p + q - (p - q) ** 2) / (requests + 2))
    low, high = max(-1.0, p - q - half), min(1.0, p - q + half)
    return Interval(difference, low, high, confidence, "Bonett-Price")


def _of_share(share: float) -> float:
    return share * (1 - share)
