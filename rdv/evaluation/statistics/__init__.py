"""The statistics of compare, ab, optimise and promote work on arrays, are pure, and need no SciPy.

Every interval is an `Interval`; `plain` turns any result into values for JSON. Nothing reads a
clock or draws random numbers without a given seed. Importing this imports numpy.
"""

from __future__ import annotations

from rdv.evaluation.statistics.ab import (
    Adjusted,
    Arm,
    Effect,
    SampleRatio,
    adjust,
    effect,
    effect_of_pairs,
    paired_effect,
    proportion_sequence,
    sample_ratio,
)
from rdv.evaluation.statistics.agreement import (
    ClassAgreement,
    ScoreAgreement,
    agreement_of_classes,
    agreement_of_scores,
    agreement_of_table,
)
from rdv.evaluation.statistics.bootstrap import bootstrap_interval
from rdv.evaluation.statistics.digest import Digest
from rdv.evaluation.statistics.disagreement import Disagreement, most_disagreeing
from rdv.evaluation.statistics.drift import DriftWindow, Movement, Reference, drift_over_time, judge
from rdv.evaluation.statistics.errors import InvalidSample
from rdv.evaluation.statistics.event_rate import (
    RateAnomaly,
    RateReference,
    rate_anomalies,
    rate_reference,
    rate_scores,
)
from rdv.evaluation.statistics.interval import Interval
from rdv.evaluation.statistics.latency import Latency, Percentile, latency
from rdv.evaluation.statistics.multiplicity import benjamini_hochberg, holm
from rdv.evaluation.statistics.normalisation import (
    Normaliser,
    QuantilePairs,
    quantile_pairs,
    translate,
)
from rdv.evaluation.statistics.paired import (
    PairedMeans,
    PairedShares,
    compare_means,
    compare_shares,
    shares_of_counts,
)
from rdv.evaluation.statistics.plain import plain
from rdv.evaluation.statistics.proportion import clopper_pearson, difference_of_proportions, wilson
from rdv.evaluation.statistics.quantile import quantile_interval, quantile_intervals
from rdv.evaluation.statistics.sample_size import sample_size
from rdv.evaluation.statistics.surprise import GTest, g_test, root_llr
from rdv.evaluation.statistics.windows import Window, windows

__all__ = [
    "Adjusted",
    "Arm",
    "ClassAgreement",
    "Digest",
    "Disagreement",
    "DriftWindow",
    "Effect",
    "GTest",
    "Interval",
    "InvalidSample",
    "Latency",
    "Movement",
    "Normaliser",
    "PairedMeans",
    "PairedShares",
    "Percentile",
    "QuantilePairs",
    "RateAnomaly",
    "RateReference",
    "Reference",
    "SampleRatio",
    "ScoreAgreement",
    "Window",
    "adjust",
    "agreement_of_classes",
    "agreement_of_scores",
    "agreement_of_table",
    "benjamini_hochberg",
    "bootstrap_interval",
    "clopper_pearson",
    "compare_means",
    "compare_shares",
    "difference_of_proportions",
    "drift_over_time",
    "effect",
    "effect_of_pairs",
    "g_test",
    "holm",
    "judge",
    "latency",
    "most_disagreeing",
    "paired_effect",
    "plain",
    "proportion_sequence",
    "quantile_interval",
    "quantile_intervals",
    "quantile_pairs",
    "rate_anomalies",
    "rate_reference",
    "rate_scores",
    "root_llr",
    "sample_ratio",
    "sample_size",
    "shares_of_counts",
    "translate",
    "wilson",
    "windows",
]
