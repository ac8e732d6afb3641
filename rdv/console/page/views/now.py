"""Now: how the decision does at this moment and did in the last hour, and what is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rdv.analysis.charts import Axis, Chart, Figure, Report, Rule, number, share
from rdv.analysis.charts.chart import Line, Mark, column
from rdv.analysis.charts.kinds import ANSWER_KINDS, KIND_COLOURS
from rdv.analysis.charts.markup import Markup, tag
from rdv.console.console import Console
from rdv.console.page import parts
from rdv.console.recent import STEP_S, Bucket, latency_quantile_ms
from rdv.live import ControlRecord
from rdv.rendezvous.topology import COMMANDS_TOPIC, EVENTS_TOPIC

HOUR_S = 3_600
MINUTE_S = 60
TARGET = 0.999
"""The share of answers that are to be given by a model, in time: what is left is the budget."""
MARKS_SHOWN = 8
EVENTS_SHOWN = 12
MODELS_SHOWN = 6
_ON_CHARTS = {
    "process_ended": "ended",
    "schedule_changed": "schedule",
    "promoted": "promoted",
    "rolled_back": "rolled back",
    "serve_started": "started",
    "settings_changed": "settings",
}
_FAILURES = ("behind", "expired", "error", "silent")
_WORDS = {
    "error": "failed on",
    "behind": "was behind on",
    "expired": "came too late for",
    "silent": "said nothing on",
    "unavailable": "could not be reached for",
}
_HEADS = (
    "Behind: the model refused, since it had too much to do to answer in time. Expired: it got the "
    "request after the deadline. Silent: nothing came from it."
)
_KIND_PALETTE = tuple(
    ANSWER_KINDS[KIND_COLOURS.index(n)] if n in KIND_COLOURS else f" {n}" for n in range(7)
)
"""The kinds at the numbers of the colours that they have in all charts."""
BAD_SHARE = 0.01
"""From this share of its reports on, what a model fails to do is said."""


class Hour:
    """What the console has counted of the last hour: a copy, so that nothing is held up."""

    def __init__(self, console: Console, now_s: float) -> None:
        with console.lock:
            # A clock that was wrong leaves buckets in the future: no chart reaches that far.
            first_s, last_s = now_s - HOUR_S, now_s + MINUTE_S
            buckets = console.recent.buckets
            self.buckets = [one for one in buckets if first_s <= one.start_s <= last_s]
            self.marks = list(console.recent.marks)
            self.lag_s = console.lag_s
            self.problem = console.problem
            live = console.totals.live
        self.now_s = now_s
        self.live = live
        newest_s = self.buckets[-1].start_s if self.buckets else 0
        self.minute = [one for one in self.buckets if one.start_s > newest_s - MINUTE_S]

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has been answered in the last minute."""
        return not self.buckets or self.buckets[-1].start_s < self.now_s - MINUTE_S - self.lag_s


def now_report(console: Console, now_s: float | None = None) -> Report:
    """Return the view."""
    hour = Hour(console, time.time() if now_s is None else now_s)
    report = Report("Now", _subtitle(hour))
    report.add(tag("div", now_part(console, hour), id="now", class_="parts",
                   data_live="/now/events"))  # fmt: skip
    return report


def now_part(console: Console, hour: Hour | None = None) -> Markup:
    """Return the part that is updated."""
    hour = hour or Hour(console, time.time())
    report = Report("")
    troubles = _troubles(console, hour)
    if troubles:
        report.verdict(troubles[0], "bad")
        report.bullets(troubles[1:])
    elif hour.is_quiet:
        report.verdict("No request was answered in the last minute.", "neutral")
    else:
        report.verdict("Every model answers, within the SLA.", "good")
    report.figures(_figures(hour))
    report.charts(_charts(hour))
    _add_models(report, console, hour)
    _add_events(report, hour)
    return report.summary()


def _subtitle(hour: Hour) -> str:
    behind = f"{hour.lag_s:.0f} s behind" if hour.lag_s >= 2 else "about two seconds behind"  # noqa: PLR2004
    return f"The last hour, from the log, {behind}"


def _sum(buckets: Sequence[Bucket], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in buckets:
        found.update(getattr(one, name))
    return found


def _latency(buckets: Sequence[Bucket]) -> list[int]:
    if not buckets:
        return []
    total: list[int] = np.sum([one.latency for one in buckets], axis=0).tolist()
    return total


def _figures(hour: Hour) -> dict[str, Any]:
    minute = hour.minute
    kinds = _sum(minute, "kinds")
    answers = kinds.total()
    latency = _latency(minute)
    span_s = max(STEP_S, len(minute) * STEP_S)
    figures: dict[str, Any] = {
        "answers a second": number(answers / span_s),
        "p50 (ms)": _quantile(latency, 0.5),
        "p99 (ms)": _quantile(latency, 0.99),
    }
    if hour.live is not None:
        figures["SLA (ms)"] = f"{hour.live.sla_ms:g}"
    if answers:
        figures["preferred"] = share(kinds["preferred"] / answers)
        figures["default"] = share(kinds["default"] / answers)
    figures[f"hour's error budget left ({100 - 100 * TARGET:.1f} %)"] = _budget(hour)
    return figures


def _quantile(latency: list[int], level: float) -> str | None:
    found = latency_quantile_ms(latency, level) if latency else None
    return None if found is None else number(found)


def _budget(hour: Hour) -> str | None:
    answers = sum(one.answers for one in hour.buckets)
    if not answers:
        return None
    missed = sum(max(one.misses, one.kinds.get("default", 0)) for one in hour.buckets)
    left = 1 - missed / answers / (1 - TARGET)
    return f"{100 * left:.0f} %"


def _charts(hour: Hour) -> list[Chart]:
    whole = hour.buckets[:-1]  # the last one is not over yet
    if not whole:
        return []
    first_s, last_s = whole[0].start_s, whole[-1].start_s
    by_start = {one.start_s: one for one in whole}
    span_s = last_s - first_s + STEP_S
    width = max(1, -(-span_s // (STEP_S * 180))) * STEP_S
    starts = list(range(first_s, last_s + STEP_S, width))
    groups = [
        [by_start[s] for s in range(start, start + width, STEP_S) if s in by_start]
        for start in starts
    ]
    x = column(starts)
    rules = tuple(_rules(hour, first_s, last_s))
    axis = Axis("time", measure="time")
    kinds = [_sum(group, "kinds") for group in groups]
    rates = {
        kind: column([one[kind] / width for one in kinds])
        for kind in ANSWER_KINDS
        if any(one[kind] for one in kinds)
    }
    latency = [_latency(group) for group in groups]
    waits = {
        name: column([_quantile_or_nan(one, level) for one in latency])
        for name, level in (("p50", 0.5), ("p99", 0.99))
    }
    models = _sum(hour.buckets, "models")
    counts = [_sum(group, "models") for group in groups]
    shares = {
        name or "default": column([one[name] / one.total() if one else np.nan for one in counts])
        for name, _ in models.most_common(MODELS_SHOWN)
    }
    sla = () if hour.live is None else (Rule("SLA", hour.live.sla_ms, "y"),)
    return [
        _lines("Answers a second, by kind", axis, Axis("answers a second", low=0.0), x, rates,
               rules, _KIND_PALETTE),
        _lines("Latency against the SLA", axis, Axis("wait", "ms", low=0.0), x, waits,
               (*rules, *sla)),
        _lines("Who answers", axis, Axis("share", measure="share", low=0.0, high=1.0), x, shares,
               rules),
    ]  # fmt: skip


def _lines(
    title: str, x_axis: Axis, y_axis: Axis, x: Any, lines: dict[str, Any],
    rules: Sequence[Rule] = (), palette: tuple[str, ...] = (),
) -> Chart:  # fmt: skip
    marks: list[Mark] = [Line(name, x, y) for name, y in lines.items()]
    return Chart(title, x_axis, y_axis, (*marks, *rules), palette=palette)


def _quantile_or_nan(latency: list[int], level: float) -> float:
    found = latency_quantile_ms(latency, level) if latency else None
    return float("nan") if found is None else found


def _rules(hour: Hour, first_s: int, last_s: int) -> list[Rule]:
    """Return what happened as lines on the time axis, the newest of each moment.

    A promotion stays: the change of the schedule that it causes follows at once.
    """
    found: dict[int, Rule] = {}
    commanded: set[int] = set()
    for mark in hour.marks:
        words = _ON_CHARTS.get(str(mark.fields.get("kind", "")))
        at_s = mark.time_ns / 1e9
        moment = int(at_s) // (4 * STEP_S)
        is_kept = mark.topic == COMMANDS_TOPIC or moment not in commanded
        if words and is_kept and first_s <= at_s <= last_s:
            about = str(mark.fields.get("model") or "")
            name = f"{about} {words}".strip()[:24]
            found[moment] = Rule(name, at_s)
            if mark.topic == COMMANDS_TOPIC:
                commanded.add(moment)
    return list(found.values())[-MARKS_SHOWN:]


def _troubles(console: Console, hour: Hour) -> list[str]:
    """Return what is wrong, in words, the most important first."""
    found = [f"The console {hour.problem}."] if hour.problem else []
    if hour.is_quiet:
        return found
    minute = hour.minute
    kinds = _sum(minute, "kinds")
    answers = kinds.total()
    if answers and kinds["default"] / answers >= BAD_SHARE:
        defaults = share(kinds["default"] / answers)
        codes = _sum(minute, "codes")
        why = f", most often: {_plain(codes.most_common(1)[0][0])}" if codes else ""
        found.append(f"{defaults} of the answers of the last minute are the default{why}.")
    misses = sum(one.misses for one in minute)
    if answers and misses / answers >= BAD_SHARE:
        found.append(f"{share(misses / answers)} of the answers came after their SLA.")
    models = sorted(console.decision.scoring_models())
    return found + [said for model in models if (said := _trouble_of(model, hour))]


def _trouble_of(model: str, hour: Hour) -> str:
    """Return what a model fails to do, and why; empty if it does well."""
    reports: Counter[str] = Counter()
    for one in hour.minute:
        reports.update(one.reports.get(model, {}))
    total = reports.total()
    if not total:
        return ""
    outcome, count = max(((name, reports[name]) for name in _WORDS), key=lambda item: item[1])
    if count / total < BAD_SHARE:
        return ""
    why = _last_words(model, hour)
    said = f"{model} {_WORDS[outcome]} {share(count / total)} of the requests of the last minute"
    return f"{said}: {why}" if why else f"{said}."


def _last_words(model: str, hour: Hour) -> str:
    """Return what the last event about the model says, if it is younger than five minutes."""
    for mark in reversed(hour.marks):
        if mark.time_ns / 1e9 < hour.now_s - 5 * MINUTE_S:
            break
        about = mark.fields.get("model"), mark.fields.get("about")
        if mark.topic == EVENTS_TOPIC and model in about:
            return str(mark.fields.get("message", ""))
    return ""


def _plain(code: str) -> str:
    return code.replace("_", " ")


def _add_models(report: Report, console: Console, hour: Hour) -> None:
    declared = sorted(console.decision.scoring_models())
    answers = _sum(hour.minute, "models")
    total = max(1, answers.total())
    rows: list[list[object]] = []
    for model in declared:
        reports: Counter[str] = Counter()
        for one in hour.minute:
            reports.update(one.reports.get(model, {}))
        count = reports.total()
        bad = _trouble_of(model, hour)
        state = "bad" if bad else "good" if count else ""
        words = "failing" if bad else "answers" if count else "no requests"
        rows.append(
            [
                model,
                tag("span", words, class_=f"kind {state}"),
                share(answers[model] / total),
                share(reports["result"] / count) if count else None,
                *(Figure(f"{reports[name]:,}" if reports[name] else "–") for name in _FAILURES),
            ]
        )
    columns = ["model", "state", "gives the answer", "reports in time", "behind", "expired",
               "errors", "silent"]  # fmt: skip
    report.table(columns, rows, "Models in the last minute")
    report.paragraphs([_HEADS])


def _add_events(report: Report, hour: Hour) -> None:
    rows = [_event(mark) for mark in hour.marks[::-1][:EVENTS_SHOWN]]
    if rows:
        report.table(["time (UTC)", "what", "about", "in words", "by"], rows, "What happened",
                     full=True)  # fmt: skip


def _event(mark: ControlRecord) -> list[object]:
    fields = mark.fields
    kind = str(fields.get("kind", ""))
    return [
        parts.clock_time(mark.time_ns),
        _plain(kind),
        str(fields.get("model") or fields.get("about") or ""),
        parts.short(str(fields.get("message", "")), 300),
        str(fields.get("by", "")),
    ]
