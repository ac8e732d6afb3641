"""What a comparison has found: figures, sentences, and values for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from rdv.analysis.charts import cell, p_value, share, signed
from rdv.analysis.compare.counts import Tally
from rdv.analysis.compare.disagreements import Found
from rdv.analysis.compare.drift import ModelDrift, Rates
from rdv.analysis.compare.inputs import Inputs
from rdv.analysis.compare.pairs import Pairs
from rdv.analysis.compare.segments import Segments
from rdv.analysis.compare.truths import Judged, Points
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.exploration.result import Explored
from rdv.analysis.measure import Contrast
from rdv.analysis.statistics import (
    ClassAgreement,
    Digest,
    Latency,
    PairedShares,
    QuantilePairs,
    ScoreAgreement,
    latency,
    plain,
)

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_REFUSALS = ("behind", "expired", "unavailable", "bad input")
_RANK_WORDS = ((0.95, "nearly the same"), (0.7, "similar"), (0.3, "weakly related"))


@dataclass(frozen=True)
class ModelFigures:
    """Figures of one model since its first report. Shares are of requests to score (`asked`)."""

    name: str
    asked: int
    before: int
    """The number of requests before its first report, which do not count."""
    outcomes: dict[str, int]
    """Counts of result, behind, expired, not sampled, bad input, error and silent."""
    answered: float
    errors: float
    refusals: float
    """The share of behind or expired: the model was too late."""
    silent: float
    versions: dict[str, int]
    version: str | None
    """The version of its last result."""
    arrival: Latency | None
    """From the start of the request to the arrival of its answer."""
    evaluation: Latency | None
    """The time of the batch that the request was in."""
    quantiles: dict[float, float]
    """Quantiles of its numbers, by level."""
    in_window: float | None
    """The share of answers within `window_ms`; None if no window was given."""
    tally: Tally
    """Digests, for charts."""

    @classmethod
    def of(cls, name: str, tally: Tally) -> ModelFigures:
        counts = tally.outcomes
        asked = counts.total() - counts["not sampled"]
        whole = max(1, asked)
        return cls(
            name,
            asked,
            tally.before,
            dict(counts),
            counts["result"] / whole,
            counts["error"] / whole,
            sum(counts[one] for one in _REFUSALS) / whole,
            counts["silent"] / whole,
            dict(tally.versions.most_common()),
            tally.version,
            _latency(tally.arrival_ms),
            _latency(tally.evaluation_ms),
            _quantiles(tally.numbers),
            None if tally.window_ms is None else tally.in_window / whole,
            tally,
        )

    def as_json(self) -> dict[str, Any]:
        figures = {name: plain(value) for name, value in vars(self).items() if name != "tally"}
        figures["quantiles"] = {f"{level:g}": value for level, value in self.quantiles.items()}
        return figures


@dataclass(frozen=True)
class Comparison:
    """The whole comparison. `first` and `second` are the models in the order of the call."""

    first: ModelFigures
    second: ModelFigures
    canary: str | None
    requests: int
    both: int
    """The number of requests that both have scored."""
    thinned: int
    """Rank agreement, drift and disagreements use every n-th of these requests."""
    classes: ClassAgreement | None
    class_names: tuple[str, ...]
    scores: ScoreAgreement | None
    quantile_pairs: QuantilePairs | None
    judged: Judged
    accuracy: PairedShares | None
    points: Points
    """What the metric takes of both models."""
    metric: Contrast
    """Both models by the metric that was asked for, or the usual one."""
    segments: Segments | None
    """Both models by segment, if that was asked for."""
    outcomes: int
    drift: list[ModelDrift]
    rates: Rates
    kinds: dict[str, int]
    """The kinds of the answers that clients received."""
    late: int
    """How many of those were later than their SLA + 10 ms."""
    pairs: Pairs | None
    disagreements: Found | None
    notes: Notes = field(default_factory=Notes)
    inputs: Inputs = field(default_factory=Inputs)
    """Which fields of the input have changed."""
    exploration: Explored | None = None
    """What randomised requests say of both models; None where no outcome is recorded, or if it was
    not asked for.
    """

    def _repr_html_(self) -> str:
        """Return the report, for notebooks."""
        from rdv.analysis.compare.view import compare_report

        return compare_report(self).fragment()

    def sentences(self) -> list[str]:
        """Return the findings as sentences, the most important first."""
        a, b = self.first.name, self.second.name
        found = [f"{a} and {b} have both scored {self.both:,} of {self.requests:,} requests."]
        if self.metric.metric.name != "accuracy" and self.outcomes:
            found.append(self.metric.sentence())
        if self.accuracy is not None:
            found.append(_accuracy(a, b, self.accuracy, self.judged.key_count))
            found += self._beside_accuracy()
        elif self.outcomes and (problem := self.judged.problem) and problem not in found[-1]:
            found.append(f"Nothing can be said about right answers: {problem}.")
        if self.segments is not None:
            found += self.segments.sentences()
        if self.classes is not None:
            found.append(_classes(self.classes))
        if self.both and self.classes is None and self.scores is None:
            found.append("The answers cannot be compared: name the field that counts (--on).")
        if self.scores is not None:
            found.append(_ranks(a, b, self.scores))
        found += [one.sentence for one in self.drift]
        found += self.inputs.sentences()
        found.append(self.rates.sentence())
        return found

    def _beside_accuracy(self) -> list[str]:
        """Return what a share of right answers is worth: coverage, and the base rate."""
        parts = [
            f"{one.name} has answered {share(one.answered)} of its requests"
            for one in (self.first, self.second)
            if one.answered < 1
        ]
        found = []
        if parts:
            text = " and ".join(parts)
            found.append(f"{text}: right answers are compared on the {self.both:,} of both.")
        if rate := self.judged.known.base_rate():
            found.append(f"{rate[:1].upper()}{rate[1:]}.")
        return found

    def caveats(self) -> list[str]:
        """Return what limits the exactness of the figures."""
        found = []
        if self.thinned > 1:
            found.append(
                f"ranks, drift and disagreements are computed on every {self.thinned}th request "
                "that both have scored; all other figures on all requests"
            )
        found += [
            f"{model.name} had {len(model.versions)} versions: see --since"
            for model in (self.first, self.second)
            if len(model.versions) > 1
        ]
        found += [
            f"{model.name} did not run for the first {model.before:,} requests: its shares are of "
            "the requests since then"
            for model in (self.first, self.second)
            if model.before
        ]
        if self.accuracy is not None:
            found.append(self.judged.extract.reading.sentence())
        if self.metric.metric.name != "accuracy" and not self.metric.problem:
            found.append(self.metric.reading)
        if self.metric.left_out:
            found.append(
                f"{self.metric.left_out:,} requests with a known outcome are left out: one of the "
                f"two has no value of {self.metric.metric.name} there"
            )
        if self.canary is None:
            found.append("no canary: a changed input looks like a changed model")
        return found + self.notes.lines()

    def as_json(self) -> dict[str, Any]:
        left_out = (
            "first",
            "second",
            "class_names",
            "judged",
            "points",
            "metric",
            "pairs",
            "disagreements",
            "exploration",
        )
        figures = {name: plain(one) for name, one in vars(self).items() if name not in left_out}
        if self.classes is not None:
            figures["classes"]["classes"] = list(self.class_names)
        return figures | {
            "first": self.first.as_json(),
            "second": self.second.as_json(),
            "judged_by": self.judged.extract.reading.kind,
            "reading": self.judged.extract.reading.sentence(),
            "outcome_classes": self.judged.known.classes,
            "metric": self.metric.as_json(),
            "segments": None if self.segments is None else self.segments.as_json(),
            "exploration": None if self.exploration is None else self.exploration.as_json(),
            "sentences": self.sentences(),
            "caveats": self.caveats(),
        }


def _accuracy(a: str, b: str, found: PairedShares, keys: int) -> str:
    if found.difference.low > 0:
        verdict = f"{a} is better"
    elif found.difference.high < 0:
        verdict = f"{b} is better"
    else:
        verdict = "the difference may be chance"
    test = f"McNemar {p_value(found.mid_p)}"
    if keys < found.requests:
        test = f"by {keys:,} keys"
    return (
        f"Right answers on {found.requests:,} requests with a known outcome: {a} "
        f"{share(found.share_first)}, {b} {share(found.share_second)}: {verdict} (difference "
        f"{signed(found.difference, scale=100, unit='points')}, {test})."
    )


def _classes(found: ClassAgreement) -> str:
    agreement = f"Agreement: {share(found.rate)}"
    if math.isnan(found.kappa.estimate):
        return f"{agreement}; both always give the same one answer."
    return f"{agreement}, kappa {cell(found.kappa)} (1: always, 0: as often as by chance)."


def _ranks(a: str, b: str, found: ScoreAgreement) -> str:
    rho = found.correlation.estimate
    if math.isnan(rho):
        return f"Ranks: {a} or {b} always gives the same score: there is no order to compare."
    words = next((words for least, words in _RANK_WORDS if rho >= least), "different")
    return (
        f"Ranks: {words}, correlation {cell(found.correlation)}; of the {100 * found.top:.0f} % "
        f"that {a} ranks highest, {share(found.overlap)} are among the highest of {b}."
    )


def _latency(digest: Digest) -> Latency | None:
    return latency(digest) if digest.count else None


def _quantiles(digest: Digest) -> dict[float, float]:
    if not digest.count:
        return {}
    return dict(zip(QUANTILES, digest.quantiles(QUANTILES).tolist(), strict=True))
