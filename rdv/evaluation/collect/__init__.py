"""What the join keeps of requests, results and scores until they meet."""

from __future__ import annotations

from rdv.evaluation.collect.requests import Requests
from rdv.evaluation.collect.results import Found, Results
from rdv.evaluation.collect.scores import Scores

__all__ = ["Found", "Requests", "Results", "Scores"]
