"""Compute distribution functions in plain Python, so that SciPy is not needed at run time. Pure.

The functions take scalars; tests compare them with SciPy. They are called a few times for one
table, never for each row.
"""

from __future__ import annotations

from rdv.evaluation.statistics.distributions.beta import beta_cdf, beta_quantile
from rdv.evaluation.statistics.distributions.binomial import binomial_cdf, binomial_pmf
from rdv.evaluation.statistics.distributions.chi_square import chi_square_quantile, chi_square_sf
from rdv.evaluation.statistics.distributions.kolmogorov import kolmogorov_sf
from rdv.evaluation.statistics.distributions.normal import normal_quantile, normal_sf, two_sided_z
from rdv.evaluation.statistics.distributions.student import student_quantile, student_sf

__all__ = [
    "beta_cdf",
    "beta_quantile",
    "binomial_cdf",
    "binomial_pmf",
    "chi_square_quantile",
    "chi_square_sf",
    "kolmogorov_sf",
    "normal_quantile",
    "normal_sf",
    "student_quantile",
    "student_sf",
    "two_sided_z",
]
