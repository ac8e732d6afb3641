"""What a replay has found: totals, the pace that was kept, and the comparison with the record."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rdv.analysis.dataset.notes import Notes
from rdv.analysis.replay.child import ERROR, NOTHING, Evaluated
from rdv.analysis.replay.compare import Comparison
from rdv.analysis.statistics import plain

REASONS_MAX = 1_000
BATCHES_MAX = 1_000_000
"""The maximum number of batches whose times are kept for quantiles."""
_QUANTILES = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))


@dataclass
class Replayed:
    """The totals of a replay."""

    name: str
    version: str
    requests: int = 0
    results: int = 0
    silent: int = 0
    """The number of requests for which the model returned nothing."""
    errors: int = 0
    refused: int = 0
    """With a speed, the number of requests that it was too late for."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Errors by their text; the first thousand different ones."""
    warmed: int = 0
    """The number of earlier requests that were fed first, and are counted nowhere."""
    has_state: bool = False
    """Whether it answered its first batch differently when it was asked once more at the end."""
    ends: int = 0
    """How often the model's process ended or had to be ended."""
    evaluation_ns: int = 0
    evaluated: int = 0
    seconds: float = 0.0
    batch_ms: array[float] = field(default_factory=lambda: array("d"))
    row_ms: array[float] = field(default_factory=lambda: array("d"))
    notes: Notes = field(default_factory=Notes)

    def count(self, evaluated: Evaluated) -> None:
        """Count an evaluated batch."""
        rows = len(evaluated.codes)
        self.evaluated += rows
        self.evaluation_ns += evaluated.took_ns
        if evaluated.took_ns and len(self.batch_ms) < BATCHES_MAX:
            self.batch_ms.append(evaluated.took_ns / 1e6)
            self.row_ms.append(evaluated.took_ns / 1e6 / rows)
        failed = evaluated.codes.count(ERROR)
        if failed:
            self.errors += failed
            for code, text in zip(evaluated.codes, evaluated.texts, strict=True):
                if code == ERROR:
                    self._blame(text.decode("utf-8", "replace"))
        silent = evaluated.codes.count(NOTHING)
        self.silent += silent
        self.results += rows - failed - silent

    def _blame(self, reason: str) -> None:
        if reason in self.reasons or len(self.reasons) < REASONS_MAX:
            self.reasons[reason] += 1

    def as_json(self) -> dict[str, Any]:
        left_out = ("name", "evaluation_ns", "evaluated")
        return {
            "model": self.name,
            **{name: value for name, value in vars(self).items() if name not in left_out},
            "reasons": dict(self.reasons.most_common(20)),
            "rate": self.requests / self.seconds if self.seconds else None,
            "evaluation_ms_per_row": per_row_ms(self),
            "row_ms": quantiles(self.row_ms),
            "batch_ms": quantiles(self.batch_ms),
            "notes": plain(self.notes),
        }


@dataclass
class Pace:
    """The figures of a paced replay."""

    speed: float
    in_time: int = 0
    """Scores before the deadline of their request."""
    in_turn: int = 0
    """Of these, scores while the schedule at that time wanted this model's answer."""
    late: int = 0
    failed: int = 0
    """Errors, which do not count as in time however quick they are."""
    behind: int = 0
    expired: int = 0
    batches: int = 0
    waiting_max: int = 0
    recorded_s: float = 0.0
    """The seconds between the first and the last request, at this speed."""
    busy_ns: int = 0
    waited_ms: array[float] = field(default_factory=lambda: array("d"))
    """The times in ms from the start of each request to its score, for the first million."""

    @property
    def requests(self) -> int:
        return self.in_time + self.late + self.failed + self.behind + self.expired

    def as_json(self) -> dict[str, Any]:
        left_out = ("recorded_s", "busy_ns")
        return {
            **{name: value for name, value in vars(self).items() if name not in left_out},
            "share_in_time": self.in_time / self.requests if self.requests else None,
            "span_s": self.recorded_s,
            "busy_share": busy_share(self),
            "waited_ms": quantiles(self.waited_ms),
        }


OWN_MIN = 0.9
"""The share of equal answers with its own record below which a model may lack a warm-up."""


class Findings(NamedTuple):
    """What a replay has found: no `comparison` without a result, no `pace` without a speed."""

    replayed: Replayed
    comparison: Comparison | None
    pace: Pace | None

    def own_agreement(self) -> float | None:
        """Return how often a recorded model has answered as it did on record; None if it is new."""
        if self.comparison is None:
            return None
        own = [one for one in self.comparison.against if one.name == self.replayed.name]
        pairs = own[0].pairs if own else None
        return pairs.equal / pairs.count if pairs is not None and pairs.count else None

    def warning(self, *, is_whole: bool) -> str:
        """Return why a warm-up is advised, in words; empty if there is no sign that one is needed.

        `is_whole`: all recorded requests were replayed, or fed before, so that none can be added.
        """
        found, own = self.replayed, self.own_agreement()
        if not found.has_state and (own is None or own >= OWN_MIN):
            return ""
        reasons = []
        if found.has_state:
            reasons.append(
                "asked once more at the end, it answered its first requests differently: it keeps "
                "state, or draws by chance"
            )
        if own is not None and own < OWN_MIN:
            reasons.append(f"it answers {100 * own:.1f} % of the requests as it did on record")
        text = f"{found.name}: {'; '.join(reasons)}"
        if is_whole:
            return text if found.has_state else ""
        if found.warmed:
            fed = f"it was fed {found.warmed:,} earlier requests"
            return f"{text}; {fed}: more may be needed (--warm-up all)"
        return f"{text}; it has seen nothing from before --since: feed it (--warm-up 1h, or all)"

    def _repr_html_(self) -> str:
        """Return the report, for notebooks."""
        from rdv.analysis.replay.view import replay_report

        return replay_report(self).fragment()

    def as_json(self) -> dict[str, Any]:
        """Return all findings as one object."""
        return {
            "own_agreement": self.own_agreement(),
            **self.replayed.as_json(),
            "pace": None if self.pace is None else self.pace.as_json(),
            "comparison": None if self.comparison is None else self.comparison.as_json(),
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
