"""Verify that recorded decisions are those that the engine makes from what is recorded."""

from __future__ import annotations

from rdv.analysis.verify.result import Difference, Verification
from rdv.analysis.verify.study import verify

__all__ = ["Difference", "Verification", "verify"]
