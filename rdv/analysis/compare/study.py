"""Compare two models on the same requests in one pass over the join."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.counts import ClassCounts, Tally
from rdv.analysis.compare.disagreements import find_disagreements
from rdv.analysis.compare.drift import RateCounter, drift_of_pairs
from rdv.analysis.compare.inputs import InputCollector
from rdv.analysis.compare.pairs import PAIRS_MAX, Answers, Collector, Pairs, Reader
from rdv.analysis.compare.result import Comparison, ModelFigures
from rdv.analysis.compare.segments import SegmentCollector
from rdv.analysis.compare.truths import JudgedCollector
from rdv.analysis.dataset.join import Join
from rdv.analysis.dataset.joined import KINDS, NONE, Joined, count_codes
from rdv.analysis.dataset.outcomes import read_outcomes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.reading import Kind, choose_reading
from rdv.analysis.digests import NO_PAST, Past
from rdv.analysis.errors import ModelNotRecorded, SameModel
from rdv.analysis.measure import DEFAULTS, Measure, choose_measure
from rdv.analysis.statistics import Normaliser, ScoreAgreement, agreement_of_scores, quantile_pairs
from rdv.decision.outcome import INFERRED, Outcome
from rdv.decision.value import UNDECLARED, Value
from rdv.rendezvous.topology import SCORES

CONFIDENCE = 0.95
DISAGREEMENTS = 100
NUMBERS_MIN = 4
GRACE_MS = 10.0


def compare(
    recorded: Recorded,
    first: str,
    second: str,
    since_ns: int | None = None,
    until_ns: int | None = None,
    *,
    outcome: Outcome = INFERRED,
    on: str | None = None,
    metric: str = "",
    value: Value = UNDECLARED,
    defaults: Mapping[Kind, str] = DEFAULTS,
    by: str | None = None,
    canary: str | None = None,
    window_ms: float | None = None,
    cohort: str | None = None,
    disagreements: int = DISAGREEMENTS,
    confidence: float = CONFIDENCE,
    pairs_max: int = PAIRS_MAX,
    past: Past = NO_PAST,
    progress: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Compare the answers of both models to the requests appended in [since_ns, until_ns).

    `outcome` and `value` are sections of rdv.toml, `on` the only field of the answers that counts,
    `metric` the name of what is measured (by default that of [outcome], or of `defaults`), `by` a
    field of the data, or hour, day or week, by which both are compared as well, `canary`
    the model that never changes, `window_ms` until when answers count as in time, `past` digests
    from before the period, with which drift is compared. `progress` gets the number of requests
    done. Raises ModelNotRecorded, SameModel, NothingRecorded, TooManyValues, UnknownMetric,
    InvalidMetric, NoSegment, and the log's SystemFaults.
    """
    _check(recorded, first, second, canary)
    join = Join(recorded, since_ns, until_ns)
    reading = choose_reading(recorded, outcome, on)
    with choose_measure(recorded, outcome, on, metric, value, defaults) as measure:
        is_judged = measure.reading == reading and type(measure) is Measure
        answers = Answers(reading, on, None if is_judged else measure.extract)
        if is_judged:
            measure.extract = answers.judged
        outcomes = read_outcomes(recorded, join.notes)
        study = _Study(
            (first, second),
            canary,
            answers,
            JudgedCollector(outcomes, answers.judged, measure),
            Collector(first, second, max(1, -(-join.request_count // pairs_max))),
            (Tally(window_ms), Tally(window_ms)),
            ClassCounts(on),
            InputCollector(join.request_count),
            None if by is None else SegmentCollector(by, outcomes, measure),
            past=past,
        )
        for joined in join:
            study.add(joined if cohort is None else joined.take(in_cohort(joined, cohort)))
            progress(len(joined))
        return study.finish(join, disagreements, confidence)


def in_cohort(joined: Joined, name: str) -> npt.NDArray[np.bool_]:
    """Return which requests were in the cohort of this name."""
    names = joined.cohort.names
    code = names.index(name) if name in names else NONE - 1
    return np.asarray(joined.cohort.codes == code)


def _check(recorded: Recorded, first: str, second: str, canary: str | None) -> None:
    if first == second:
        raise SameModel(first)
    scores = recorded.stream(SCORES)
    known = tuple(scores.topics()) if scores is not None else ()
    for model in (first, second, canary):
        if model is not None and model not in known:
            raise ModelNotRecorded(recorded.directory, model, known)


@dataclass
class _Study:
    """Adds one batch after another."""

    names: tuple[str, str]
    canary: str | None
    answers: Answers
    truths: JudgedCollector
    collector: Collector
    tallies: tuple[Tally, Tally]
    classes: ClassCounts
    inputs: InputCollector
    segments: SegmentCollector | None = None
    past: Past = NO_PAST
    rates: RateCounter = field(default_factory=RateCounter)
    kinds: Counter[str] = field(default_factory=Counter)
    late: int = 0
    requests: int = 0
    both: int = 0

    def __post_init__(self) -> None:
        self.reader = Reader(self.answers)

    def add(self, joined: Joined) -> None:
        first, second = (self.reader.read(joined, name) for name in self.names)
        canary = None
        if self.canary is not None and self.canary not in self.names:
            canary = self.reader.read(joined, self.canary)
        for tally, reports in zip(self.tallies, (first, second), strict=True):
            tally.add(reports, self.reader.versions)
        if self.answers.judged.reading.kind != "ranking":
            self.classes.add(first, second)
        self.collector.add(joined, (first, second), canary)
        self.truths.add(joined, first, second)
        self.inputs.add(joined)
        if self.segments is not None:
            self.segments.add(joined, first, second)
        self.rates.add(joined.append_ns)
        self.requests += len(joined)
        self.both += int((first.is_result & second.is_result).sum())
        self.kinds.update(count_codes(joined.kind, KINDS))
        with np.errstate(invalid="ignore"):
            self.late += int((joined.waited_ms > joined.deadline_ms + GRACE_MS).sum())

    def finish(self, join: Join, disagreements: int, confidence: float) -> Comparison:
        pairs = self.collector.pairs()
        classes = self.classes.agreement(confidence)
        for problem in self.past.problems:
            join.notes.gap(problem)
        if unreadable := self.answers.unreadable:
            join.notes.unreadable["answers"] = unreadable
        digests = [tally.numbers for tally in self.tallies]
        numbers = all(digest.count >= NUMBERS_MIN for digest in digests)
        normalisers = (Normaliser.of(digests[0]), Normaliser.of(digests[1])) if numbers else None
        worst = None if pairs is None else find_disagreements(pairs, disagreements, normalisers)
        return Comparison(
            first=ModelFigures.of(self.names[0], self.tallies[0]),
            second=ModelFigures.of(self.names[1], self.tallies[1]),
            canary=self.canary,
            requests=self.requests,
            both=self.both,
            thinned=self.collector.thinned,
            classes=classes,
            class_names=() if classes is None else tuple(map(self.answers.name, classes.classes)),
            scores=_scores(pairs, confidence),
            quantile_pairs=quantile_pairs(digests[0], digests[1]) if numbers else None,
            judged=(judged := self.truths.judged()),
            accuracy=judged.paired(confidence),
            points=(points := self.truths.points(judged)),
            metric=(overall := points.contrast(self.names, confidence)),
            segments=None if self.segments is None else self.segments.segments(overall, confidence),
            outcomes=len(self.truths.outcomes),
            drift=[]
            if pairs is None
            else drift_of_pairs(pairs, self.names, self.canary, self.answers, self.past),
            rates=self.rates.rates(),
            kinds=dict(self.kinds),
            late=self.late,
            pairs=pairs,
            disagreements=worst,
            notes=join.notes,
            inputs=self.inputs.inputs(self.past),
        )


def _scores(pairs: Pairs | None, confidence: float) -> ScoreAgreement | None:
    if pairs is None:
        return None
    known = np.isfinite(pairs.first) & np.isfinite(pairs.second)
    if int(known.sum()) < NUMBERS_MIN:
        return None
    return agreement_of_scores(pairs.first[known], pairs.second[known], confidence)
