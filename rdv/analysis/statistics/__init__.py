"""The statistics of compare, ab, optimise and promote work on arrays, are pure, and need no SciPy.

Every interval is an `Interval`; `plain` turns any result into values for JSON. Nothing reads a
clock or draws random numbers without a given seed. Importing this imports numpy.
"""

from __future__ import annotations

from rdv.analysis.statistics.ab.effect import Arm, Effect, effect, effect_of_pairs
from rdv.analysis.statistics.ab.sample_ratio import SampleRatio, sample_ratio
from rdv.analysis.statistics.ab.sequence import proportion_sequence
from rdv.analysis.statistics.agreement import (
    ClassAgreement,
    Disagreement,
    ScoreAgreement,
    agreement_of_classes,
    agreement_of_scores,
    agreement_of_table,
    most_disagreeing,
)
from rdv.analysis.statistics.digest import Digest
from rdv.analysis.statistics.drift.timeline import (
    DriftWindow,
    Movement,
    Reference,
    drift_over_time,
    judge,
)
from rdv.analysis.statistics.event_rate import (
    RateAnomaly,
    RateReference,
    Window,
    rate_anomalies,
    rate_reference,
    windows,
)
from rdv.analysis.statistics.interval import Interval, plain
from rdv.analysis.statistics.latency import Latency, Percentile, latency
from rdv.analysis.statistics.normalisation import Normaliser, QuantilePairs, quantile_pairs
from rdv.analysis.statistics.paired import (
    PairedCounts,
    PairedShares,
    compare_shares,
    shares_of_counts,
)
from rdv.analysis.statistics.proportion import sample_size, wilson
from rdv.analysis.statistics.quantile import quantile_interval, quantile_intervals
from rdv.analysis.statistics.sample import InvalidSample

__all__ = [
    "Arm",
    "ClassAgreement",
    "Digest",
    "Disagreement",
    "DriftWindow",
    "Effect",
    "Interval",
    "InvalidSample",
    "Latency",
    "Movement",
    "Normaliser",
    "PairedCounts",
    "PairedShares",
    "Percentile",
    "QuantilePairs",
    "RateAnomaly",
    "RateReference",
    "Reference",
    "SampleRatio",
    "ScoreAgreement",
    "Window",
    "agreement_of_classes",
    "agreement_of_scores",
    "agreement_of_table",
    "compare_shares",
    "drift_over_time",
    "effect",
    "effect_of_pairs",
    "judge",
    "latency",
    "most_disagreeing",
    "plain",
    "proportion_sequence",
    "quantile_interval",
    "quantile_intervals",
    "quantile_pairs",
    "rate_anomalies",
    "rate_reference",
    "sample_ratio",
    "sample_size",
    "shares_of_counts",
    "wilson",
    "windows",
]
