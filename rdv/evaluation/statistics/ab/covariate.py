"""Narrower intervals by taking out what could be foreseen.

CUPED: Deng, Xu, Kohavi & Walker, *Improving the Sensitivity of Online Controlled Experiments by
Utilizing Pre-Experiment Data*, WSDM 2013. Here every model scores every request, whatever
cohort it is in, so any model's score is a covariate that the cohort cannot have changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.ab.arm import Arm
from rdv.evaluation.statistics.sample import FloatArray, as_sample, same_length


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Both arms with the covariate taken out; `reduction` is the share of variance that went.

    The arms' means are adjusted alike: only their difference means anything.
    """

    control: Arm
    treatment: Arm
    slope: float
    reduction: float


def adjust(
    control: tuple[npt.ArrayLike, npt.ArrayLike],
    treatment: tuple[npt.ArrayLike, npt.ArrayLike],
    names: tuple[str, str] = ("control", "treatment"),
) -> Adjusted:
    """Each arm as (outcomes, covariates), a value for each independent unit. Raises InvalidSample.

    One slope for both arms, from deviations within them. With a covariate that says nothing the
    result is that of plain arms.
    """
    y0, x0 = _unit_values(names[0], control)
    y1, x1 = _unit_values(names[1], treatment)
    dx = np.concatenate([x0 - x0.mean(), x1 - x1.mean()])
    dy = np.concatenate([y0 - y0.mean(), y1 - y1.mean()])
    square = float(dx @ dx)
    slope = float(dx @ dy) / square if square > 0 else 0.0
    centre = float(np.concatenate([x0, x1]).mean())
    total = float(dy @ dy)
    rest = dy - slope * dx
    return Adjusted(
        _arm(names[0], y0, y0 - slope * (x0 - centre)),
        _arm(names[1], y1, y1 - slope * (x1 - centre)),
        slope,
        1 - float(rest @ rest) / total if total > 0 else 0.0,
    )


def _arm(name: str, outcomes: FloatArray, adjusted: FloatArray) -> Arm:
    rare = Arm.of(name, outcomes).rare
    return Arm(name, len(adjusted), float(adjusted.mean()), float(adjusted.var(ddof=1)), rare)


def _unit_values(
    name: str, arm: tuple[npt.ArrayLike, npt.ArrayLike]
) -> tuple[FloatArray, FloatArray]:
    outcomes = as_sample(name, np.asarray(arm[0], dtype=np.float64), at_least=2)
    covariates = as_sample(f"covariate of {name}", arm[1], at_least=2)
    same_length(outcomes, covariates)
    return outcomes, covariates
