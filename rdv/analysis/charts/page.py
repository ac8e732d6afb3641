"""A report is a page in one file, without scripts and without external files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rdv.analysis.charts.chart import Chart, InvalidChart, Mix
from rdv.analysis.charts.format import cell, is_numeric
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import draw_chart, draw_mix
from rdv.analysis.charts.svg.palette import dark_style

_LIGHT = """
:root{--ink:#1b1f24;--soft:#59636e;--line:#dfe3e8;--paper:#ffffff;--box:#f5f7f9;--link:#0058a3;
--good:#00694b;--bad:#a83f00;--unsure:#6b5500}
"""

_PAGE = """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif}
main{max-width:104rem;margin:0 auto;padding:1.5rem clamp(1rem,3vw,2.5rem) 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:0;padding-top:.6rem;border-top:1px solid var(--line)}
p{margin:0;max-width:76ch;overflow-wrap:anywhere}
ul{margin:0;padding-left:1.2rem}
li{max-width:76ch;margin:.2rem 0;overflow-wrap:anywhere}
a{color:var(--link)}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:1.2rem 0 0;font-size:.95rem}
section{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr));
gap:1rem 2rem;margin-top:1.2rem;align-items:start}
section>*{min-width:0;grid-column:1/-1}
section>.cell{grid-column:auto}
.texts{display:grid;gap:.5rem}
.note{color:var(--soft);font-size:.9rem}
.verdict{padding:.6rem .9rem;border-left:4px solid var(--soft);background:var(--box);
font-weight:600;max-width:none}
.good{border-color:var(--good)}.bad{border-color:var(--bad)}.unsure{border-color:var(--unsure)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,11rem),1fr));
gap:.7rem;margin:0}
.figures div{background:var(--box);padding:.6rem .8rem;border-radius:6px}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
small{font-weight:400;color:var(--soft);white-space:nowrap}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th:first-child,td:first-child{padding-left:0}
th{color:var(--soft);font-weight:600}
.number{text-align:right}
td.number{white-space:nowrap}
figure{margin:0}
figcaption{font-weight:600;margin-bottom:.4rem}
svg{display:block;width:100%;min-width:18rem;max-width:44rem;height:auto}
@media (max-width:40rem){th,td{padding:.3rem}}
"""

_DARK = """
:root{--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--paper:#14181d;--box:#1d232a;--link:#7cb8ff;
--good:#2fc99b;--bad:#ff8a3d;--unsure:#e6c229}
"""

_PRINT = """
main{max-width:none;padding:0}
nav{display:none}
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

_SCOPED = f"@scope{{{STYLE.replace(':root{', ':scope{').replace('body{', ':scope{')}}}"

ROWS_MAX = 1000
"""The maximum number of rows of a table, so that a page opens on a phone; longer ones are cut."""
NARROW_COLUMNS_MAX = 5
"""Tables with more columns take the whole width of the page."""

Tone = Literal["neutral", "good", "bad", "unsure"]
_SIGNS: dict[Tone, str] = {"neutral": "", "good": "✓ ", "bad": "✗ ", "unsure": "? "}


class Report:
    """A page that is built from top to bottom, then returned by `html()`. Not thread-safe.

    What comes before the first heading is the summary; a table of contents with all headings
    follows it. Charts and narrow tables stand side by side where the screen has room for them. The
    page follows the reader's light or dark mode, and works on screens from a phone up and on paper.
    All text is escaped: names and data may contain anything.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._subtitle = subtitle
        self._summary: list[Markup] = []
        self._sections: list[tuple[str, str, list[Markup]]] = []
        self._charts = 0

    def _add(self, part: Markup) -> None:
        (self._sections[-1][2] if self._sections else self._summary).append(part)

    def heading(self, text: str) -> None:
        """Begin a section."""
        words = "-".join(re.findall("[a-z0-9]+", text.lower()))
        self._sections.append((f"part-{len(self._sections) + 1}-{words}".rstrip("-"), text, []))

    def paragraphs(self, texts: Sequence[str]) -> None:
        self._add(tag("div", *(tag("p", text) for text in texts), class_="texts"))

    def bullets(self, texts: Sequence[str]) -> None:
        self._add(tag("ul", *(tag("li", text) for text in texts)))

    def verdict(self, text: str, tone: Tone = "neutral") -> None:
        """Add a sentence that answers the question; a sign and a colour show the tone."""
        self._add(tag("p", f"{_SIGNS[tone]}{text}", class_=f"verdict {tone}"))

    def figures(self, figures: Mapping[str, Any]) -> None:
        """Add a few important numbers, large, each with its name; without those that are None."""
        boxes = []
        for name, value in figures.items():
            if value is not None:
                estimate, bracket, interval = cell(value).partition(" (")
                small = [" ", tag("small", f"({interval}")] if bracket else []
                boxes.append(tag("div", tag("dt", name), tag("dd", estimate, *small)))
        self._add(tag("dl", *boxes, class_="figures"))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = ""
    ) -> None:
        """Add a table. Numbers are aligned to the right; `cell` formats the values."""
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
        place = "wide cell" if len(columns) <= NARROW_COLUMNS_MAX else "wide"
        self._add(tag("div", table, class_=place, tabindex="0"))
        if len(rows) > len(shown):
            self.paragraphs([f"The first {ROWS_MAX:,} of {len(rows):,} rows."])

    def charts(self, charts: Iterable[Chart | Mix]) -> None:
        """Add charts, side by side where there is room."""
        for chart in charts:
            self.chart(chart)

    def chart(self, chart: Chart | Mix) -> None:
        """Add a chart with its title above and its note below."""
        self._charts += 1
        draw: Any = draw_mix if isinstance(chart, Mix) else draw_chart
        drawing = draw(chart, self._charts)
        note = [tag("p", chart.note, class_="note")] if chart.note else []
        caption = tag("figcaption", chart.title)
        box = tag("div", drawing, class_="wide", tabindex="0")
        self._add(tag("figure", caption, box, *note, class_="cell"))

    def fragment(self) -> str:
        """Return the report as a part of another page, such as a notebook, with its own style.

        The style is for this part only (`@scope`); a browser that does not know that shows it
        plainly.
        """
        subtitle = self._subtitle.strip(" ,:")
        parts = [tag("h1", self._title), *([tag("p", subtitle, class_="note")] if subtitle else [])]
        parts.append(tag("section", *self._summary))
        for _, title, inner in self._sections:
            parts.append(tag("section", tag("h2", title), *inner))
        return str(tag("div", tag("style", Markup(_SCOPED)), *parts))

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
        parts = [tag("header", tag("h1", self._title), *subtitle)]
        if self._summary:
            parts.append(tag("section", *self._summary))
        links = [tag("a", title, href=f"#{name}") for name, title, _ in self._sections]
        if len(links) > 1:
            parts.append(tag("nav", *links, aria_label="Contents"))
        for name, title, inner in self._sections:
            parts.append(tag("section", tag("h2", title), *inner, id=name))
        body = tag("body", tag("main", *parts))
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def add_limits(report: Report, caveats: Sequence[str]) -> None:
    """Add a section on what limits the figures; none without caveats."""
    if caveats:
        report.heading("Limits of these figures")
        report.bullets(caveats)


def add_promise(report: Report, sentences: Sequence[str]) -> None:
    """Add a section on the quality that [objective] promises; none without a promise."""
    if sentences:
        report.heading("Promised quality")
        report.paragraphs(sentences)
