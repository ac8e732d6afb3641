"""Metrics of answers against truths: one name each, with intervals whose unit is the key.

Pure, over arrays; importing this imports numpy. `metric_named` returns a metric, `estimate` and
`difference` its interval for one look, `sequence` one for any number of looks, and `looks` spreads
the level over a declared number of looks. docs/explanation/metrics.md has the definitions.
"""

from __future__ import annotations

from rdv.analysis.metrics.errors import InvalidMetric, UnknownMetric
from rdv.analysis.metrics.metric import Metric, Undefined
from rdv.analysis.metrics.probability import ReliabilityBin, reliability
from rdv.analysis.metrics.ragged import Lists
from rdv.analysis.metrics.registry import metric_named, metric_names
from rdv.analysis.metrics.sample import Missing, Needs

__all__ = [
    "InvalidMetric",
    "Lists",
    "Metric",
    "Missing",
    "Needs",
    "ReliabilityBin",
    "Undefined",
    "UnknownMetric",
    "metric_named",
    "metric_names",
    "reliability",
]
