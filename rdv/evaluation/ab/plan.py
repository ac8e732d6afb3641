"""The plan says how the keys were to be split, and which schedule each cohort gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rdv.schedule import Schedule

REST = "rest"
"""The name of the arm for requests in no cohort, which get the live schedule."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Plan:
    """`shares` of the cohorts, and the schedules of all arms, with the live one under `REST`.

    A schedule may be missing if its file is; then its requests are not paired.
    """

    shares: Mapping[str, float]
    schedules: Mapping[str, Schedule]
    salt: str = ""

    @property
    def arms(self) -> dict[str, float]:
        """Every arm and its share, the control first: the rest, or else the first cohort."""
        rest = 1 - sum(self.shares.values())
        arms = {REST: rest} if rest > _ROUNDING else {}
        return arms | {name: share for name, share in self.shares.items() if share > 0}
