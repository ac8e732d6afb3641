"""What each model is worth: figures, tables and sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rdv.analysis.charts import share, signed
from rdv.analysis.measure.sides import Measured, Unmeasured
from rdv.analysis.metrics import Metric
from rdv.analysis.statistics import Interval, plain
from rdv.analysis.worth.advice import Advice, Facts
from rdv.analysis.worth.time_used import TimeUsed
from rdv.rendezvous.schedule import Schedule

MEASURED = (
    "time is what the scores record: how long the evaluation of a batch took in its worker, over "
    "the size of the batch; that is CPU time for a model that computes on one thread"
)


@dataclass(frozen=True)
class ModelWorth:
    """One model. Counts and shares are of the recorded requests."""

    name: str
    used: TimeUsed
    answered: int
    """Requests that it answered, alone or combined with others."""
    rescued: int
    """Requests that it answered as a fallback, the champion being late or failing."""
    rescued_share: Measured | Unmeasured
    right_where_wrong: Measured | Unmeasured
    """How often it is right where the champion is wrong, of the requests that both answered."""
    judged: int
    """Requests with a known outcome that it and the champion have answered."""
    wrong: int
    """Of those, requests where the champion is wrong."""
    facts: Facts
    advice: Advice | None
    """None for the champion."""


@dataclass(frozen=True)
class Worth:
    """All models, in the mix that the schedule makes of them."""

    schedule: Schedule
    champion: str | None
    metric: Metric
    quality: Measured | Unmeasured
    """The metric of the mix."""
    requests: int
    known: int
    """Requests whose outcome is known."""
    seconds: float
    """From the first request to the last."""
    models: tuple[ModelWorth, ...]
    reading: str = ""
    notes: tuple[str, ...] = ()

    def cores(self, one: ModelWorth) -> float:
        """Return how many cores a model has used on average."""
        return one.used.evaluation_ms / 1000 / self.seconds

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows) of what each model costs and does."""
        columns = [
            "model", "ms/request", "cores", "answered", "rescued", "right where champion wrong",
            "default without it", f"{self.metric.title} without it",
        ]  # fmt: skip
        rows = [
            [
                one.name + (" (champion)" if one.name == self.champion else ""),
                one.used.per_request_ms,
                round(self.cores(one), 4),
                share(one.answered / max(1, self.requests)),
                _share(one.rescued_share),
                _share(one.right_where_wrong),
                _points(one.facts.defaults_without),
                self._loss(one.facts.gain_of_mix),
            ]
            for one in self.models
        ]
        return columns, rows

    def _loss(self, gain: Measured | Unmeasured) -> Any:
        """Return how the metric of the mix changes without the model."""
        if isinstance(gain, Unmeasured):
            return None
        sign = -1 if self.metric.higher_is_better else 1
        scale = 100 * sign if self.metric.unit == "%" else sign
        unit = "points" if self.metric.unit == "%" else ""
        return _change(gain, scale, unit)

    def sentences(self) -> list[str]:
        """Return the advice, one sentence for each model but the champion."""
        return [one.advice.text for one in self.models if one.advice is not None]

    def caveats(self) -> list[str]:
        """Return what the figures are, and what limits them."""
        known = f"outcomes are known for {self.known:,} of {self.requests:,} requests"
        if isinstance(self.quality, Unmeasured):
            known += f"; nothing can be said about quality: {self.quality.reason}"
        found = [MEASURED, known]
        for one in self.models:
            versions = one.used.versions or {}
            if len(versions) > 1:
                found.append(
                    f"{one.name} has answered in {len(versions)} versions, which count together; "
                    "--since leaves out the earlier ones"
                )
            if one.name != self.champion and self.champion is not None and one.judged:
                found.append(
                    f"{one.name} and {self.champion} both answered {one.judged:,} requests with a "
                    f"known outcome; {self.champion} is wrong in {one.wrong:,} of these"
                )
        return [*found, *([self.reading] if self.reading else []), *self.notes]

    def as_json(self) -> list[dict[str, Any]]:
        """Return one object for each model."""
        return [
            {
                "model": one.name,
                "is_champion": one.name == self.champion,
                "schedule": self.schedule.label,
                "requests": self.requests,
                "outcomes_known": self.known,
                "evaluated": one.used.evaluated,
                "evaluation_ms_per_request": one.used.per_request_ms,
                "evaluation_s": one.used.evaluation_ms / 1000,
                "cores": self.cores(one),
                "refused": one.used.refused,
                "errors": one.used.errors,
                "versions": one.used.versions,
                "answered": one.answered,
                "rescued": one.rescued,
                "rescued_share": plain(one.rescued_share),
                "judged_with_champion": one.judged,
                "champion_wrong": one.wrong,
                "right_where_champion_wrong": plain(one.right_where_wrong),
                "defaults_without": plain(one.facts.defaults_without),
                "metric": self.metric.name,
                "quality_of_mix": plain(self.quality),
                "gain_of_mix": plain(one.facts.gain_of_mix),
                "gain_on_champion": plain(one.facts.gain_on_champion),
                "advice": None if one.advice is None else plain(one.advice),
                "caveats": self.caveats(),
            }
            for one in self.models
        ]


def _share(one: Measured | Unmeasured) -> Any:
    if isinstance(one, Unmeasured):
        return None
    return share(one.value if one.interval is None else one.interval)


def _points(one: Measured | Unmeasured) -> Any:
    return None if isinstance(one, Unmeasured) else _change(one, 100, "points")


def _change(one: Measured, scale: float, unit: str) -> Any:
    """Return a difference with its interval; without one where nothing differs."""
    found = one.interval
    if found is None or found.low == found.high:
        return signed(one.value * scale, unit=unit)
    if scale < 0:
        found = Interval(-found.estimate, -found.high, -found.low, found.confidence, found.method)
        scale = -scale
    return signed(found, scale=scale, unit=unit)
