"""Explain why one request got its answer."""

from __future__ import annotations

from rdv.evaluation.explain.explain import Explanation, Report, explain
from rdv.evaluation.explain.find import find_request
from rdv.evaluation.explain.steps import StepStory, tell_steps

__all__ = ["Explanation", "Report", "StepStory", "explain", "find_request", "tell_steps"]
