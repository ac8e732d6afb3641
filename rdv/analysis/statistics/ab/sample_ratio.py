"""Check whether the split is as planned: if not, something drops or redirects one cohort.

Then no effect can be trusted: Fabijan et al., *Diagnosing Sample Ratio Mismatch in Online
Controlled Experiments*, KDD 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rdv.analysis.statistics.distributions import chi_square_sf
from rdv.analysis.statistics.sample import InvalidSample, check_share

ERROR_RATE = 0.001
"""The error rate of a mismatch: low, since a mismatch invalidates everything else."""
_PRIOR = 100.0  # prior weight of the plan under a broken split, in units


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """`mismatch` goes by `always_valid_p`, which is valid at any time.

    `chi_square_p` is valid for one look only, and is more sensitive for that one.
    """

    observed: tuple[int, ...]
    expected: tuple[float, ...]
    chi_square_p: float
    always_valid_p: float
    mismatch: bool


def sample_ratio(
    observed: Sequence[int], shares: Sequence[float], *, error_rate: float = ERROR_RATE
) -> SampleRatio:
    """Compare `observed` units (keys, if the split is by key) in each cohort with planned shares.

    Shares are taken in proportion. Sequential: the Dirichlet-multinomial e-process of Lindon &
    Malek, *Anytime-Valid Inference for Multinomial Count Data*, NeurIPS 2022. Raises InvalidSample.
    """
    check_share("error_rate", error_rate)
    _check(observed, shares)
    total, whole = sum(observed), math.fsum(shares)
    plan = [share / whole for share in shares]
    expected = tuple(total * share for share in plan)
    p_once, p_always = 1.0, 1.0
    if total:
        pairs = zip(observed, expected, strict=True)
        p_once = chi_square_sf(sum((k - e) ** 2 / e for k, e in pairs), len(plan) - 1)
        p_always = math.exp(min(0.0, -_log_evidence(observed, plan)))
    return SampleRatio(tuple(observed), expected, p_once, p_always, p_always < error_rate)


def _log_evidence(observed: Sequence[int], plan: Sequence[float]) -> float:
    """Return the log of how much likelier the counts are under another split than the plan."""
    log_e = math.lgamma(_PRIOR) - math.lgamma(_PRIOR + sum(observed))
    for k, share in zip(observed, plan, strict=True):
        log_e += math.lgamma(_PRIOR * share + k) - math.lgamma(_PRIOR * share)
        log_e -= k * math.log(share)
    return log_e


def _check(observed: Sequence[int], shares: Sequence[float]) -> None:
    if len(observed) != len(shares) or len(shares) < 2:  # noqa: PLR2004 - a split has two sides
        raise InvalidSample("shares", "needs one for each of at least two cohorts")
    if min(observed) < 0:
        raise InvalidSample("observed", "must not be negative")
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise InvalidSample("shares", "must be above 0")
