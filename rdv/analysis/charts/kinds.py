"""The kinds of chart that several reports need, built from samples, lines or points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rdv.analysis.charts.chart import (
    Axis,
    Band,
    Bars,
    Chart,
    FloatArray,
    InvalidChart,
    Line,
    Mark,
    Mix,
    Points,
    Rule,
    column,
)
from rdv.analysis.statistics.digest import Digest
from rdv.analysis.statistics.interval import Interval
from rdv.analysis.statistics.latency import curve
from rdv.analysis.statistics.normalisation import QuantilePairs

BINS_MAX = 60
ANSWER_KINDS = ("preferred", "fallback", "default")
KIND_COLOURS = (2, 4, 6)


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A choice: its cost (`x`, less is better) and its benefit (`y`, more is better)."""

    name: str
    x: float
    y: float | Interval
    is_chosen: bool = False

    @property
    def ends(self) -> tuple[float, float, float]:
        """The benefit, and the ends of its interval."""
        y = self.y
        return (y.estimate, y.low, y.high) if isinstance(y, Interval) else (y, y, y)


def line_chart(
    title: str,
    x: Axis,
    y: Axis,
    lines: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    bands: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]] | None = None,
    rules: Sequence[Rule] = (),
    stepped: bool = False,
    note: str = "",
    palette: tuple[str, ...] = (),
) -> Chart:
    """Return a chart of lines by name, each (x, y); `bands` are (low, high) at the line's x."""
    marks: list[Mark] = []
    for name, (low, high) in (bands or {}).items():
        if name not in lines:
            raise InvalidChart(name, "is a band around no line")
        marks.append(Band(name, column(lines[name][0]), column(low), column(high)))
    marks += [Line(name, column(at), column(to), stepped) for name, (at, to) in lines.items()]
    return Chart(title, x, y, (*marks, *rules), note, palette)


def cumulative_chart(
    title: str,
    x: Axis,
    samples: Mapping[str, npt.ArrayLike | Digest],
    *,
    rules: Sequence[Rule] = (),
    note: str = "",
    palette: tuple[str, ...] = (),
) -> Chart:
    """Return a chart of the share of values at or below each x, such as latencies of models."""
    marks = [Line(name, *curve(values)) for name, values in samples.items()]
    share = Axis("share at or below", measure="share", low=0.0, high=1.0)
    return Chart(title, x, share, (*marks, *rules), note, palette)


def histogram_chart(
    title: str,
    x: Axis,
    samples: Mapping[str, npt.ArrayLike],
    *,
    bins: int | None = None,
    rules: Sequence[Rule] = (),
    note: str = "",
) -> Chart:
    """Return a chart of the share of values in each bin; bars for one sample, outlines for several.

    Unless given, bins are by Freedman & Diaconis (1981) over all samples; on a log axis, of logs.
    """
    arrays = {name: column(values) for name, values in samples.items()}
    edges = _edges(title, x, list(arrays.values()), bins)
    marks: list[Mark] = []
    for name, values in arrays.items():
        shares = np.histogram(values, edges)[0] / max(1, len(values))
        if len(arrays) == 1:
            marks.append(Bars(name, edges, shares))
        else:
            outline = np.r_[0.0, shares, 0.0]
            marks.append(Line(name, np.r_[edges[0], edges], outline, stepped=True))
    y = Axis("share of all", measure="share", low=0.0)
    return Chart(title, x, y, (*marks, *rules), note)


def qq_chart(
    title: str, first: Axis, second: Axis, pairs: QuantilePairs, note: str = "",
    palette: tuple[str, ...] = (),
) -> Chart:  # fmt: skip
    """Return quantiles of one sample against those of the other; on the diagonal both are equal."""
    ends = np.array(
        [min(pairs.first.min(), pairs.second.min()), max(pairs.first.max(), pairs.second.max())]
    )
    marks = (Line("equal", ends, ends, guide=True), Points("quantiles", pairs.first, pairs.second))
    return Chart(title, first, second, marks, note, palette)


def frontier_chart(
    title: str,
    x: Axis,
    y: Axis,
    points: Sequence[FrontierPoint],
    *,
    rules: Sequence[Rule] = (),
    note: str = "",
) -> Chart:
    """Return a chart of all points with their intervals; a line joins the undominated ones."""
    if not points:
        raise InvalidChart(title, "there are no points")
    marks: list[Mark] = []
    best = _undominated(points)
    if len(best) > 1:
        xs, ys = column([point.x for point in best]), column([point.ends[0] for point in best])
        marks.append(Line("frontier", xs, ys, stepped=True, guide=True))
    for name, group in (
        ("tried", [point for point in points if not point.is_chosen]),
        ("chosen", [point for point in points if point.is_chosen]),
    ):
        if group:
            xs = column([point.x for point in group])
            middle, low, high = (column(v) for v in zip(*(p.ends for p in group), strict=True))
            marks.append(Points(name, xs, middle, low, high, tuple(point.name for point in group)))
    return Chart(title, x, y, (*marks, *rules), note)


def kinds_mix(rows: Mapping[str, Mapping[str, float]]) -> Mix:
    """Return the mix of answers by kind (preferred, fallback, default); rows are counts by name."""
    shares = tuple(
        (name, tuple(float(counts.get(kind, 0)) for kind in ANSWER_KINDS))
        for name, counts in rows.items()
    )
    return Mix("Answers by kind", ANSWER_KINDS, shares, colours=KIND_COLOURS)


def _edges(title: str, axis: Axis, arrays: list[FloatArray], bins: int | None) -> FloatArray:
    values = np.concatenate([np.empty(0), *arrays])
    if not len(values) or not np.isfinite(values).all():
        raise InvalidChart(title, "a histogram needs values, all of them finite")
    if axis.log and values.min() <= 0:
        raise InvalidChart(title, "a log axis needs values above 0")
    shown = np.log10(values) if axis.log else values
    if bins is None:
        q25, q75 = np.quantile(shown, [0.25, 0.75])
        width = 2 * (q75 - q25) / len(values) ** (1 / 3)
        spread = float(shown.max() - shown.min())
        bins = round(spread / width) if width > 0 else BINS_MAX // 2
    edges = np.histogram_bin_edges(shown, min(max(bins, 5), BINS_MAX))
    return 10**edges if axis.log else edges


def _undominated(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    best: list[FrontierPoint] = []
    for point in sorted(points, key=lambda point: (point.x, -point.ends[0])):
        if not best or point.ends[0] > best[-1].ends[0]:
            best.append(point)
    return best
