"""Metrics of answers against truths: one name each, with intervals whose unit is the key.

Pure, over arrays; importing this imports numpy. `metric_named` returns a metric, `estimate` and
`difference` its interval for one look, `sequence` and `cohort_sequence` one for any number of
looks, and `looks` spreads the level over a declared number of looks. What cannot be said is
`Undefined` or `TooFew`, with the reason. docs/explanation/metrics.md has the definitions.
"""

from __future__ import annotations

from rdv.analysis.metrics.errors import InvalidMetric, NoSequence, UnknownMetric
from rdv.analysis.metrics.estimate import difference, estimate
from rdv.analysis.metrics.interval import TooFew
from rdv.analysis.metrics.metric import Metric, Undefined
from rdv.analysis.metrics.probability import ReliabilityBin, reliability
from rdv.analysis.metrics.ragged import Lists
from rdv.analysis.metrics.registry import metric_named, metric_names
from rdv.analysis.metrics.sample import Missing, Needs
from rdv.analysis.metrics.sequence import Cohort, cohort_sequence, looks, sequence

__all__ = [
    "Cohort",
    "InvalidMetric",
    "Lists",
    "Metric",
    "Missing",
    "Needs",
    "NoSequence",
    "ReliabilityBin",
    "TooFew",
    "Undefined",
    "UnknownMetric",
    "cohort_sequence",
    "difference",
    "estimate",
    "looks",
    "metric_named",
    "metric_names",
    "reliability",
    "sequence",
]
