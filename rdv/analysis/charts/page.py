"""A report is a page in one file, without scripts and without external files.

Define the style sheet of a report.

Add what limits a report's figures, at its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rdv.analysis.charts.cell import cell, is_numeric
from rdv.analysis.charts.chart import Chart, InvalidChart, Mix
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import draw_chart, draw_mix
from rdv.analysis.charts.svg.palette import dark_style

_LIGHT = """
:root{--ink:#1b1f24;--soft:#59636e;--line:#dfe3e8;--paper:#ffffff;--box:#f5f7f9;
--good:#00694b;--bad:#a83f00;--unsure:#6b5500}
"""

_PAGE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
main{max-width:46rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
p{margin:.6rem 0;overflow-wrap:anywhere}
.note{color:var(--soft);font-size:.9rem}
.verdict{padding:.6rem .9rem;border-left:4px solid var(--soft);background:var(--box);
font-weight:600}
.good{border-color:var(--good)}.bad{border-color:var(--bad)}.unsure{border-color:var(--unsure)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));
gap:.7rem;margin:1rem 0}
.figures div{background:var(--box);padding:.6rem .8rem;border-radius:6px}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600}
.number{text-align:right;white-space:nowrap}
figure{margin:1.6rem 0}
figcaption{font-weight:600;margin-bottom:.4rem}
svg{display:block;width:100%;min-width:20rem;max-width:37rem;height:auto}
"""

_DARK = """
:root{--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--paper:#14181d;--box:#1d232a;
--good:#2fc99b;--bad:#ff8a3d;--unsure:#e6c229}
"""

_PRINT = """
main{max-width:none;padding:0}
svg{min-width:0}
figure,tr,.verdict,.figures div{break-inside:avoid}
h2{break-after:avoid}
.wide{overflow:visible}
"""

STYLE = (
    _LIGHT
    + _PAGE
    + f"@media screen and (prefers-color-scheme:dark){{{_DARK}{dark_style()}}}"
    + f"@media print{{{_PRINT}}}"
)
"""The style sheet has no `<` and no `&`, so that it can be put into a page unchanged."""


ROWS_MAX = 1000
"""The maximum number of rows of a table; longer tables are cut, and say so: a page must open on a
phone.
"""

Tone = Literal["neutral", "good", "bad", "unsure"]
_SIGNS: dict[Tone, str] = {"neutral": "", "good": "✓ ", "bad": "✗ ", "unsure": "? "}


class Report:
    """A page that is built from top to bottom, then returned by `html()`. Not thread-safe.

    It follows the reader's light or dark mode, and works on screens from a phone up and on paper.
    All text is escaped: names and data may contain anything.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._subtitle = subtitle
        self._parts: list[Markup] = []
        self._charts = 0

    def heading(self, text: str) -> None:
        self._parts.append(tag("h2", text))

    def paragraph(self, text: str) -> None:
        self._parts.append(tag("p", text))

    def verdict(self, text: str, tone: Tone = "neutral") -> None:
        """Add a sentence that answers the question; a sign and a colour show the tone."""
        self._parts.append(tag("p", f"{_SIGNS[tone]}{text}", class_=f"verdict {tone}"))

    def figures(self, figures: Mapping[str, Any]) -> None:
        """Add a few important numbers, large, each with its name."""
        boxes = [
            tag("div", tag("dt", name), tag("dd", cell(value))) for name, value in figures.items()
        ]
        self._parts.append(tag("dl", *boxes, class_="figures"))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = ""
    ) -> None:
        """Add a table. Numbers are aligned to the right; see `cell` for how values are
        formatted.
        """
        wrong = next((row for row in rows if len(row) != len(columns)), None)
        if wrong is not None:
            raise InvalidChart(
                caption or "table", f"a row has {len(wrong)} values for {len(columns)} columns"
            )
        shown = rows[:ROWS_MAX]
        numeric = [
            any(is_numeric(row[n]) for row in shown)
            and all(row[n] is None or is_numeric(row[n]) for row in shown)
            for n in range(len(columns))
        ]
        classes = ["number" if right else None for right in numeric]
        head = tag(
            "tr",
            *(tag("th", c, scope="col", class_=k) for c, k in zip(columns, classes, strict=True)),
        )
        body = [
            tag("tr", *(tag("td", cell(v), class_=k) for v, k in zip(row, classes, strict=True)))
            for row in shown
        ]
        top = [tag("caption", caption)] if caption else []
        table = tag("table", *top, tag("thead", head), tag("tbody", *body))
        self._parts.append(tag("div", table, class_="wide", tabindex="0"))
        if len(rows) > len(shown):
            self.paragraph(f"The first {ROWS_MAX:,} of {len(rows):,} rows.")

    def chart(self, chart: Chart | Mix) -> None:
        """Add a chart with its title above and its note below."""
        self._charts += 1
        drawing = (
            draw_mix(chart, self._charts)
            if isinstance(chart, Mix)
            else draw_chart(chart, self._charts)
        )
        note = [tag("p", chart.note, class_="note")] if chart.note else []
        caption = tag("figcaption", chart.title)
        self._parts.append(
            tag("figure", caption, tag("div", drawing, class_="wide", tabindex="0"), *note)
        )

    def html(self) -> str:
        """Return the whole page; write it as UTF-8."""
        head = tag(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            tag("title", self._title),
            tag("style", Markup(STYLE)),
        )
        subtitle = [tag("p", self._subtitle, class_="note")] if self._subtitle else []
        header = tag("header", tag("h1", self._title), *subtitle)
        body = tag("body", tag("main", header, *self._parts))
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def add_remarks(report: Report, remarks: Sequence[str]) -> None:
    """Add one paragraph for each remark; no heading without any."""
    if remarks:
        report.heading("What to know about these figures")
        for remark in remarks:
            report.paragraph(remark)
