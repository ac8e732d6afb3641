"""Explain why one request got its answer."""

from __future__ import annotations

from rdv.analysis.explain.result import Explanation
from rdv.analysis.explain.study import explain, find_request

__all__ = ["Explanation", "explain", "find_request"]
