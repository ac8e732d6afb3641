"""A/B tests: effects between cohorts, valid at any time, and by pairs of the same requests."""

from __future__ import annotations

from rdv.analysis.statistics.ab.effect import Arm, Effect, effect, effect_of_pairs, paired_effect
from rdv.analysis.statistics.ab.sample_ratio import SampleRatio, sample_ratio
from rdv.analysis.statistics.ab.sequence import always_valid_p, mean_sequence, proportion_sequence

__all__ = [
    "Arm",
    "Effect",
    "SampleRatio",
    "always_valid_p",
    "effect",
    "effect_of_pairs",
    "mean_sequence",
    "paired_effect",
    "proportion_sequence",
    "sample_ratio",
]
