"""Turn the findings of a replay into figures, and into one JSON object."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

from rdv.analysis.replay.compare import Against, Comparison
from rdv.analysis.replay.job import Findings
from rdv.analysis.replay.paced import Pace
from rdv.analysis.replay.study import Replayed
from rdv.analysis.statistics import plain

_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


def as_json(findings: Findings) -> dict[str, Any]:
    """Return all findings as one object."""
    found, comparison, pace = findings
    figures: dict[str, Any] = {
        "model": found.name,
        "version": found.version,
        "requests": found.requests,
        "results": found.results,
        "errors": found.errors,
        "silent": found.silent,
        "refused": found.refused,
        "ends": found.ends,
        "reasons": dict(found.reasons.most_common(20)),
        "seconds": found.seconds,
        "rate": found.requests / found.seconds if found.seconds else None,
        "evaluation_ms_per_row": per_row_ms(found),
        "row_ms": quantiles(found.row_ms),
        "batch_ms": quantiles(found.batch_ms),
        "notes": plain(found.notes),
        "pace": _pace_json(pace) if pace else None,
        "comparison": None,
    }
    if comparison is not None:
        figures["comparison"] = {
            "requests": comparison.requests,
            "outcomes_known": comparison.known,
            "accuracy": plain(comparison.accuracy()),
            "against": [_against_json(one, comparison) for one in comparison.against],
            "notes": plain(comparison.notes),
        }
    return figures


def _against_json(one: Against, comparison: Comparison) -> dict[str, Any]:
    return {
        "against": one.name or "answers given",
        "requests": one.pairs.count,
        "equal": one.pairs.equal,
        "sampled_every": one.pairs.stride,
        "agreement": plain(one.agreement(is_number=comparison.is_number)),
        "accuracy": plain(one.accuracy()),
        "advantage": plain(one.advantage()),
    }


def _pace_json(pace: Pace) -> dict[str, Any]:
    return {
        "speed": pace.speed,
        "in_time": pace.in_time,
        "in_turn": pace.in_turn,
        "late": pace.late,
        "failed": pace.failed,
        "behind": pace.behind,
        "expired": pace.expired,
        "share_in_time": pace.in_time / pace.requests if pace.requests else None,
        "batches": pace.batches,
        "waiting_max": pace.waiting_max,
        "span_s": pace.recorded_s,
        "busy_share": busy_share(pace),
        "waited_ms": quantiles(pace.waited_ms),
    }


def busy_share(pace: Pace) -> float | None:
    """Return the share of the recorded time in which the model evaluated."""
    return pace.busy_ns / 1e9 / pace.recorded_s if pace.recorded_s else None


def per_row_ms(found: Replayed) -> float | None:
    """Return the mean evaluation time of a request in ms."""
    return found.evaluation_ns / 1e6 / found.evaluated if found.evaluated else None


def quantiles(values: array[float]) -> dict[str, float] | None:
    """Return the median, the 99th percentile and the maximum; None without values."""
    if not len(values):
        return None
    array = np.frombuffer(values, np.float64)
    return {name: float(np.quantile(array, q)) for name, q in _QUANTILES}
