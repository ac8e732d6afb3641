"""Narrow intervals by removing what a covariate predicts.

CUPED: Deng, Xu, Kohavi & Walker, *Improving the Sensitivity of Online Controlled Experiments by
Utilizing Pre-Experiment Data*, WSDM 2013. Here every model scores every request, whatever cohort it
is in, so any model's score is a covariate that the cohort cannot have changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.evaluation.statistics.ab.arm import Arm, Units
from rdv.evaluation.statistics.sample import same_length


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Both arms with the covariate removed; `reduction` is the share of variance that was removed.

    The arms' means are adjusted alike: only their difference is meaningful.
    """

    control: Arm
    treatment: Arm
    slope: float
    reduction: float


def adjust(
    control: tuple[npt.ArrayLike, npt.ArrayLike],
    treatment: tuple[npt.ArrayLike, npt.ArrayLike],
    names: tuple[str, str] = ("control", "treatment"),
    *,
    keys: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Adjusted:
    """Adjust each arm, given as (outcomes, covariates) of its requests; `keys` as in `Arm.of`, for
    each arm.

    There is one slope for both arms, from deviations within them. With a covariate without
    information the result is that of plain arms. Raises InvalidSample.
    """
    y, x = [], []
    for n, (name, arm) in enumerate(zip(names, (control, treatment), strict=True)):
        of = None if keys is None else keys[n]
        y.append(Units.of(name, arm[0], of))
        x.append(Units.of(f"covariate of {name}", arm[1], of))
        same_length(y[n].pulls, x[n].pulls)
    dx, dy = (np.concatenate([units.pulls for units in side]) for side in (x, y))
    square, total = float(dx @ dx), float(dy @ dy)
    slope = float(dx @ dy) / square if square > 0 else 0.0
    centre = (x[0].mean + x[1].mean) / 2
    arms = [_arm(y[n], x[n], slope, centre) for n in (0, 1)]
    rest = dy - slope * dx
    return Adjusted(arms[0], arms[1], slope, 1 - float(rest @ rest) / total if total > 0 else 0.0)


def _arm(y: Units, x: Units, slope: float, centre: float) -> Arm:
    mean = y.mean - slope * (x.mean - centre)
    return Units(y.name, mean, y.pulls - slope * x.pulls, y.rare).arm()
