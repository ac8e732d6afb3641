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

from rdv.codes import RESULT_CODES
from rdv.console.bounded import Histograms, Key
from rdv.console.console import Console
from rdv.console.gauges import LOST
from rdv.console.totals import REPORTS, SECOND_US, STATES
from rdv.serve.proxy.shared_counts import LATENCY_NS


class ConsoleCollector(Collector):
    """All metrics of one console. The caller holds the console's lock."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        if self._console.is_caught_up:  # else what happened long ago would look like now
            yield from self._decisions()
            yield from self._models()
        yield from self._running()
        yield from self._proxies()
        yield from self._log()
        yield from self._processes()

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
            ("kind", "model", "schedule", "cohort"),
            {("default", "", name, ""): 0 for name in totals.schedules} | dict(totals.decisions),
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
            "rdv_late_answers",
            "Answers later than their deadline: the SLA, or the client's own limit below it.",
            ("schedule",),
            {(name,): 0 for name in totals.schedules}
            | dict.fromkeys(totals.duration.counts, 0)
            | dict(totals.late),
        )  # fmt: skip
        yield self._counter(
            "rdv_decision_reasons", "Answers that are not the preferred one, by why.",
            ("code",), {(code,): 0 for code in RESULT_CODES if code} | dict(totals.reasons),
        )  # fmt: skip
        yield self._counter(
            "rdv_requests",
            "Requests whose time is over: answered, unanswered (some of them answered_late), or "
            "not_recorded (answered by the proxy without a record of the request).",
            ("state",),
            {(state,): 0 for state in STATES}
            | dict(totals.requests),
        )  # fmt: skip
        yield self._counter(
            "rdv_outcomes", "Outcomes that were reported.", (), {(): 0} | dict(totals.outcomes)
        )

    def _models(self) -> Iterator[Metric]:
        totals = self._console.totals
        yield self._counter(
            "rdv_model_reports", "Reports of models on requests; silent: none came in time.",
            ("model", "outcome"), self._from_zero() | dict(totals.reports),
        )  # fmt: skip
        yield self._counter(
            "rdv_model_reports_too_late",
            "Reports that came after the request had been counted, as silent.",
            ("model",), totals.too_late,
        )  # fmt: skip
        yield self._counter(
            "rdv_model_compared", "Requests that both a model and the champion have answered.",
            ("model",), totals.compared,
        )  # fmt: skip
        yield self._counter(
            "rdv_model_agreed", "Requests where a model's answer means the same as the champion's.",
            ("model",), totals.agreed,
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

    def _from_zero(self) -> dict[Key, float]:
        """Return series of all declared models: the first report of a kind must count as one."""
        declared = self._console.decision.scoring_models()
        return {(model, outcome): 0 for model in declared for outcome in REPORTS}

    def _running(self) -> Iterator[Metric]:
        """Yield what models are now."""
        gauges = self._console.gauges
        declared = self._console.decision.scoring_models()
        yield self._gauge(
            "rdv_model_lag_records", "Requests that a model has not read yet.",
            ("model",), {(name,): lag for name, lag in gauges.lags.items() if name in declared},
        )  # fmt: skip
        instances = gauges.instances()
        yield self._gauge(
            "rdv_model_instances", "Workers of a model that are ready.",
            ("model",), {(name,): instances[(name,)] for name in declared},
        )  # fmt: skip
        info = InfoMetricFamily("rdv_model", "Models that run.", labels=("decision", "model"))
        for name, version in sorted(gauges.versions().items()):
            info.add_metric((self._console.name, name), {"version": version})
        yield info

    def _proxies(self) -> Iterator[Metric]:
        """Yield what the proxies count by themselves, which is not in the log."""
        figures = self._console.gauges.proxies
        for key, name, text in (
            ("requests", "requests", "Requests that the proxies got."),
            ("refused", "refused_requests", "Requests that a proxy refused: a 4xx, or a 503."),
            ("http_refusals", "http_refusals", "Requests that were no proper HTTP."),
            ("timeouts", "timeouts", "Requests that came too slowly, or got no answer."),
            ("gone", "gone", "Requests whose clients left before the answer."),
            ("late", "late_answers", "Answers after the SLA, by the proxy's clock."),
            ("backstop", "backstops", "Answers of a proxy itself: no result had come in time."),
            ("connections_opened", "connections_opened", "Connections of clients."),
            ("connections_refused", "connections_refused", "Connections beyond the limits."),
        ):
            yield self._counter(f"rdv_proxy_{name}", text, (), {(): figures.counts[key]})
        yield self._gauge(
            "rdv_in_flight_requests", "Requests that are being decided.",
            (), {(): figures.gauges["in_flight"]},
        )  # fmt: skip
        yield self._gauge(
            "rdv_proxy_connections", "Open connections of clients.",
            (), {(): figures.gauges["connections"]},
        )  # fmt: skip
        family = HistogramMetricFamily(
            "rdv_proxy_duration_seconds",
            "Time from the start of a request to its answer, by the proxy's clock; also of answers "
            "that are not in the log.",
            labels=("decision",),
        )
        buckets, total = [], 0
        for bound, count in zip([*LATENCY_NS, None], figures.latency, strict=True):
            total += count
            buckets.append(("+Inf" if bound is None else _bound(bound / 1e9), total))
        family.add_metric((self._console.name,), buckets, figures.latency_sum_ns / 1e9)
        yield family

    def _processes(self) -> Iterator[Metric]:
        gauges = self._console.gauges
        yield self._gauge(
            "rdv_processes", "Processes by role and state.", ("role", "state"), gauges.states()
        )
        yield self._counter(
            "rdv_process_cpu_seconds", "Time of the processor that processes have used.",
            ("role",), {(role,): spent for role, spent in gauges.cpu.sums.items()},
        )  # fmt: skip
        for key, name, text in (
            ("bytes", "resident_memory_bytes", "Resident memory of the processes of a role."),
            ("files", "open_fds", "Open files of the processes of a role."),
            ("threads", "threads", "Threads of the processes of a role."),
        ):
            values: dict[Key, float] = {(r,): counts[key] for r, counts in gauges.by_role.items()}
            yield self._gauge(f"rdv_process_{name}", text, ("role",), values)

    def _log(self) -> Iterator[Metric]:
        console, gauges = self._console, self._console.gauges
        yield self._gauge(
            "rdv_log_bytes", "Bytes of a stream on the disk.",
            ("stream",), {(name,): size for name, size in gauges.sizes.items()},
        )  # fmt: skip
        yield self._counter(
            "rdv_log_records", "Records that were ever appended to a stream.",
            ("stream",), {(name,): end for name, end in gauges.ends.items()},
        )  # fmt: skip
        lost: dict[Key, float] = {
            (what,): max(gauges.lost.sums.get(name, 0.0), gauges.proxies.counts.get(name, 0))
            for name, what in LOST.items()
        }
        yield self._counter(
            "rdv_log_unlogged", "What could not be written to the log, and is not in it.",
            ("what",), lost,
        )  # fmt: skip
        yield self._gauge(
            "rdv_disk_free_bytes", "Free bytes of the disk that the log is on.",
            (), {(): gauges.disk["free"]} if gauges.disk else {},
        )  # fmt: skip
        yield self._gauge(
            "rdv_disk_bytes", "All bytes of the disk that the log is on.",
            (), {(): gauges.disk["all"]} if gauges.disk else {},
        )  # fmt: skip
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
