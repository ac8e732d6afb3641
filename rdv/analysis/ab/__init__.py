"""An experiment by cohorts is evaluated by cohorts, and by pairs on the same requests.

run_experiment(recorded, Plan(shares, schedules), metric="right")   → Experiment
"""

from __future__ import annotations

from rdv.analysis.ab.result import Experiment
from rdv.analysis.ab.study import REST, Plan, run_experiment

__all__ = ["REST", "Experiment", "Plan", "run_experiment"]
