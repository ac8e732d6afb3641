"""Assigns keys to cohorts, shares of the keys that get another schedule, by a stable hash. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from rdv.rendezvous.schedule.model import InvalidShares

_RESOLUTION = 2.0**64
_ROUNDING = 1e-9


def assign_cohort(key: str, salt: str, shares: Mapping[str, float]) -> str | None:
    """Return the cohort of `key`, or None for the rest, which gets the live schedule.

    The same key, salt and shares give the same cohort in every process and for ever. Another salt
    assigns anew, so that one experiment does not inherit the groups of the one before. The cohorts
    lie side by side in the order of `shares`: raising the share of the last one (or of the only
    one) moves no key that is in a cohort already. Raises InvalidShares.
    """
    check_shares(shares)
    digest = hashlib.blake2b(key.encode(), key=_salt_key(salt), digest_size=8).digest()
    point = int.from_bytes(digest, "big") / _RESOLUTION
    upper = 0.0
    for cohort, share in shares.items():
        upper += share
        if point < upper:
            return cohort
    return None


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise InvalidShares for a share that is no number from 0 to 1, or if they exceed 1."""
    for cohort, share in shares.items():
        if not 0 <= share <= 1:
            raise InvalidShares(cohort, f"{share!r} is not between 0 and 1")
    if (total := sum(shares.values())) > 1 + _ROUNDING:
        raise InvalidShares("", f"the shares are {total:g} together, more than 1")


def _salt_key(salt: str) -> bytes:
    """Return a key of at most blake2b's 64 bytes (a longer salt is hashed); empty is no key."""
    raw = salt.encode()
    return raw if len(raw) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(raw).digest()


def is_drawn(id_: str, salt: str, cohort: str, explore: float) -> bool:
    """Return whether a request of an exploring cohort gets the cohort's schedule.

    The request's id decides, so that the draw can be made again from the record.
    """
    return assign_cohort(id_, f"{salt}\0{cohort}\0explore", {cohort: explore}) is not None


class Assigned(NamedTuple):
    """The cohort of a request, the name of its schedule, and the probability of that schedule.

    All are None for a request in no cohort. A request of an exploring cohort that is not drawn has
    no cohort and no schedule of its own, but a probability: that of not being drawn.
    """

    cohort: str | None = None
    schedule: str | None = None
    propensity: float | None = None


@dataclass(frozen=True)
class Cohorts:
    """Assigns keys to the cohorts of a decision and their schedules.

    Stable per key: the hash of salt and key decides. Requests without a key are in none, except in
    a cohort that explores, where their id stands for the key. In such a cohort the hash of each
    request's id decides whether it gets the cohort's schedule.
    """

    salt: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)
    explores: Mapping[str, float] = field(default_factory=dict)
    """By cohort, the share of its requests that get its schedule; missing: all of them."""

    def of(self, key: str | None) -> tuple[str | None, str | None]:
        """Return (cohort, name of its schedule), or (None, None), where no cohort explores."""
        if key is None or not self.shares:
            return None, None
        cohort = assign_cohort(key, self.salt, self.shares)
        return (cohort, self.schedules[cohort]) if cohort is not None else (None, None)

    def group(self, key: str | None, id_: str) -> str | None:
        """Return the cohort whose rule a request follows, whether or not it is drawn."""
        cohort = assign_cohort(id_ if key is None else key, self.salt, self.shares)
        return None if key is None and cohort not in self.explores else cohort

    def drawn(self, key: str | None, id_: str) -> Assigned:
        """Return what a request gets where some cohort explores."""
        cohort = self.group(key, id_)
        if cohort is None:
            return Assigned()
        explore = self.explores.get(cohort)
        if explore is None:
            return Assigned(cohort, self.schedules[cohort])
        if is_drawn(id_, self.salt, cohort, explore):
            return Assigned(cohort, self.schedules[cohort], explore)
        return Assigned(None, None, 1 - explore)
