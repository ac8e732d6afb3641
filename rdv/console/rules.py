"""Recording and alerting rules for Prometheus, made from a decision's settings. Pure.

The error budget is spent by default answers, and by answers later than the SLA. Alerts on it follow
the multi-window burn rates of Google's SRE workbook.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from rdv.decision import Decision

TARGET = 0.999
"""The share of answers that should be good, where none is given."""

FEW = 100
"""With this many answers in the long window, or fewer, a share of them says too little."""

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Burn:
    """A rate of spending the budget of 30 days that is worth an alert."""

    factor: float
    long: str
    short: str
    wait: str
    severity: str


BURNS = (
    Burn(14.4, "1h", "5m", "2m", "page"),
    Burn(6, "6h", "30m", "15m", "page"),
    Burn(1, "3d", "6h", "1h", "ticket"),
)


@dataclass(frozen=True)
class Rule:
    """A recording rule (`record`) or an alert (`alert`)."""

    expr: str
    record: str = ""
    alert: str = ""
    wait: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    description: str = ""


def rules_text(decision: Decision, target: float = TARGET) -> str:
    """Return the rules file (YAML) of a decision.

    `target` is the share of answers that should be good, below 1.
    """
    name = decision.name
    groups = {
        f"rdv-{name}-slo": [*_recorded(name), *_burns(name, target)],
        f"rdv-{name}-models": list(_models(decision)),
        f"rdv-{name}-running": list(_running(name)),
    }
    head = (
        f"# Rules of the decision {name}, made by `rdv metrics rules`. Make them again when the\n"
        f"# models change. The target is {100 * target:g} % good answers.\n"
    )
    return head + "groups:\n" + "".join(_group(key, rules) for key, rules in groups.items())


def _recorded(name: str) -> Iterator[Rule]:
    one = f"decision={_quoted(name)}"
    # Answers that take all of the SLA are late by the time that it takes to give up.
    for window in WINDOWS:
        every = f"sum by (decision) (rate(rdv_decisions_total{{{one}}}[{window}]))"
        default = f'sum by (decision) (rate(rdv_decisions_total{{{one},kind="default"}}[{window}]))'
        yield Rule(f"({default} or 0 * {every}) / {every}", f"rdv:defaults:ratio_rate{window}")
        counted = (
            f"sum by (decision) (rate(rdv_decision_duration_seconds_count{{{one}}}[{window}]))"
        )
        late = f"sum by (decision) (rate(rdv_late_answers_total{{{one}}}[{window}]))"
        yield Rule(f"{late} / {counted}", f"rdv:late:ratio_rate{window}")


def _burns(name: str, target: float) -> Iterator[Rule]:
    budget = 1 - target
    for kind, alert, what in (
        ("defaults", "RdvErrorBudgetBurn", "default answers"),
        ("late", "RdvLatencyBudgetBurn", "answers later than the SLA"),
    ):
        for burn in BURNS:
            limit = f"{burn.factor * budget:.6g}"
            parts = [
                f"rdv:{kind}:ratio_rate{window}{{decision={_quoted(name)}}} > {limit}"
                for window in (burn.long, burn.short)
            ]
            answers = f"rdv_decisions_total{{decision={_quoted(name)}}}[{burn.long}]"
            parts.append(f"sum by (decision) (increase({answers})) > {FEW}")
            yield Rule(
                "\nand\n".join(parts),
                alert=alert,
                wait=burn.wait,
                labels={"severity": burn.severity, "burn": f"{burn.factor:g}"},
                summary=f"{name} spends its error budget {burn.factor:g} times too fast: {what}",
                description=f"{{{{ $value | humanizePercentage }}}} of the answers of the last "
                f"{burn.long} were {what}. Look at the console, and at rdv status.",
            )


def _models(decision: Decision) -> Iterator[Rule]:
    one = f"decision={_quoted(decision.name)}"

    def rate(outcomes: str, window: str) -> str:
        selected = f'{{{one},outcome=~"{outcomes}"}}'
        return f"sum by (decision, model) (rate(rdv_model_reports_total{selected}[{window}]))"

    asked = rate("result|behind|expired|error|bad_input|unavailable|silent", "5m")
    yield _alert(
        f'{rate("silent", "5m")} / {asked} > 0.99', "RdvModelSilent", "5m", "page",
        "{{ $labels.model }} does not report on requests of {{ $labels.decision }}",
        "It is down, or hangs. See rdv status, and the log of rdv serve.",
    )  # fmt: skip
    yield _alert(
        f'{rate("behind|expired", "5m")} / {asked} > 0.5', "RdvModelBehind", "10m", "ticket",
        "{{ $labels.model }} is too slow for the load of {{ $labels.decision }}",
        "It refuses {{ $value | humanizePercentage }} of the requests because it could not answer "
        "them in time. Give it more instances, or a cheaper model.",
    )  # fmt: skip
    yield _alert(
        f'{rate("error|bad_input|unavailable", "5m")} / {asked} > 0.05', "RdvModelFailing", "10m",
        "ticket", "{{ $labels.model }} fails on requests of {{ $labels.decision }}",
        "{{ $value | humanizePercentage }} of its reports are errors. See rdv errors.",
    )  # fmt: skip
    awake = [
        name for name, model in decision.models.items()
        if model.scores and not model.retired and model.range[0] > 0
    ]  # fmt: skip
    if awake:
        models = "|".join(awake).replace(".", "[.]")
        yield _alert(
            f'rdv_model_instances{{{one},model=~"{models}"}} == 0', "RdvModelDown", "5m", "page",
            "{{ $labels.model }} of {{ $labels.decision }} does not run", "See rdv status.",
        )  # fmt: skip
    for name, model in decision.models.items():
        if model.builtin == "canary" and not model.retired:
            yield from _canary(decision.name, name)


def _canary(decision: str, name: str) -> Iterator[Rule]:
    labels = f"{{decision={_quoted(decision)},model={_quoted(name)}}}"
    count = f"sum by (decision, model) (increase(rdv_model_compared_total{labels}[1h]))"

    def agreement(window: str) -> str:
        agreed, compared = (
            f"sum by (decision, model) (rate(rdv_model_{what}_total{labels}[{window}]))"
            for what in ("agreed", "compared")
        )
        return f"{agreed} / {compared}"

    yield _alert(
        f"({agreement('1d')}) - ({agreement('1h')}) > 0.05\nand\n{count} > {FEW}",
        "RdvCanaryDisagrees", "30m", "ticket",
        "The champion of {{ $labels.decision }} agrees less with its canary {{ $labels.model }}",
        "In the last hour by {{ $value | humanizePercentage }} less than in the last day. The "
        "canary never changes: the input or the champion has. See rdv compare.",
    )  # fmt: skip


def _running(name: str) -> Iterator[Rule]:
    one = f"decision={_quoted(name)}"
    written = f'{one},what!="too_large"'  # that is the fault of one request, not of the log
    yield _alert(
        f"rdv:defaults:ratio_rate5m{{{one}}} > 0.05", "RdvDefaultShare", "5m", "page",
        "{{ $value | humanizePercentage }} of the answers of {{ $labels.decision }} are defaults",
        "The rules give it where no model has answered in time. rdv status says why.",
    )  # fmt: skip
    yield _alert(
        f"sum by (decision, what) (increase(rdv_log_unlogged_total{{{written}}}[10m])) > 0",
        "RdvUnlogged", "0m", "page", "{{ $labels.decision }} cannot log its {{ $labels.what }}",
        "The log cannot be written: is the disk full? Models are not asked about what is not "
        "logged.",
    )  # fmt: skip
    free = f"rdv_disk_free_bytes{{{one}}} / rdv_disk_bytes{{{one}}}"
    yield _alert(
        f"{free} < 0.05", "RdvDiskFull", "5m", "page",
        "The disk of {{ $labels.decision }} has {{ $value | humanizePercentage }} left",
        "On a full disk every answer is the default. Lower log.retention_ms, or add space.",
    )  # fmt: skip
    yield _alert(
        f"{free} < 0.3\nand\npredict_linear(rdv_disk_free_bytes{{{one}}}[6h], 86400) < 0",
        "RdvDiskFilling", "1h", "ticket",
        "The disk of {{ $labels.decision }} will be full within a day",
        "{{ $value | humanizePercentage }} is left.",
    )  # fmt: skip
    yield _alert(
        f"rdv_console_lag_seconds{{{one}}} > 60 or rdv_console_lag_seconds{{{one}}} < 0",
        "RdvConsoleBehind", "10m", "ticket",
        "The metrics of {{ $labels.decision }} are {{ $value | humanizeDuration }} old",
        "The console cannot read the log (its page and its log say why; a negative age: it never "
        "could), or the machine is saturated: it runs when nothing else needs the processor.",
    )  # fmt: skip
    yield _alert(
        f"absent(rdv_console_lag_seconds{{{one}}})", "RdvConsoleGone", "5m", "page",
        f"{name} is not scraped", "Is rdv serve running, and its console reachable?",
    )  # fmt: skip


def _alert(expr: str, alert: str, wait: str, severity: str, summary: str, description: str) -> Rule:
    return Rule(expr, "", alert, wait, {"severity": severity}, summary, description)


def _quoted(text: str) -> str:
    """Return the text as a string of PromQL."""
    return json.dumps(text, ensure_ascii=False)


def _group(name: str, rules: list[Rule]) -> str:
    return f"  - name: {json.dumps(name)}\n    rules:\n" + "".join(map(_rule, rules))


def _rule(rule: Rule) -> str:
    """Return a rule as YAML: strings in JSON's form, expressions as blocks."""
    head = f"record: {rule.record}" if rule.record else f"alert: {rule.alert}"
    lines = [f"- {head}", "  expr: |-", *(f"    {line}" for line in rule.expr.splitlines())]
    if rule.wait and rule.wait != "0m":
        lines.append(f"  for: {rule.wait}")
    for key, values in (
        ("labels", rule.labels),
        ("annotations", {"summary": rule.summary, "description": rule.description}),
    ):
        found = {name: value for name, value in values.items() if value}
        if found:
            lines.append(f"  {key}:")
            lines += [
                f"    {name}: {json.dumps(text, ensure_ascii=False)}"
                for name, text in found.items()
            ]
    return "".join(f"      {line}\n" for line in lines)
