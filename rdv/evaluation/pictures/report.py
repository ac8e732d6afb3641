"""A report is a page in one file, without scripts and without external files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rdv.evaluation.pictures.cell import cell, is_numeric
from rdv.evaluation.pictures.chart import Chart, Mix
from rdv.evaluation.pictures.errors import InvalidChart
from rdv.evaluation.pictures.markup import Markup, tag
from rdv.evaluation.pictures.style import STYLE
from rdv.evaluation.pictures.svg import draw_chart, draw_mix

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
