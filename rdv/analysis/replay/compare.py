"""Compare a replayed model with what is recorded: the answers given, every model, the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import RESULT, Joined
from rdv.analysis.dataset.keys import hashed_keys
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import USUAL_FIELDS
from rdv.analysis.dataset.values import Extract, KnownTruths
from rdv.analysis.errors import NothingRecorded
from rdv.analysis.measure import Contrast, Kept, Measure, Rate, contrast_of, usual_measure
from rdv.analysis.measure.choose import measure_for
from rdv.analysis.measure.contrast import as_interval, contrast_of_shares, share_metric
from rdv.analysis.metrics import Metric, estimate
from rdv.analysis.replay.rows import Spill
from rdv.analysis.statistics import (
    ClassAgreement,
    Interval,
    InvalidSample,
    PairedCounts,
    PairedShares,
    ScoreAgreement,
    agreement_of_classes,
    agreement_of_scores,
    plain,
)
from rdv.decision.outcome import Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.payload import read_recorded

ANSWERS = ""
"""The name under which the answers given are compared; other names are models."""

SAMPLE_MAX = 1_000_000
JUDGED_MAX = 250_000
"""The maximum number of requests that are measured against each model, at 48 bytes each."""
SLACK_NS = 60 * 10**9
"""How many ns replay and join may differ in the order of requests."""

NOT_REPLAYED = 255

Floats = npt.NDArray[np.float64]


class Pairs:
    """Pairs of values by request: all are counted, a bounded sample is kept.

    When the sample is full, every second pair is dropped, and only every second kept from then on.
    """

    def __init__(self, limit: int = SAMPLE_MAX) -> None:
        self.count = 0
        self.equal = 0
        self.stride = 1
        self._limit = limit
        self._kept: list[tuple[Floats, Floats]] = []
        self._size = 0

    def add(self, first: Floats, second: Floats) -> None:
        """Add rows, without those that lack one of the values."""
        there = ~(np.isnan(first) | np.isnan(second))
        a, b = first[there], second[there]
        start = -self.count % self.stride
        self.count += len(a)
        self.equal += int((a == b).sum())
        a, b = a[start :: self.stride], b[start :: self.stride]
        self._kept.append((a, b))
        self._size += len(a)
        while self._size > self._limit:
            first, second = self.sample()
            # The pairs kept are multiples of twice the stride, counted from the first pair.
            self._kept = [(first[::2], second[::2])]
            self._size = len(self._kept[0][0])
            self.stride *= 2

    def sample(self) -> tuple[Floats, Floats]:
        """Return every `stride`-th pair."""
        if not self._kept:
            return np.empty(0), np.empty(0)
        return (
            np.concatenate([a for a, _ in self._kept]),
            np.concatenate([b for _, b in self._kept]),
        )


@dataclass
class Against:
    """The comparison of the replayed model with another one, or with the answers given."""

    name: str
    pairs: Pairs = field(default_factory=Pairs)
    right_on: PairedCounts = field(default_factory=PairedCounts)
    """Which of the two was right, the new model or this one, on requests with a known truth that
    this one has answered; a failure of the new model is not right.
    """
    known: int = 0
    right: int = 0
    """Counts of the other's own answers: those with a known truth, and those that are right."""
    judged: Kept = field(default_factory=lambda: Kept(JUDGED_MAX))
    """What the metric takes of both, truths, keys, and whether both are right: where this one has
    answered, and the outcome is known.
    """
    contrast: Contrast | None = None
    """The new model and this one by the metric, on the same requests."""
    lacks_value: bool = True
    """Whether it has answered, but never with what is judged."""

    def agreement(self, *, is_number: bool) -> ScoreAgreement | ClassAgreement | None:
        """Return the agreement on the sample; None with too few pairs, or too many classes."""
        of = agreement_of_scores if is_number else agreement_of_classes
        try:
            return of(*self.pairs.sample())
        except InvalidSample:
            return None

    def accuracy(self) -> Interval | None:
        """Return the share of right answers, with its interval by key."""
        if not self.known:
            return None
        found = self._shares(self.name)
        return replace(as_interval(found.second), estimate=self.right / self.known)

    def advantage(self) -> PairedShares | None:
        """Return the new model's share of right answers minus the other's, on the same requests.

        The interval is by key, and without an end if there are too few of them.
        """
        counts = self.right_on.shares()
        if counts is None:
            return None
        estimate = counts.difference.estimate
        found = as_interval(self._shares(self.name).difference)
        return replace(counts, difference=replace(found, estimate=estimate))

    def _shares(self, name: str) -> Contrast:
        _, _, _, keys, new_right, right = self.judged.columns()
        return contrast_of_shares("right answers", ("new", name), new_right, right, keys)

    def as_json(self, *, is_number: bool) -> dict[str, Any]:
        return {
            "against": self.name or "answers given",
            "requests": self.pairs.count,
            "equal": self.pairs.equal,
            "sampled_every": self.pairs.stride,
            "agreement": plain(self.agreement(is_number=is_number)),
            "outcomes_known": self.known,
            "accuracy": plain(self.accuracy()),
            "advantage": plain(self.advantage()),
            "metric": None if self.contrast is None else self.contrast.as_json(),
        }


@dataclass
class Comparison:
    """The whole comparison: `against[0]` are the answers given, all others are models."""

    extract: Extract
    requests: int = 0
    """The number of replayed requests that are recorded."""
    known: int = 0
    right: int = 0
    """Counts of the replayed requests: those with a known truth, and those answered rightly. A
    failure is not right.
    """
    unanswered: int = 0
    """Of the known ones, those that got no answer."""
    base_rate: str = ""
    """How often an answer that never changes would be right, in words."""
    problem: str = ""
    """Why the outcomes do not tell which answers are right; empty if they do, or there are none."""
    against: list[Against] = field(default_factory=lambda: [Against(ANSWERS)])
    rights: Kept = field(default_factory=lambda: Kept(JUDGED_MAX))
    """Whether the replayed model is right, where the outcome is known, and keys."""
    metric: Metric | None = None
    """What answers are measured by, besides being right."""
    measured: str = ""
    """How, in words."""
    notes: Notes = field(default_factory=Notes)

    @property
    def is_number(self) -> bool:
        return self.extract.is_number

    def accuracy(self) -> Interval | None:
        """Return the share of right answers, with its interval by key."""
        if not self.known:
            return None
        right, keys = self.rights.columns()
        units = keys if len(np.unique(keys)) < len(keys) else None
        found = as_interval(estimate(share_metric("right answers"), right, keys=units))
        return replace(found, estimate=self.right / self.known)

    def lacking(self) -> list[str]:
        """Return the models that have answered, but never with what is judged."""
        return [one.name for one in self.against if one.name and one.lacks_value]

    def sentences(self) -> list[str]:
        """Return what the metric says of the new model and each other one."""
        return [one.contrast.sentence() for one in self.against if one.contrast is not None]

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "outcomes_known": self.known,
            "unanswered": self.unanswered,
            "problem": self.problem or None,
            "base_rate": self.base_rate or None,
            "reading": self.extract.reading.sentence(),
            "accuracy": plain(self.accuracy()),
            "lacking": self.lacking(),
            "sentences": self.sentences(),
            "against": [one.as_json(is_number=self.is_number) for one in self.against],
            "notes": plain(self.notes),
        }

    def drop_judgement(self, problem: str) -> None:
        """Forget which answers were right, for this reason."""
        self.problem = problem
        self.known = self.right = self.unanswered = 0
        for one in self.against:
            one.known, one.right, one.right_on = 0, 0, PairedCounts()
            one.contrast = None

    def of(self, name: str) -> Against:
        """Return the comparison with one model, made on first use."""
        for one in self.against:
            if one.name == name:
                return one
        self.against.append(Against(name))
        return self.against[-1]


def compare(
    recorded: Recorded,
    spill: Spill,
    extract: Extract,
    since_ns: int | None,
    until_ns: int | None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    measure: Measure | None = None,
    default: Any = None,
    name: str = "the new model",
) -> Comparison:
    """Join what was replayed with what is recorded. Uses as much memory as `Join`.

    `extract` is the one with which the replay has read its values, that of `measure` if it is
    given. `default` is the answer that clients get where the model fails, for a metric that has no
    wrong answer. `progress` gets numbers of requests. Raises TooManyValues and the log's
    SystemFaults.
    """
    measure = usual_measure(extract) if measure is None else measure
    join = Join(recorded, since_ns, until_ns, extract=extract)
    outcomes = read_outcomes(recorded, join.notes)
    found = Comparison(extract, notes=join.notes)
    replayed, truths, rate = _Replayed(spill), KnownTruths(extract), Rate()
    default_value = extract.of_answer(default)
    try:
        for joined in join:
            values, codes = replayed.of(joined)
            known = outcomes.of(joined, extract)
            truths.add(known[codes != NOT_REPLAYED])
            _add(found, joined, values, codes, known, measure, default_value)
            rate.add(joined.append_ns)
            progress(len(joined))
    except NothingRecorded:
        pass  # an archive may reach further back than the log
    if len(outcomes):
        found.base_rate = truths.base_rate()
        found.metric, found.measured = measure.metric, measure.sentence()
        for one in found.against:
            one.contrast = _contrast(measure, name, one, truths.problem, rate.per_day)
    if len(outcomes) and truths.problem:
        found.drop_judgement(truths.problem)
    return found


def _contrast(
    measure: Measure, name: str, one: Against, problem: str, per_day: float | None
) -> Contrast | None:
    columns = one.judged.columns()
    if not columns or not len(columns[0]):
        return None
    new, theirs, truths, keys, _, _ = columns
    names = name, one.name or "answers given"
    return contrast_of(
        measure,
        names,
        (new, theirs),
        truths,
        keys,
        problem=problem,
        per_day=per_day,
        thinned=one.judged.stride,
    )


def _add(
    found: Comparison,
    joined: Joined,
    values: Floats,
    codes: npt.NDArray[np.uint8],
    truths: Floats,
    measure: Measure,
    default_value: float,
) -> None:
    there = codes != NOT_REPLAYED
    found.requests += int(there.sum())
    right = found.extract.judge(values, truths)
    right[~there] = np.nan
    found.unanswered += int((np.isnan(values) & ~np.isnan(right)).sum())
    found.known += int((~np.isnan(right)).sum())
    found.right += int(np.nansum(right))
    keys = hashed_keys(joined)
    known = ~np.isnan(right)
    found.rights.add(right[known], keys[known])
    told = np.where(there, truths, np.nan)
    given = values
    if measure.missing == "left out":  # a failure is no error of 0: clients get the default
        given = np.where(np.isnan(values), default_value, values)
    new_points = measure.points(joined, given, told)
    assert joined.given is not None
    assert joined.value is not None
    columns = [(ANSWERS, joined.given), *zip(joined.models, joined.value, strict=True)]
    for name, theirs in columns:
        has_answered = name != ANSWERS and (joined.outcome[joined.models.index(name)] == RESULT)
        if np.isnan(theirs).all() and not np.any(has_answered):
            continue
        one = found.of(name)
        one.lacks_value = one.lacks_value and bool(np.isnan(theirs).all())
        one.pairs.add(values, theirs)
        their_right = found.extract.judge(theirs, truths)
        their_right[np.isnan(theirs) | ~there] = np.nan
        one.known += int((~np.isnan(their_right)).sum())
        one.right += int(np.nansum(their_right))
        both = ~(np.isnan(right) | np.isnan(their_right))
        one.right_on.add(right[both] > 0, their_right[both] > 0)
        rows = np.flatnonzero(~np.isnan(told) & ~np.isnan(theirs))
        if len(rows):
            points = measure.points(joined, theirs, np.where(np.isnan(theirs), np.nan, told))
            one.judged.add(
                new_points[rows],
                points[rows],
                told[rows],
                keys[rows],
                right[rows],
                their_right[rows],
            )


class _Replayed:
    """Reads the spill along with the join: both are nearly in the order of time."""

    def __init__(self, spill: Spill) -> None:
        self._blocks: Iterator[npt.NDArray[Any]] = spill.blocks()
        self._waiting: dict[bytes, tuple[float, int, int]] = {}
        self._latest_ns = -(2**63)
        self._is_over = False

    def of(self, joined: Joined) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """Return (n,) values and codes of the batch's requests; NOT_REPLAYED for the others."""
        values = np.full(len(joined), np.nan)
        codes = np.full(len(joined), NOT_REPLAYED, np.uint8)
        first_ns, last_ns = int(joined.append_ns[0]), int(joined.append_ns[-1])
        while not self._is_over and self._latest_ns <= last_ns + SLACK_NS:
            self._read(first_ns - SLACK_NS)
        waiting = self._waiting
        for row, id_ in enumerate(joined.ids.tolist()):
            if (known := waiting.pop(id_, None)) is not None:
                values[row], codes[row], _ = known
        return values, codes

    def _read(self, since_ns: int) -> None:
        """Read one more block; drop rows from before `since_ns`."""
        block = next(self._blocks, None)
        if block is None:
            self._is_over = True
            return
        self._latest_ns = int(block["time_ns"].max())
        self._waiting = {k: v for k, v in self._waiting.items() if v[2] >= since_ns}
        for id_, time_ns, value, code in block.tolist():
            if time_ns >= since_ns:
                self._waiting[id_] = (value, code, time_ns)


def extract_for(
    first: bytes,
    answers: Sequence[Any],
    truths: Sequence[Any],
    outcome: Outcome,
    on: str | None = None,
) -> Extract:
    """Return the extract for a model by its first answer, some recorded answers and outcomes."""
    return replayed_measure(first, answers, truths, outcome, on).extract


def replayed_measure(
    first: bytes,
    answers: Sequence[Any],
    truths: Sequence[Any],
    outcome: Outcome,
    on: str | None = None,
    metric: str = "",
    value: Value = UNDECLARED,
    directory: str = "",
) -> Measure:
    """Return the measure for a model by its first answer, some recorded answers and outcomes.

    Where outcomes do not decide it, the field that counts is one that the recorded answers have.
    Raises UnknownMetric, InvalidMetric.
    """
    new = read_recorded(first)
    fields = set(new) if isinstance(new, dict) else set()
    alike = [one for one in answers if fields & (set(one) if isinstance(one, dict) else set())]
    rest = metric, value, directory
    found = measure_for([new, *alike], truths, outcome, on, *rest)
    if found.reading.answer is None and type(found) is Measure:
        common = next(
            (name for name in USUAL_FIELDS if name in fields and any(name in one for one in alike)),
            None,
        )
        found = measure_for([new, *alike], truths, outcome, common, *rest)
    return found
