"""The join keeps requests, results and scores here until they are matched."""

from __future__ import annotations

from rdv.evaluation.collect.requests import Requests
from rdv.evaluation.collect.results import Found, Results
from rdv.evaluation.collect.scores import Scores

__all__ = ["Found", "Requests", "Results", "Scores"]
