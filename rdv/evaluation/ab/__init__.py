"""An experiment by cohorts is evaluated by cohorts, and by pairs on the same requests.

run_experiment(recorded, Plan(shares, schedules), metric="right")   → Experiment
"""

from __future__ import annotations

from rdv.evaluation.ab.plan import REST, Plan
from rdv.evaluation.ab.report import Experiment
from rdv.evaluation.ab.run import run_experiment

__all__ = ["REST", "Experiment", "Plan", "run_experiment"]
