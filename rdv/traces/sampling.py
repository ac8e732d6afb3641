"""Which decisions are exported, and why: by their outcome, which is known by then. Pure.

What is drawn is a hash of the trace's id, so that every process decides alike, and does so again
after a restart.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import (
    DEFAULT,
    ERROR,
    FALLBACK,
    NEVER_US,
    NO_RESULT,
    RESULT,
    UNAVAILABLE,
    Joined,
)
from rdv.analysis.dataset.reading import Reading
from rdv.decision.traces import Traces
from rdv.trace_context import TraceContext

REASONS = ("defaults", "fallbacks", "late", "errors", "disagreements")
"""Why a decision is exported, by its outcome: the keys of [traces]."""

_Flags = npt.NDArray[np.bool_]

_DIGEST_BYTES = 7
_WHOLE = 256**_DIGEST_BYTES


def reasons_of(joined: Joined, reading: Reading | None) -> dict[str, _Flags]:
    """Return, for each of REASONS, which decisions it holds for.

    `joined.value` has the values by which answers are compared, read by `reading`; None: models are
    not compared.
    """
    limit_us = np.where(np.isnan(joined.deadline_ms), np.inf, joined.deadline_ms * 1000)
    has_result = joined.outcome == RESULT
    came_late = (has_result & (joined.arrival_us != NEVER_US)) & (joined.arrival_us > limit_us)
    answered_late = np.nan_to_num(joined.waited_ms * 1000) > limit_us
    failed = (joined.outcome == ERROR) | (joined.outcome == UNAVAILABLE)
    return {
        "defaults": (joined.kind == DEFAULT) | (joined.kind == NO_RESULT),
        "fallbacks": joined.kind == FALLBACK,
        "late": came_late.any(axis=0) | answered_late,
        "errors": failed.any(axis=0),
        "disagreements": _disagree(joined, reading),
    }


def _disagree(joined: Joined, reading: Reading | None) -> _Flags:
    """Return where the models' answers are not all the same, or not on one side of the threshold.

    Numbers always differ a little, and are not compared.
    """
    values = joined.value
    if reading is None or values is None or reading.kind == "number" or not len(joined.models):
        return np.zeros(len(joined), bool)
    known = (joined.outcome == RESULT) & ~np.isnan(values)
    if reading.kind == "probability":
        values = (values >= reading.threshold).astype(np.float64)
    least = np.where(known, values, np.inf).min(axis=0)
    most = np.where(known, values, -np.inf).max(axis=0)
    return np.asarray(least < most)


def sample(
    reasons: tuple[str, ...], trace_id: str, caller: TraceContext | None, settings: Traces
) -> tuple[str, ...]:
    """Return why a decision is exported, for which `reasons` hold; empty: it is not."""
    drawn = fraction(trace_id)
    is_refused = caller is not None and not caller.is_sampled
    if is_refused and not settings.unsampled_callers:
        return ()
    shares: dict[str, float] = msgspec.structs.asdict(settings)
    found = [name for name in reasons if drawn < shares[name]]
    if caller is not None and caller.is_sampled and drawn < settings.sampled:
        found.append("sampled")
    elif not reasons and not is_refused and drawn < settings.others:
        found.append("others")
    return tuple(found)


def fraction(trace_id: str) -> float:
    """Return a number from 0 to below 1, which looks random and depends on the id alone."""
    digest = blake2b(trace_id.encode(), digest_size=_DIGEST_BYTES, person=b"rdv sample").digest()
    return int.from_bytes(digest, "big") / float(_WHOLE)
