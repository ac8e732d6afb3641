"""Whether recorded decisions are those that the engine takes from what is on record."""

from __future__ import annotations

from rdv.evaluation.verify.check import Difference, Verification, verify

__all__ = ["Difference", "Verification", "verify"]
