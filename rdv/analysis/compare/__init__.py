"""Compare two models on the same requests, by everything that the log records about them.

    compare(recorded, "gbm", "logit")   → Comparison: agreement, scales, latency, errors, accuracy,
                                          drift, event rates, and where they disagree most

Memory is bounded: counts and t-digests of all requests, the values of at most `PAIRS_MAX`.
"""

from __future__ import annotations

from rdv.analysis.compare.result import Comparison, ModelFigures
from rdv.analysis.compare.study import compare

__all__ = ["Comparison", "ModelFigures", "compare"]
