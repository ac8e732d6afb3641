"""Dashboards for Grafana: of one decision, and across decisions. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from rdv.rendezvous.schedule import Schedule

SCHEMA_VERSION = 38
"""Of Grafana 9.4 and later; newer ones convert it."""

UID_MAX = 40
COLUMNS, WIDTH, HEIGHT = 24, 12, 8
_ONE = 'decision="$decision"'
_RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A panel: queries with their legends, and the unit of the values."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    stacks: bool = False
    about: str = ""


def one_decision(name: str, schedule: Schedule) -> dict[str, Any]:
    """Return the dashboard of a decision; others can be chosen on it."""
    return _dashboard(f"rdv: {name}", _uid(name), list(_panels(schedule)), decision=name)


def _uid(name: str) -> str:
    """Return an identifier of at most 40 characters, as Grafana wants it; names may be longer."""
    uid = f"rdv-decision-{name}"
    if len(uid) <= UID_MAX:
        return uid
    return f"rdv-decision-{hashlib.sha256(name.encode()).hexdigest()[:20]}"


def across_decisions() -> dict[str, Any]:
    """Return the dashboard of all decisions together."""
    default = f'sum by (decision) (rate(rdv_decisions_total{{kind="default"}}{_RATE}))'
    every = f"sum by (decision) (rate(rdv_decisions_total{_RATE}))"
    reports = 'rdv_model_reports_total{outcome="silent"}'
    silent = f"sum by (decision, model) (rate({reports}{_RATE}))"
    panels = [
        Panel("Answers", ((every, "{{decision}}"),), "reqps"),
        Panel(
            "Share of default answers",
            ((f"({default} or 0 * {every}) / {every}", "{{decision}}"),), "percentunit",
        ),
        Panel("99 % of the decisions are quicker", ((_quantile(0.99, "", "decision"),
              "{{decision}}"),), "s"),
        Panel(
            "Later than the SLA",
            ((f"sum by (decision) (rate(rdv_sla_misses_total{_RATE}))", "{{decision}}"),), "reqps",
        ),
        Panel("In flight", (("sum by (decision) (rdv_in_flight_requests)", "{{decision}}"),)),
        Panel("Silent models", ((silent, "{{decision}} {{model}}"),), "reqps"),
        Panel("Log", (("sum by (decision) (rdv_log_bytes)", "{{decision}}"),), "bytes"),
        Panel(
            "Not logged",
            ((f"sum by (decision) (rate(rdv_log_unlogged_total{_RATE}))", "{{decision}}"),),
        ),
        Panel("Lag of the metrics", (("rdv_console_lag_seconds", "{{decision}}"),), "s"),
    ]  # fmt: skip
    return _dashboard("rdv: all decisions", "rdv-decisions", panels)


def _quantile(share: float, selected: str, *by: str) -> str:
    labels = ", ".join((*by, "le"))
    buckets = f"rdv_decision_duration_seconds_bucket{selected}{_RATE}"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({buckets})))"


def _panels(schedule: Schedule) -> list[Panel]:
    one = f"{{{_ONE}}}"
    default = f'sum(rate(rdv_decisions_total{{{_ONE},kind="default"}}{_RATE}))'
    every = f"sum(rate(rdv_decisions_total{one}{_RATE}))"
    latency = tuple((_quantile(share, one), f"{100 * share:g} %") for share in (0.5, 0.95, 0.99))
    steps = tuple(
        (f"vector({end_ms / 1000:g})", f"end of step {number}")
        for number, end_ms in enumerate(schedule.ends_ms(), 1)
    )
    per_model = "sum by (model, {}) (rate({}{}))"
    reports = per_model.format("outcome", f"rdv_model_reports_total{one}", _RATE)
    return [
        Panel(
            "Answers by kind",
            ((f"sum by (kind) (rate(rdv_decisions_total{one}{_RATE}))", "{{kind}}"),),
            "reqps", stacks=True,
        ),
        Panel(
            "Answers by model",
            ((f"sum by (model) (rate(rdv_decisions_total{one}{_RATE}))", "{{model}}"),),
            "reqps", stacks=True,
        ),
        Panel("Time to the decision", latency + steps, "s",
              about="With the ends of the schedule's steps; the last one is the SLA."),
        Panel(
            "Share of default answers", ((f"{default} / {every}", "default"),),
            "percentunit",
        ),
        Panel(
            "Why it was not the preferred answer",
            ((f"sum by (code) (rate(rdv_decision_reasons_total{one}{_RATE}))", "{{code}}"),),
            "reqps", stacks=True,
        ),
        Panel(
            "Later than the SLA + 10 ms",
            ((f"sum(rate(rdv_sla_misses_total{one}{_RATE}))", "misses"),), "reqps",
        ),
        Panel("Reports of models", ((reports, "{{model}} {{outcome}}"),), "reqps"),
        _quantile_panel("99 % of the reports arrive within", "arrival", one),
        _quantile_panel("99 % wait in the queue for", "queue", one),
        _quantile_panel("99 % of the evaluations take", "evaluation", one),
        Panel(
            "Batch size",
            (((f"sum by (model) (rate(rdv_model_batch_size_sum{one}{_RATE})) / "
              f"sum by (model) (rate(rdv_model_batch_size_count{one}{_RATE}))"), "{{model}}"),),
        ),
        Panel("Requests that a model has not read",
              ((f"rdv_model_lag_records{one}", "{{model}}"),)),
        Panel(
            "Agreement with the champion",
            (((f"sum by (model) (rate(rdv_model_agreed_total{one}{_RATE})) / "
              f"sum by (model) (rate(rdv_model_compared_total{one}{_RATE}))"), "{{model}}"),),
            "percentunit",
        ),
        Panel("Workers", ((f"rdv_model_instances{one}", "{{model}}"),)),
        Panel(
            "Clients' latency, by the proxies",
            tuple(
                ((f"histogram_quantile({share}, sum by (le) "
                 f"(rate(rdv_proxy_duration_seconds_bucket{one}{_RATE})))"), f"{100 * share:g} %")
                for share in (0.5, 0.99)
            ),
            "s",
        ),
        Panel(
            "Refused by the proxies",
            ((f"sum(rate(rdv_proxy_refused_requests_total{one}{_RATE}))", "requests"),
             (f"sum(rate(rdv_proxy_connections_refused_total{one}{_RATE}))", "connections"),
             (f"sum(rate(rdv_proxy_http_refusals_total{one}{_RATE}))", "not HTTP")),
            "reqps",
        ),
        Panel("In flight", ((f"rdv_in_flight_requests{one}", "requests"),
                            (f"rdv_proxy_connections{one}", "connections"))),
        Panel(
            "Processor", ((f"sum by (role) (rate(rdv_process_cpu_seconds_total{one}{_RATE}))",
                           "{{role}}"),), "percentunit", stacks=True,
        ),
        Panel("Memory", ((f"rdv_process_resident_memory_bytes{one}", "{{role}}"),), "bytes",
              stacks=True),
        Panel("Log", ((f"rdv_log_bytes{one}", "{{stream}}"),), "bytes", stacks=True),
        Panel("Disk", ((f"rdv_disk_free_bytes{one}", "free"),), "bytes"),
        Panel(
            "Not logged",
            ((f"sum by (what) (rate(rdv_log_unlogged_total{one}{_RATE}))", "{{what}}"),),
        ),
        Panel("Lag of the metrics", ((f"rdv_console_lag_seconds{one}", "lag"),), "s"),
    ]  # fmt: skip


def _quantile_panel(title: str, what: str, selected: str) -> Panel:
    buckets = f"rdv_model_{what}_seconds_bucket{selected}{_RATE}"
    query = f"histogram_quantile(0.99, sum by (model, le) (rate({buckets})))"
    return Panel(title, ((query, "{{model}}"),), "s")


def _dashboard(
    title: str, uid: str, panels: list[Panel], decision: str | None = None
) -> dict[str, Any]:
    variables: list[dict[str, Any]] = [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    ]
    if decision is not None:
        variables.append(
            {
                "name": "decision",
                "label": "Decision",
                "type": "query",
                "datasource": _SOURCE,
                "query": "label_values(rdv_console_lag_seconds, decision)",
                "refresh": 2,
                "current": {"text": decision, "value": decision},
            }
        )
    return {
        "title": title,
        "uid": uid,
        "tags": ["rdv"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    custom: dict[str, Any] = {"fillOpacity": 10}
    if panel.stacks:
        custom = {"fillOpacity": 40, "stacking": {"mode": "normal"}}
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": {
            "x": number * WIDTH % COLUMNS,
            "y": number * WIDTH // COLUMNS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "custom": custom},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "expr": expr,
                "legendFormat": legend,
                "datasource": _SOURCE,
            }
            for at, (expr, legend) in enumerate(panel.queries)
        ],
    }
