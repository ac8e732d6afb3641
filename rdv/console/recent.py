"""The last hour in steps of five seconds, and what happened in it. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.joined import ABSENT, KINDS, NO_RESULT, Joined
from rdv.console.bounded import OTHER
from rdv.console.totals import MISS_US, REPORTS, SILENT
from rdv.decision.events import EVENT_TOPICS
from rdv.live import ControlRecord, Update

STEP_S = 5
STEP_NS = STEP_S * 10**9
KEPT_S = 3_600
MARKS_MAX = 100
MODELS_MAX = 50
"""How many models (and combinations) a bucket counts one by one; the rest is OTHER."""

LATENCY_MS = tuple(round(0.1 * 10 ** (n / 10), 4) for n in range(58))
"""The bounds of the latency's buckets in ms: ten a decade, from 0.1 ms to 50 s."""


class Bucket(msgspec.Struct):
    """The requests of five seconds, by the time of their append."""

    start_s: int
    """Since 1970; a multiple of STEP_S."""
    kinds: dict[str, int] = {}
    models: dict[str, int] = {}
    """Answers by model; the default's is ""."""
    latency: list[int] = []
    """How many answers took up to each bound of LATENCY_MS, and longer than the bound before; the
    last one is of all longer ones."""
    misses: int = 0
    """Later than the deadline by more than 10 ms."""
    unanswered: int = 0
    reports: dict[str, dict[str, int]] = {}
    """By model and outcome (`totals.REPORTS`)."""
    codes: dict[str, int] = {}
    """Answers that are not the preferred one, by why."""

    @property
    def answers(self) -> int:
        return sum(self.kinds.values())

    def quantile_ms(self, share: float) -> float | None:
        """Return a bound in ms that this share of the answers did not exceed; None: no answers."""
        return latency_quantile_ms(self.latency, share)


class Recent:
    """The buckets of the last hour, by their start. For one thread at a time."""

    def __init__(self, buckets: Iterable[Bucket] = (), marks: Iterable[ControlRecord] = ()) -> None:
        self._buckets = {one.start_s: one for one in buckets}
        self.marks = deque(marks, maxlen=MARKS_MAX)
        """What happened: the events of `control`, the newest last."""
        self.changed: set[int] = set()
        """The starts of buckets that have changed since they were saved."""

    @property
    def buckets(self) -> list[Bucket]:
        """The buckets in order of time; five seconds without a request have none."""
        return [self._buckets[start] for start in sorted(self._buckets)]

    def add(self, update: Update, declared: Iterable[str]) -> None:
        """Count what a reading has found."""
        oldest_s = update.until_ns // 10**9 - KEPT_S
        self.marks.extend(record for record in update.control if _is_mark(record))
        for time_ns, result in update.unasked:
            start_s = time_ns // STEP_NS * STEP_S
            if start_s >= oldest_s:
                bucket = self._bucket(start_s)
                _count(bucket.kinds, result.kind, 1)
                _count(bucket.models, "", 1)
                _add_latency(bucket, np.array([result.waited_ms]))
        if update.joined is not None:
            self._add(update.joined, oldest_s, set(declared))
        for start_s in [start for start in self._buckets if start < oldest_s]:
            del self._buckets[start_s]
            self.changed.discard(start_s)

    def _add(self, joined: Joined, oldest_s: int, declared: set[str]) -> None:
        starts = joined.append_ns // STEP_NS * STEP_S
        for start_s in np.unique(starts).tolist():
            if start_s >= oldest_s:
                rows = starts == start_s
                one = joined if rows.all() else joined.take(np.flatnonzero(rows))
                _add_to(self._bucket(start_s), one, declared)

    def _bucket(self, start_s: int) -> Bucket:
        bucket = self._buckets.get(start_s)
        if bucket is None:
            bucket = self._buckets[start_s] = Bucket(start_s, latency=[0] * (len(LATENCY_MS) + 1))
        self.changed.add(start_s)
        return bucket


def _is_mark(record: ControlRecord) -> bool:
    """Return whether it is an event; that of an edit follows when the edit takes effect."""
    return record.topic in EVENT_TOPICS and record.fields.get("kind") != "file_edited"


def _add_to(bucket: Bucket, joined: Joined, declared: set[str]) -> None:
    answered = joined.kind != NO_RESULT
    bucket.unanswered += int((~answered).sum())
    for code, count in enumerate(np.bincount(joined.kind[answered], minlength=4).tolist()):
        if count:
            _count(bucket.kinds, KINDS[code] or "", count)
    model_counts = joined.model.counts()
    for name, count in model_counts.items():
        _count(bucket.models, name, count)
    if nameless := int(answered.sum()) - sum(model_counts.values()):
        _count(bucket.models, "", nameless)
    waited_ms = joined.waited_ms[answered]
    _add_latency(bucket, waited_ms)
    with np.errstate(invalid="ignore"):
        late = waited_ms > joined.deadline_ms[answered] + MISS_US / 1000
    bucket.misses += int(late.sum())
    if joined.code is not None:
        for name, count in joined.code.counts().items():
            _count(bucket.codes, name, count)
    for number, name in enumerate(joined.models):
        _add_reports(bucket, name, joined.outcome[number], is_declared=name in declared)
    for name in declared.difference(joined.models):
        _count(bucket.reports.setdefault(name, {}), SILENT, len(joined))


def _add_reports(
    bucket: Bucket, name: str, outcome: npt.NDArray[np.uint8], *, is_declared: bool
) -> None:
    for code, count in enumerate(np.bincount(outcome, minlength=len(REPORTS)).tolist()):
        if count and (code != ABSENT or is_declared):
            known = name if name in bucket.reports or len(bucket.reports) < MODELS_MAX else OTHER
            _count(bucket.reports.setdefault(known, {}), REPORTS[code], count)


def _add_latency(bucket: Bucket, waited_ms: npt.NDArray[np.float64]) -> None:
    bins = np.searchsorted(LATENCY_MS, waited_ms, "left")
    counts = np.bincount(bins, minlength=len(LATENCY_MS) + 1)
    bucket.latency = (np.array(bucket.latency) + counts).tolist()


def _count(counts: dict[str, int] | Counter[str], name: str, count: int) -> None:
    if name not in counts and len(counts) >= MODELS_MAX:
        name = OTHER
    counts[name] = counts.get(name, 0) + count


def latency_quantile_ms(counts: list[int], share: float) -> float | None:
    """Return a bound in ms that this share of the answers did not exceed; None: no answers.

    `counts` are as in `Bucket.latency`, also summed over buckets.
    """
    total = sum(counts)
    if not total:
        return None
    at = int(np.searchsorted(np.cumsum(counts), share * total, "left"))
    return LATENCY_MS[min(at, len(LATENCY_MS) - 1)]
