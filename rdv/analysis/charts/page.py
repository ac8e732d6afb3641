"""A report is a page in one file, without scripts and without external files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rdv.analysis.charts.chart import Chart, InvalidChart, Mix
from rdv.analysis.charts.format import cell, is_numeric
from rdv.analysis.charts.lanes import Lanes
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.style import SCOPED_STYLE, STYLE
from rdv.analysis.charts.svg import draw_chart, draw_lanes, draw_mix

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

    def add(self, part: Markup) -> None:
        """Add a part that is markup already."""
        (self._sections[-1][2] if self._sections else self._summary).append(part)

    def heading(self, text: str) -> None:
        """Begin a section."""
        words = "-".join(re.findall("[a-z0-9]+", text.lower()))
        self._sections.append((f"part-{len(self._sections) + 1}-{words}".rstrip("-"), text, []))

    def paragraphs(self, texts: Sequence[str]) -> None:
        self.add(tag("div", *(tag("p", text) for text in texts), class_="texts"))

    def bullets(self, texts: Sequence[str]) -> None:
        """Add a list; none without texts."""
        if texts:
            self.add(tag("ul", *(tag("li", text) for text in texts)))

    def verdict(self, text: str, tone: Tone = "neutral") -> None:
        """Add a sentence that answers the question; a sign and a colour show the tone."""
        self.add(tag("p", f"{_SIGNS[tone]}{text}", class_=f"verdict {tone}"))

    def figures(self, figures: Mapping[str, Any]) -> None:
        """Add a few important numbers, large, each with its name; without those that are None."""
        boxes = []
        for name, value in figures.items():
            if value is not None:
                estimate, bracket, interval = cell(value).partition(" (")
                small = [" ", tag("small", f"({interval}")] if bracket else []
                boxes.append(tag("div", tag("dt", name), tag("dd", estimate, *small)))
        self.add(tag("dl", *boxes, class_="figures"))

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        caption: str = "",
        *,
        full: bool = False,
    ) -> None:
        """Add a table. Numbers are aligned to the right; `cell` formats values, but not markup.

        `full`: it gets the whole width, whatever the number of its columns.
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
            tag("tr", *(tag("td", _cell(v), class_=k) for v, k in zip(row, classes, strict=True)))
            for row in shown
        ]
        top = [tag("caption", caption)] if caption else []
        table = tag("table", *top, tag("thead", head), tag("tbody", *body))
        place = "wide cell" if len(columns) <= NARROW_COLUMNS_MAX and not full else "wide"
        self.add(tag("div", table, class_=place, tabindex="0"))
        if len(rows) > len(shown):
            self.paragraphs([f"The first {ROWS_MAX:,} of {len(rows):,} rows."])

    def charts(self, charts: Iterable[Chart | Mix | Lanes]) -> None:
        """Add charts, side by side where there is room."""
        for chart in charts:
            self.chart(chart)

    def chart(self, chart: Chart | Mix | Lanes) -> None:
        """Add a chart with its title above and its note below."""
        self._charts += 1
        draw: Any = {Mix: draw_mix, Lanes: draw_lanes}.get(type(chart), draw_chart)
        drawing = draw(chart, self._charts)
        note = [tag("p", chart.note, class_="note")] if chart.note else []
        caption = tag("figcaption", chart.title)
        box = tag("div", drawing, class_="wide", tabindex="0")
        self.add(tag("figure", caption, box, *note, class_="cell"))

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
        return str(tag("div", tag("style", Markup(SCOPED_STYLE)), *parts))

    def summary(self) -> Markup:
        """Return what was added before the first heading, to be a part of another section."""
        return Markup("".join(self._summary))

    @property
    def title(self) -> str:
        return self._title

    def inner(self) -> Markup:
        """Return what is inside the page's `<main>`."""
        subtitle = [tag("p", self._subtitle, class_="note")] if self._subtitle else []
        parts = [tag("header", tag("h1", self._title), *subtitle)]
        if self._summary:
            parts.append(tag("section", *self._summary))
        links = [tag("a", title, href=f"#{name}") for name, title, _ in self._sections]
        if len(links) > 1:
            parts.append(tag("nav", *links, aria_label="Contents"))
        for name, title, inner in self._sections:
            parts.append(tag("section", tag("h2", title), *inner, id=name))
        return Markup("".join(parts))

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
        body = tag("body", tag("main", self.inner()))
        return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _cell(value: Any) -> str:
    return value if isinstance(value, Markup) else cell(value)


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
