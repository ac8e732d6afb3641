"""Show a comparison as a page."""

from __future__ import annotations

from typing import Any

from rdv.evaluation.compare.charts import charts_of
from rdv.evaluation.compare.report import Comparison, ModelFigures
from rdv.evaluation.pictures import Report, share
from rdv.evaluation.pictures.report import Tone
from rdv.evaluation.reports.remarks import add_remarks


def compare_page(found: Comparison, decision: str) -> str:
    """Return HTML as one file."""
    a, b = found.first, found.second
    report = Report(f"{a.name} and {b.name}", f"{decision}: {found.requests:,} requests on record")
    sentences = found.sentences()
    report.verdict(sentences[1] if len(sentences) > 1 else sentences[0], _tone(found))
    for sentence in sentences:
        report.paragraph(sentence)
    report.table(*models_table((a, b)), caption="Both models")
    if found.classes is not None:
        rows = [
            [name, *counts.tolist()]
            for name, counts in zip(found.class_names, found.classes.table, strict=True)
        ]
        report.table([f"{a.name} says", *found.class_names], rows, f"What {b.name} says then")
    report.heading("Pictures")
    for chart in charts_of(found):
        report.chart(chart)
    add_remarks(report, found.caveats())
    return report.html()


def models_table(models: tuple[ModelFigures, ...]) -> tuple[list[str], list[list[Any]]]:
    """Return (columns, rows): one row for each figure, one column for each model."""
    return ["", *(model.name for model in models)], [
        ["requests", *(model.asked for model in models)],
        ["answered", *(share(model.answered) for model in models)],
        ["too late to try (behind, expired)", *(share(model.refusals) for model in models)],
        ["errors", *(share(model.errors) for model in models)],
        ["silent", *(share(model.silent) for model in models)],
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
