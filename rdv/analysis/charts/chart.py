"""Charts as values: what a chart shows, not how it is drawn on a page or in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rdv.errors import InputFault

FloatArray = npt.NDArray[np.float64]
Measure = Literal["number", "share", "time"]

MARKS_MAX = 50


class InvalidChart(InputFault):
    """The data cannot be drawn."""

    name: str
    reason: str

    _text = "{name}: {reason}"


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a chart.

    `measure` is a number of `unit`, a share (0.25, shown as 25 %), or a time (seconds since 1970,
    shown in UTC). `low` and `high` fix the ends; otherwise they follow the data. With `categories`
    the value n stands for the n-th of these names.
    """

    label: str
    unit: str = ""
    measure: Measure = "number"
    log: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()

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
    """Marks over two axes. `note` is printed below. Raises InvalidChart for invalid marks.

    `palette` names series that have the same colours in several charts, such as all models of a
    report; other series get the colours after theirs.
    """

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    note: str = ""
    palette: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.marks) > MARKS_MAX:
            raise InvalidChart(self.title, f"{len(self.marks)} marks; at most {MARKS_MAX}")
        for mark in self.marks:
            _check(mark)

    def series(self) -> list[Mark]:
        """Return the marks that get their own colour, in order; a band has its line's colour."""
        return [
            mark
            for mark in self.marks
            if isinstance(mark, Points | Bars) or (isinstance(mark, Line) and not mark.guide)
        ]

    def colours(self) -> dict[str, int]:
        """Return the number of each series' colour, dash and shape, by its name."""
        fixed = {name: number for number, name in enumerate(self.palette)}
        free = count(len(fixed))
        found: dict[str, int] = {}
        for mark in self.series():
            if mark.name not in found:
                found[mark.name] = fixed[mark.name] if mark.name in fixed else next(free)
        return found


@dataclass(frozen=True, slots=True)
class Mix:
    """Stacked bars of shares: `rows` are (label, a value for each part), each scaled to 100 %.

    `colours` are numbers of the parts' colours; by default 0, 1, 2, ...
    """

    title: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]
    note: str = ""
    colours: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for label, values in self.rows:
            if len(values) != len(self.parts):
                raise InvalidChart(label, f"{len(values)} values for {len(self.parts)} parts")
            if not all(np.isfinite(value) and value >= 0 for value in values):
                raise InvalidChart(label, "values must be finite and not negative")

    def colour(self, part: int) -> int:
        """Return the number of a part's colour."""
        return self.colours[part] if part < len(self.colours) else part

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


def thin_line(x: FloatArray, y: FloatArray, limit: int) -> tuple[FloatArray, FloatArray]:
    """Return at most about `limit` points of a line: the lowest and the highest of each part.

    So a single spike among a million values is still visible; both ends stay.
    """
    count = len(x)
    if count <= limit:
        return x, y
    stretches = np.array_split(np.arange(count), max(1, (limit - 2) // 2))
    shown = np.where(np.isfinite(y), y, 0.0)
    kept = [0, count - 1]
    for rows in stretches:
        kept += [int(rows[np.argmin(shown[rows])]), int(rows[np.argmax(shown[rows])])]
    rows = np.unique(kept)
    return x[rows], y[rows]


def thin_rows(count: int, limit: int) -> npt.NDArray[np.intp]:
    """Return at most `limit` rows, evenly spread, including both ends."""
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.intp))


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
