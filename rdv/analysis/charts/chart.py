"""Define what a chart shows, without how it is drawn: the same for the terminal and for a page.

Define the errors of charts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.errors import InputFault


@dataclass(eq=False)
class InvalidChart(InputFault):
    """The data cannot be drawn."""

    name: str
    reason: str

    def text(self) -> str:
        return f"{self.name}: {self.reason}"


FloatArray = npt.NDArray[np.float64]

MARKS_MAX = 50
Measure = Literal["number", "share", "time"]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart.

    `measure` is a number of `unit`, a share (0.25, shown as 25 %), or a time (seconds since 1970,
    shown in UTC). `low` and `high` fix the ends; otherwise they follow the data.
    """

    label: str
    unit: str = ""
    measure: Measure = "number"
    log: bool = False
    low: float | None = None
    high: float | None = None

    @property
    def caption(self) -> str:
        """Label and unit, as written next to the axis."""
        unit = {"number": self.unit, "share": "%", "time": "UTC"}[self.measure]
        return f"{self.label} ({unit})" if unit else self.label


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line through points in order, with a gap where a value is not finite.

    `stepped`: each y holds until the next x. `guide`: a thin, grey reference line.
    """

    name: str
    x: FloatArray
    y: FloatArray
    stepped: bool = False
    guide: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Single points, with intervals and labels where given."""

    name: str
    x: FloatArray
    y: FloatArray
    y_low: FloatArray | None = None
    y_high: FloatArray | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """The area between `low` and `high`: an interval along a line."""

    name: str
    x: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """Bars: bar i is from edges[i] to edges[i + 1], and from 0 to heights[i]."""

    name: str
    edges: FloatArray
    heights: FloatArray


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the chart at a value of one axis, such as a limit or a moment."""

    name: str
    at: float
    axis: Literal["x", "y"] = "x"


Mark = Line | Points | Band | Bars | Rule


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """Marks over two axes. `note` is printed below. Raises InvalidChart for invalid marks."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.marks) > MARKS_MAX:
            raise InvalidChart(self.title, f"{len(self.marks)} marks; at most {MARKS_MAX}")
        for mark in self.marks:
            _check(mark)

    def series(self) -> list[Mark]:
        """Return the marks that get a colour of their own, in order; bands share their line's
        colour.
        """
        return [
            mark
            for mark in self.marks
            if isinstance(mark, Points | Bars) or (isinstance(mark, Line) and not mark.guide)
        ]


@dataclass(frozen=True, slots=True)
class Mix:
    """Stacked bars of shares: `rows` are (label, a value for each part); each row is scaled to 100
    %.
    """

    title: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for label, values in self.rows:
            if len(values) != len(self.parts):
                raise InvalidChart(label, f"{len(values)} values for {len(self.parts)} parts")
            if not all(np.isfinite(value) and value >= 0 for value in values):
                raise InvalidChart(label, "values must be finite and not negative")

    def shares(self) -> list[tuple[str, list[float]]]:
        """Return each row with its values as shares of their sum; zeros for an empty row."""
        totals = [(label, values, sum(values)) for label, values in self.rows]
        return [
            (label, [value / total if total else 0.0 for value in values])
            for label, values, total in totals
        ]


def column(values: npt.ArrayLike) -> FloatArray:
    """Return values in the form that marks need."""
    array: FloatArray = np.asarray(values, dtype=np.float64)
    return array


def _check(mark: Mark) -> None:
    if isinstance(mark, Rule):
        if not np.isfinite(mark.at):
            raise InvalidChart(mark.name, "is not at a finite value")
        return
    if isinstance(mark, Bars):
        _same(mark.name, [mark.edges[1:], mark.heights])
        return
    if isinstance(mark, Band):
        _same(mark.name, [mark.x, mark.low, mark.high])
        return
    columns: list[Any] = [mark.x, mark.y]
    if isinstance(mark, Points):
        columns += [end for end in (mark.y_low, mark.y_high) if end is not None]
        if mark.labels:
            columns.append(mark.labels)
    _same(mark.name, columns)


def _same(name: str, columns: Sequence[Any]) -> None:
    lengths = {len(one) for one in columns}
    if len(lengths) != 1:
        raise InvalidChart(name, f"its columns have different lengths: {sorted(lengths)}")
