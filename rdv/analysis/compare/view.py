"""Show a comparison: charts for the terminal and a page, the table of both models, the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rdv.analysis.charts import (
    Axis,
    Band,
    Chart,
    Line,
    Report,
    Rule,
    cumulative_chart,
    line_chart,
    qq_chart,
    share,
)
from rdv.analysis.charts.page import Tone, add_limits, add_promise
from rdv.analysis.compare.drift import ModelDrift
from rdv.analysis.compare.result import Comparison, ModelFigures
from rdv.analysis.exploration.view import add_exploration
from rdv.analysis.statistics import Movement, Normaliser
from rdv.analysis.statistics.drift.timeline import PSI_MOVED

RANK_BINS = 20
RANK_ROWS_MIN = 200
_TIME = Axis("time", measure="time")


def charts_of(found: Comparison, *, brief: bool = False) -> list[Chart]:
    """Return the charts; `brief`, for a terminal, without those in which there is little to see."""
    is_quiet = ("steady", "too few") if brief else ()
    drawn = [quantiles_chart(found), None if brief else ranks_chart(found), arrivals_chart(found)]
    drawn += [drift_chart(found, one) for one in found.drift if one.cause not in is_quiet]
    if found.rates.anomalies or not brief:
        drawn.append(rate_chart(found))
    return [chart for chart in drawn if chart is not None]


def quantiles_chart(found: Comparison) -> Chart | None:
    """Return a Q-Q chart: one model's scale against the other's."""
    if found.quantile_pairs is None:
        return None
    return qq_chart(
        "Quantiles of the scores",
        Axis(f"score of {found.first.name}"),
        Axis(f"score of {found.second.name}"),
        found.quantile_pairs,
        "Off the diagonal the scales differ: the same rank has another score.",
        palette_of(found),
    )


def ranks_chart(found: Comparison) -> Chart | None:
    """Return what remains of the difference with equal scales, by paired requests."""
    pairs = found.pairs
    if pairs is None:
        return None
    known = np.isfinite(pairs.first) & np.isfinite(pairs.second)
    if int(known.sum()) < RANK_ROWS_MIN:
        return None
    a, b = pairs.first[known], pairs.second[known]
    ranks = Normaliser.of(a).ranks(a), Normaliser.of(b).ranks(b)
    edges = np.linspace(0, 1, RANK_BINS + 1)
    groups = [
        ranks[1][(ranks[0] >= low) & (ranks[0] < high)] for low, high in pairwise(edges.tolist())
    ]
    middles = (edges[:-1] + edges[1:]) / 2
    low, middle, high = (
        np.array([np.quantile(group, level) if len(group) else np.nan for group in groups])
        for level in (0.1, 0.5, 0.9)
    )
    ends = np.array([0.0, 1.0])
    return Chart(
        "Ranks of the same requests",
        Axis(f"rank by {found.first.name}", measure="share", low=0.0, high=1.0),
        Axis(f"rank by {found.second.name}", measure="share", low=0.0, high=1.0),
        (
            Line("equal", ends, ends, guide=True),
            Band("median", middles, low, high),
            Line("median", middles, middle),
        ),
        "The band holds 8 of 10 requests; where it is wide, the models rank differently.",
        palette_of(found),
    )


def arrivals_chart(found: Comparison) -> Chart | None:
    """Return the chart of when answers arrived."""
    digests = {
        figures.name: figures.tally.arrival_ms
        for figures in (found.first, found.second)
        if figures.tally.arrival_ms.count
    }
    if not digests:
        return None
    window_ms = found.first.tally.window_ms
    rules = () if window_ms is None else (Rule("window", window_ms),)
    high = max(float(digest.quantiles([0.999])[0]) for digest in digests.values())
    return cumulative_chart(
        "Arrival of the answers",
        Axis("after the request's start", "ms", low=0.0, high=high),
        digests,
        rules=rules,
        palette=palette_of(found),
    )


def drift_chart(found: Comparison, drift: ModelDrift) -> Chart | None:
    """Return the chart of the population stability index of a model and its peer, by window."""
    if not drift.windows:
        return None
    times = np.array([window.start_ns / 1e9 for window in drift.windows])
    lines = {}
    for name, moves in (
        (drift.model, [window.model for window in drift.windows]),
        (drift.peer, [window.canary for window in drift.windows]),
    ):
        lines[name] = times, np.array([_psi(move) for move in moves])
    return line_chart(
        f"Drift of {drift.model}",
        _TIME,
        Axis("population stability index", low=0.0),
        lines,
        rules=(Rule("drift", PSI_MOVED, "y"),),
        note=drift.sentence,
        palette=palette_of(found),
    )


def _psi(move: Movement | None) -> float:
    """Return the index; NaN for a window with few scores, which would only show chance."""
    return math.nan if move is None or move.state == "too few" else move.psi.value


def rate_chart(found: Comparison) -> Chart | None:
    """Return the chart of the request rate over time."""
    rates = found.rates
    if not len(rates.counts):
        return None
    return line_chart(
        "Request rate",
        _TIME,
        Axis("requests", "1/s", low=0.0),
        {"requests": (rates.start_ns / 1e9, rates.per_second)},
        stepped=True,
        note=rates.sentence(),
        palette=palette_of(found),
    )


def palette_of(found: Comparison) -> tuple[str, ...]:
    """Return the names that have the same colour in all charts: both models, the canary."""
    models = (found.first.name, found.second.name)
    return models if found.canary is None or found.canary in models else (*models, found.canary)


def compare_page(found: Comparison, decision: str, promises: Sequence[str] = ()) -> str:
    """Return HTML as one file; `promises` are sentences about the promised quality."""
    return compare_report(found, decision, promises).html()


def compare_report(
    found: Comparison, decision: str = "the log", promises: Sequence[str] = ()
) -> Report:
    """Return the report."""
    a, b = found.first.name, found.second.name
    report = Report(f"{a} and {b}", f"{decision}: {found.requests:,} recorded requests")
    sentences = found.sentences()
    verdict = sentences[1] if len(sentences) > 1 else sentences[0]
    report.verdict(verdict, _tone(found))
    report.figures(summary_figures(found))
    report.heading("Findings")
    report.paragraphs([sentence for sentence in sentences if sentence != verdict])
    add_promise(report, promises)
    return finished(report, found)


def finished(report: Report, found: Comparison) -> Report:
    """Add both models, all charts and the limits of the figures; return the report."""
    if found.segments is not None and found.segments.segments:
        report.heading("Segments")
        report.table(*found.segments.table(), f"The {found.metric.metric.title} by segment")
    add_exploration(report, found.exploration)
    report.heading("Models")
    add_models(report, found)
    report.heading("Charts")
    report.charts(charts_of(found))
    add_limits(report, found.caveats())
    return report


def summary_figures(found: Comparison) -> dict[str, Any]:
    """Return the figures that matter most; None for those that are not known."""
    a, b = found.first, found.second
    paired = found.accuracy
    right = [] if paired is None else [paired.share_first, paired.share_second]
    return {
        "agreement": None if found.classes is None else share(found.classes.rate),
        "rank correlation": None if found.scores is None else found.scores.correlation,
        **{f"right: {model.name}": share(one) for model, one in zip((a, b), right, strict=False)},
        **{f"p99 of {model.name} (ms)": _percentile(model, "arrival", "p99") for model in (a, b)},
    }


def add_models(report: Report, found: Comparison) -> None:
    """Add the table of both models, and the one of their answers if these are classes."""
    report.table(*models_table((found.first, found.second)), caption="Figures by model")
    if found.classes is not None:
        rows = [
            [name, *counts.tolist()]
            for name, counts in zip(found.class_names, found.classes.table, strict=True)
        ]
        a, b = found.first.name, found.second.name
        columns = [f"{a} \\ {b}", *found.class_names]
        report.table(columns, rows, f"Requests by the answers of {a} (rows) and {b} (columns)")


def models_table(models: tuple[ModelFigures, ...]) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows): one row for each figure, one column for each model."""
    return ["", *(model.name for model in models)], [
        ["requests", *(model.asked for model in models)],
        ["answered", *(share(model.answered) for model in models)],
        ["refused (behind, expired, bad input)", *(share(model.refusals) for model in models)],
        ["errors", *(share(model.errors) for model in models)],
        ["no report", *(share(model.silent) for model in models)],
        *(
            [f"{what}, {name} (ms)", *(_percentile(model, what, name) for model in models)]
            for what in ("arrival", "evaluation")
            for name in ("p50", "p99")
        ),
        *(
            [f"score, {level:.0%} quantile", *(model.quantiles.get(level) for model in models)]
            for level in (0.05, 0.5, 0.95)
            if any(model.quantiles for model in models)
        ),
    ]


def _percentile(model: ModelFigures, what: str, name: str) -> float | None:
    found = model.arrival if what == "arrival" else model.evaluation
    if found is None:
        return None
    return next(one.latency_ms.estimate for one in found.percentiles if one.name == name)


def _tone(found: Comparison) -> Tone:
    if found.accuracy is None or found.accuracy.difference.covers(0):
        return "neutral"
    return "good"
