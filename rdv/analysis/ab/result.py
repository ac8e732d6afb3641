"""What an experiment has shown: figures, sentences, and values for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rdv.analysis.charts import number, share, signed
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.statistics import Effect, Interval, SampleRatio, plain
from rdv.analysis.statistics.ab.effect import UNITS_MIN

_DEPENDS = (
    "The outcomes themselves differ between the cohorts, or are known more often in one: they "
    "depend on the answers that were given. So no pairs are formed; use the effect by cohorts."
)


@dataclass(frozen=True)
class ArmFigures:
    """The figures of one arm. `mean` is over `measured` requests; None if there are none.

    Of a metric that is no mean, it is the metric's value of these requests.
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
    interval: Interval | None = None
    """Of a metric that is no mean: the interval of its value, for all looks together."""


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
    """The whole experiment. `comparisons` are of each arm except the control, the first arm."""

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
    is_judged: bool = False
    """Whether the metric is of answers that are held against outcomes."""
    versions: dict[str, dict[str, int]] = field(default_factory=dict)
    """By arm, the versions of its schedule that pairs were decided by, with their requests."""
    versionless: int = 0
    """The number of requests of whose time some schedule is not recorded any more: not paired."""
    not_recorded: tuple[str, ...] = ()
    """Arms whose schedules are not recorded: pairs were decided by the files of today."""
    reading: str = ""
    """How answers are judged by outcomes, in words; empty if the metric does not need it."""
    looks: int | None = None
    """For how many looks the intervals hold; None: for any number (metrics that are means)."""

    def sentences(self) -> list[str]:
        """Return the findings as sentences, in the order of their reliability."""
        found = [_split(self), *_values(self)]
        for one in self.comparisons:
            found += [_by_cohorts(self, one), *_by_pairs(self, one)]
        if self.is_judged and any(_is_paired(self, one) for one in self.comparisons):
            found.append(
                "Pairs hold only where the truth does not depend on the answer given (fraud, "
                "digits, demand), not for clicks on what was shown."
            )
        return found

    def caveats(self) -> list[str]:
        """Return what limits the exactness of the figures."""
        found = []
        if self.in_force_ns is not None and self.in_force_ns == self.since_ns:
            begun = datetime.fromtimestamp(self.in_force_ns / 1e9, UTC)
            found.append(
                f"counted since {begun:%Y-%m-%d %H:%M:%S} UTC, when the cohorts became what they "
                "are now"
            )
        if self.moved_keys:
            found.append(
                f"{self.moved_keys:,} keys were in more than one cohort: shares or salt have "
                "changed; use the time since then (--since)"
            )
        if self.left_out:
            found.append(
                f"{self.left_out:,} requests are in no cohort: without a key, or with a schedule "
                "of their own"
            )
        if self.unpaired:
            found.append(f"{self.unpaired:,} requests were not scored by every model: not paired")
        if self.versionless:
            found.append(
                f"{self.versionless:,} requests are not paired: a schedule of their time is not "
                "recorded any more"
            )
        if self.versions and any(one.paired is not None for one in self.comparisons):
            found.append(_versions(self))
        if self.reading:
            found.append(self.reading)
        if self.looks is not None:
            found.append(
                f"{self.metric} is no mean over requests, so that no interval holds at all looks: "
                f"the level is spread over {self.looks} looks, of which each run of rdv ab is one "
                "(looks in [gate], or --looks; declare it before the first)"
            )
        return found + self.notes.lines()

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
            "looks": self.looks,
            "versions": self.versions,
            "since_ns": self.since_ns,
            "in_force_since_ns": self.in_force_ns,
            "sentences": self.sentences(),
            "caveats": self.caveats(),
            "notes": plain(self.notes),
        }


def _versions(found: Experiment) -> str:
    """Return which versions of the schedules the pairs compare, in words."""
    parts = []
    for arm, used in found.versions.items():
        counts = (f"{label} ({count:,} requests)" for label, count in used.items())
        rest = ", as the file is now: none is recorded" if arm in found.not_recorded else ""
        parts.append(f"{arm} {', then '.join(counts)}{rest}")
    text = f"pairs are decided by the schedules in force at the time: {'; '.join(parts)}"
    if any(len(used) > 1 for used in found.versions.values()):
        text += "; the effect is that of all of them: for one version use --since and --until"
    return text


def _split(found: Experiment) -> str:
    arms = ", ".join(f"{arm.name} {arm.keys:,} ({share(arm.share)} planned)" for arm in found.arms)
    if found.ratio.mismatch:
        return (
            f"The split is not as planned: keys by cohort are {arms}. Do not trust any effect "
            "until it is known what drops or redirects the keys of a cohort."
        )
    return f"The split is as planned: keys by cohort are {arms}."


def _by_cohorts(found: Experiment, one: Comparison) -> str:
    against = f"{one.treatment} compared with {one.control}"
    effect = one.effect
    if effect is None:
        return f"{against}: too few keys with a value of {found.metric!r}."
    if effect.finding == "too early":
        return f"{against}: too early for a finding{_why(effect)}."
    text = f"{against}: {difference(found, effect.difference)}"
    if effect.finding == "undecided":
        return f"{text}: not decided yet.{_needed(effect)}"
    if found.looks is not None:
        return f"{text}. This interval {_holds(found.looks)}."
    return f"{text}. This interval may be looked at any time."


def _holds(count: int) -> str:
    return f"holds for up to {count:,} looks" if count > 1 else "holds for one look"


def _values(found: Experiment) -> list[str]:
    """Return the value of each arm with its interval, of a metric that is no mean."""
    if found.looks is None:
        return []
    texts = []
    for arm in found.arms:
        if arm.mean is None:
            texts.append(f"{arm.name} has no value")
            continue
        texts.append(f"{arm.name} {_value(found, arm.mean)}")
        if arm.interval is not None:
            low, high = (_value(found, end) for end in (arm.interval.low, arm.interval.high))
            texts[-1] += f" ({low} to {high})"
    return [f"{found.metric} by cohort: {', '.join(texts)}; {_holds(found.looks)}."]


def _value(found: Experiment, value: float) -> str:
    return share(value) if found.is_share else number(value)


def _why(effect: Effect) -> str:
    return f": {effect.why_early}" if effect.why_early else ""


def _is_paired(found: Experiment, one: Comparison) -> bool:
    return not (found.depends or one.depends or one.paired is None)


def _by_pairs(found: Experiment, one: Comparison) -> list[str]:
    if found.depends:
        return ["Not paired: outcomes depend on the answer that was given."]
    if one.depends:
        return [_DEPENDS]
    if one.paired is None:
        return []
    effect = one.paired
    text = f"By pairs ({effect.units[0]:,} keys, every request decided by both schedules): "
    if effect.finding == "too early":
        return [f"{text}too early for a finding{_why(effect)}."]
    text += difference(found, effect.difference)
    text += ": not decided yet." if effect.finding == "undecided" else "."
    if found.looks is not None:
        text += f" It {_holds(found.looks)}."
    pairs, apart = effect.pairs_needed, 2 * effect.unpaired_needed
    if pairs and math.isfinite(pairs) and math.isfinite(apart):
        pairs, apart = max(pairs, UNITS_MIN), max(apart, 2 * UNITS_MIN)
        text += (
            f" An effect of this size needs about {pairs:,.0f} keys in pairs, or {apart:,.0f} in "
            "two cohorts."
        )
    return [text]


def difference(found: Experiment, value: Interval) -> str:
    """Return a difference with its interval, such as "right +1.9 points (+0.5 to +3.3)"."""
    if found.is_share:
        return f"{found.metric} {signed(value, scale=100, unit='points')}"
    return f"{found.metric} {signed(value)}"


def _needed(effect: Effect) -> str:
    needed = effect.unpaired_needed
    if not math.isfinite(needed):
        return ""
    return f" An effect of this size needs about {max(needed, UNITS_MIN):,.0f} keys in each."


def arm_rows(found: Experiment) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows) of a table of the arms."""
    metric = "waited (ms)" if found.metric == "waited_ms" else found.metric
    columns = ["cohort", "planned", "keys", "requests", "measured", metric, "default"]
    rows: list[list[Any]] = []
    for arm in found.arms:
        mean = None if arm.mean is None else share(arm.mean) if found.is_share else arm.mean
        default = share(arm.kinds.get("default", 0) / max(1, sum(arm.kinds.values())))
        rows.append(
            [arm.name, share(arm.share), arm.keys, arm.requests, arm.measured, mean, default]
        )
        rows[-1] += [arm.p50_ms, arm.p99_ms]
    return [*columns, "p50 (ms)", "p99 (ms)"], rows
