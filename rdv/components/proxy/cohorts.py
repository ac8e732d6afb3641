"""Cohorts are shares of the keys that get another schedule. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rdv.schedule import assign_cohort


@dataclass(frozen=True)
class Cohorts:
    """Assigns keys to the cohorts of a decision and their schedules.

    Stable per key: the hash of salt and key decides. Requests without a key are in none.
    """

    salt: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)

    def of(self, key: str | None) -> tuple[str | None, str | None]:
        """Return (cohort, name of its schedule), or (None, None)."""
        if key is None or not self.shares:
            return None, None
        cohort = assign_cohort(key, self.salt, self.shares)
        return (cohort, self.schedules[cohort]) if cohort is not None else (None, None)
