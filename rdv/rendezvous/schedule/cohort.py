"""Assigns keys to cohorts, shares of the keys that get another schedule, by a stable hash. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

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
