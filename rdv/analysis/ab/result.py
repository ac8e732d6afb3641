"""The report of an experiment has figures, sentences and values for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rdv.analysis.charts import cell, share
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.statistics import Effect, Interval, SampleRatio, plain
from rdv.analysis.statistics.ab.effect import UNITS_MIN

_DEPENDS = (
    "Outcomes differ between the cohorts by themselves, or are known more often in one: "
    "they depend on the answers that were given. Pairs would mislead; believe the cohorts."
)


@dataclass(frozen=True)
class ArmFigures:
    """The figures of one arm. `mean` is of the metric over `measured` requests; None if there are
    none.
    """

    name: str
    share: float
    """The planned share of the keys."""
    keys: int
    requests: int
    measured: int
    mean: float | None
    outcomes: int
    kinds: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Comparison:
    """One treatment against the control; effects are None with too few keys, or without pairs."""

    control: str
    treatment: str
    effect: Effect | None
    """The effect by cohorts: of the answers that each cohort received."""
    paired: Effect | None
    """The effect by pairs: of what both schedules would have answered to every request."""
    truths: Effect | None
    """Whether outcomes themselves differ between the cohorts (if so, they cannot be paired)."""
    known: Effect | None
    """Whether outcomes are known more often in one cohort."""

    @property
    def depends(self) -> bool:
        """Whether outcomes differ by cohort: then they depend on the answers that were given."""
        return any(
            one is not None and not one.difference.covers(0) for one in (self.truths, self.known)
        )


@dataclass(frozen=True)
class Experiment:
    """The whole experiment. `comparisons` have one entry for each arm except the control, the first
    arm.
    """

    metric: str
    is_share: bool
    arms: list[ArmFigures]
    ratio: SampleRatio
    comparisons: list[Comparison]
    moved_keys: int
    """The number of keys that were in more than one arm."""
    left_out: int
    """The number of requests in no arm: without a key, or with a schedule of their own."""
    unpaired: int
    """The number of requests that some accepted model was not asked to score."""
    depends: bool
    """Whether nothing is paired: on request, or because the metric is a field of outcomes."""
    notes: Notes = field(default_factory=Notes)
    since_ns: int | None = None
    """The first moment that counts; None: as far back as the log goes."""
    in_force_ns: int | None = None
    """When the cohorts became what they are; None if that is not recorded."""

    def sentences(self) -> list[str]:
        """Return the findings as sentences, in the order of their reliability."""
        said = [_split(self)]
        for one in self.comparisons:
            said += [_by_cohorts(self, one), *_by_pairs(self, one)]
        return said

    def caveats(self) -> list[str]:
        """Return what limits the exactness of the figures."""
        said = []
        if self.in_force_ns is not None and self.in_force_ns == self.since_ns:
            begun = datetime.fromtimestamp(self.in_force_ns / 1e9, UTC)
            said.append(
                f"counted since {begun:%Y-%m-%d %H:%M:%S} UTC: since then the cohorts are as "
                "they are now"
            )
        if self.moved_keys:
            said.append(
                f"{self.moved_keys:,} keys were in more than one cohort: shares or salt have "
                "changed meanwhile; look at the time since then (--since)"
            )
        if self.left_out:
            said.append(
                f"{self.left_out:,} requests are in no cohort: without a key, or with a schedule "
                "of their own"
            )
        if self.unpaired:
            said.append(f"{self.unpaired:,} requests were not scored by every model: not paired")
        return said + self.notes.lines()

    def as_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "arms": plain(self.arms),
            "sample_ratio": plain(self.ratio),
            "comparisons": [
                {**plain(one), "outcomes_depend_on_answers": one.depends}
                for one in self.comparisons
            ],
            "moved_keys": self.moved_keys,
            "left_out": self.left_out,
            "unpaired": self.unpaired,
            "since_ns": self.since_ns,
            "in_force_since_ns": self.in_force_ns,
            "sentences": self.sentences(),
            "caveats": self.caveats(),
            "notes": plain(self.notes.as_json()),
        }


def _split(found: Experiment) -> str:
    arms = ", ".join(f"{arm.name} {arm.keys:,} ({arm.share:.3g} planned)" for arm in found.arms)
    if found.ratio.mismatch:
        return (
            f"The split is not as planned: keys by cohort are {arms}. Believe no effect before it "
            "is known what drops or redirects one of them."
        )
    return f"The split is as planned: keys by cohort are {arms}."


def _by_cohorts(found: Experiment, one: Comparison) -> str:
    if one.effect is None:
        return f"{one.treatment}: too few keys with a value of {found.metric!r} to say anything."
    effect = one.effect
    if effect.finding == "too early":
        return f"{one.treatment} against {one.control}: too early to say."
    text = f"{one.treatment} against {one.control}: {_difference(found, effect.difference)}"
    if effect.finding == "undecided":
        return f"{text}: undecided as yet. {_needed(effect)}"
    return f"{text}: that holds whenever one looks."


def _by_pairs(found: Experiment, one: Comparison) -> list[str]:
    if found.depends:
        return ["Not paired: outcomes depend on the answer that was given."]
    if one.depends:
        return [_DEPENDS]
    if one.paired is None:
        return []
    effect = one.paired
    text = f"By pairs, {effect.units[0]:,} keys, every request decided by both schedules: "
    if effect.finding == "too early":
        return [f"{text}too early to say."]
    text += _difference(found, effect.difference)
    text += ": undecided as yet." if effect.finding == "undecided" else "."
    said = [text]
    pairs, apart = effect.pairs_needed, 2 * effect.unpaired_needed
    if pairs and math.isfinite(pairs) and math.isfinite(apart):
        pairs, apart = max(pairs, UNITS_MIN), max(apart, 2 * UNITS_MIN)
        said.append(
            f"An effect of this size shows by about {pairs:,.0f} keys in pairs, or {apart:,.0f} "
            "in two cohorts."
        )
    if found.metric == "right":
        said.append(
            "Pairs hold only where the truth does not depend on the answer given (fraud, digits, "
            "demand), not for clicks on what was shown."
        )
    return said


def _difference(found: Experiment, value: Interval) -> str:
    """Return a difference with its interval, such as "right +1.90 points (+0.50 to +3.30)"."""
    if not found.is_share:
        return f"{found.metric} {value.estimate:+.4g} ({value.low:+.4g} to {value.high:+.4g})"
    points = [100 * end for end in (value.estimate, value.low, value.high)]
    return f"{found.metric} {points[0]:+.2f} points ({points[1]:+.2f} to {points[2]:+.2f})"


def _needed(effect: Effect) -> str:
    needed = effect.unpaired_needed
    if not math.isfinite(needed):
        return ""
    return f"About {max(needed, UNITS_MIN):,.0f} keys in each would show an effect of this size."


def arm_rows(found: Experiment) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of a table of the arms."""
    columns = ["cohort", "planned", "keys", "requests", "measured", found.metric, "default"]
    rows: list[list[Any]] = []
    for arm in found.arms:
        mean = None if arm.mean is None else share(arm.mean) if found.is_share else arm.mean
        default = share(arm.kinds.get("default", 0) / max(1, sum(arm.kinds.values())))
        rows.append(
            [arm.name, share(arm.share), arm.keys, arm.requests, arm.measured, mean, default]
        )
        rows[-1] += [arm.p50_ms, arm.p99_ms]
    return [*columns, "p50 (ms)", "p99 (ms)"], rows


def show(value: Any) -> str:
    """Return a value of `arm_rows` as text."""
    return cell(value)
