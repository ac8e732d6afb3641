"""Makes the metrics of a console from its totals, each time that they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from rdv.console.bounded import Histograms, Key
from rdv.console.console import Console
from rdv.console.totals import SECOND_US


class ConsoleCollector(Collector):
    """All metrics of one console. The caller holds the console's lock."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        yield from self._decisions()
        yield from self._models()
        yield from self._log()

    def describe(self) -> Iterable[Metric]:
        return []

    def _counter(
        self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Key, float]
    ) -> Metric:
        family = CounterMetricFamily(name, text, labels=("decision", *labels))
        for key, value in sorted(values.items()):
            family.add_metric((self._console.name, *key), value)
        return family

    def _gauge(
        self, name: str, text: str, labels: tuple[str, ...], values: Mapping[Key, float]
    ) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("decision", *labels))
        for key, value in sorted(values.items()):
            family.add_metric((self._console.name, *key), value)
        return family

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], found: Histograms, unit: int
    ) -> Metric:
        family = HistogramMetricFamily(name, text, labels=("decision", *labels))
        for key in sorted(found.counts):
            buckets = [
                ("+Inf" if bound is None else _bound(bound / unit), count)
                for bound, count in found.cumulative(key)
            ]
            family.add_metric((self._console.name, *key), buckets, found.sums[key] / unit)
        return family

    def _decisions(self) -> Iterator[Metric]:
        totals = self._console.totals
        yield self._counter(
            "rdv_decisions", "Answers that clients received.",
            ("kind", "model", "schedule", "cohort"), totals.decisions,
        )  # fmt: skip
        yield self._histogram(
            "rdv_decision_duration_seconds",
            "Time from the start of a request to its decision, with a bucket at the end of each "
            "step and at the SLA.",
            ("schedule",), totals.duration, SECOND_US,
        )  # fmt: skip
        yield self._counter(
            "rdv_sla_misses", "Answers later than their deadline by more than 10 ms.",
            ("schedule",),
            {(name,): 0 for name in totals.schedules} | dict(totals.misses),
        )  # fmt: skip
        yield self._counter(
            "rdv_decision_reasons", "Answers that are not the preferred one, by why.",
            ("code",), totals.reasons,
        )  # fmt: skip
        yield self._counter(
            "rdv_requests",
            "Requests whose time is over: answered, unanswered, or not_recorded (answered by the "
            "proxy without a record of the request).",
            ("state",),
            {(state,): 0 for state in ("answered", "unanswered", "not_recorded")}
            | dict(totals.requests),
        )  # fmt: skip
        yield self._counter(
            "rdv_outcomes", "Outcomes that were reported.", (), {(): 0} | dict(totals.outcomes)
        )

    def _models(self) -> Iterator[Metric]:
        totals = self._console.totals
        yield self._counter(
            "rdv_model_reports", "Reports of models on requests; silent: none came in time.",
            ("model", "outcome"), totals.reports,
        )  # fmt: skip
        yield self._counter(
            "rdv_model_reports_too_late",
            "Reports that came after the request had been counted, as silent.",
            ("model",), totals.too_late,
        )  # fmt: skip
        for name, text, found, unit in (
            ("arrival_seconds", "Time from the start of a request to a model's report.",
             totals.arrival, SECOND_US),
            ("queue_seconds", "Time from the append of a request to the start of its evaluation.",
             totals.queue, SECOND_US),
            ("evaluation_seconds", "Duration of the evaluation of a request's batch.",
             totals.evaluation, SECOND_US),
            ("batch_size", "Requests that were evaluated together.", totals.batch, 1),
        ):  # fmt: skip
            yield self._histogram(f"rdv_model_{name}", text, ("model",), found, unit)

    def _log(self) -> Iterator[Metric]:
        console = self._console
        yield self._gauge(
            "rdv_console_lag_seconds", "How far behind the log these metrics are.",
            (), {(): round(console.lag_s, 3)},
        )  # fmt: skip
        yield self._gauge(
            "rdv_open_requests", "Requests that are not counted yet: their time is not over.",
            (), {(): console.follower.open_count},
        )  # fmt: skip
        yield self._gauge(
            "rdv_schedule_sla_seconds", "The SLA of a schedule.",
            ("schedule",), {(s.name,): s.sla_ms / 1000 for s in console.totals.schedules.values()},
        )  # fmt: skip
        info = InfoMetricFamily(
            "rdv_schedule", "The schedules in force.", labels=("decision", "schedule")
        )
        for one in console.totals.schedules.values():
            live = "true" if one.live else "false"
            info.add_metric((console.name, one.name), {"hash": one.hash, "live": live})
        yield info


def _bound(value: float) -> str:
    """Return a bucket's bound as Prometheus writes it: never in another way, or it is another."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text
