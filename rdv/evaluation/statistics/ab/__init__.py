"""A/B tests: effects between cohorts, valid at any time, and by pairs of the same requests."""

from __future__ import annotations

from rdv.evaluation.statistics.ab.arm import Arm
from rdv.evaluation.statistics.ab.covariate import Adjusted, adjust
from rdv.evaluation.statistics.ab.effect import Effect, effect, effect_of_pairs, paired_effect
from rdv.evaluation.statistics.ab.proportion_sequence import proportion_sequence
from rdv.evaluation.statistics.ab.sample_ratio import SampleRatio, sample_ratio
from rdv.evaluation.statistics.ab.sequence import always_valid_p, mean_sequence

__all__ = [
    "Adjusted",
    "Arm",
    "Effect",
    "SampleRatio",
    "adjust",
    "always_valid_p",
    "effect",
    "effect_of_pairs",
    "mean_sequence",
    "paired_effect",
    "proportion_sequence",
    "sample_ratio",
]
