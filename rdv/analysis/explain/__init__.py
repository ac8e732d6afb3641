"""Explain why one request got its answer."""

from __future__ import annotations

from rdv.analysis.explain.steps import StepStory, tell_steps
from rdv.analysis.explain.study import Explanation, Report, explain, find_request

__all__ = ["Explanation", "Report", "StepStory", "explain", "find_request", "tell_steps"]
