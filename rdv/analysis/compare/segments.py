"""Compare two models by segment: by a field of the requests' data, or by the time.

The level is spread over all segments, so that the intervals hold together however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.pairs import ModelReports
from rdv.analysis.dataset.joined import Joined, Names
from rdv.analysis.dataset.keys import hashed_keys
from rdv.analysis.dataset.outcomes import Outcomes
from rdv.analysis.dataset.reading import class_name, number_of
from rdv.analysis.measure import Contrast, Kept, Measure, contrast_of
from rdv.analysis.metrics import looks
from rdv.analysis.statistics import Interval
from rdv.errors import InputFault
from rdv.payload import UnusableJson, read_recorded

TIMES_NS = {"hour": 3_600 * 10**9, "day": 86_400 * 10**9, "week": 7 * 86_400 * 10**9}
"""The lengths of the segments of time."""
MONDAY_NS = 4 * 86_400 * 10**9
"""1970-01-05, a Monday, on which weeks begin."""
SEGMENTS_MAX = 20
"""The maximum number of segments, the most frequent; all others are one together."""
QUANTILES = 5
"""The number of segments of a number with many different values."""
KEPT_MAX = 1_000_000
VALUES_MAX = 100_000
"""The maximum number of different values of a field; further ones count as others."""
OTHERS, MISSING = "others", "missing"


class NoSegment(InputFault):
    """No request has the field by which to split."""

    by: str

    _text = "no request with a known outcome has the field {by!r} in its data"
    _hint = "Name a field of the data, or hour, day or week: --by FIELD."


class _Line(msgspec.Struct, gc=False):
    """The field of a request that is needed here."""

    data: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True)
class Segment:
    """The requests with one value of the field, or of one time."""

    name: str
    contrast: Contrast


@dataclass(frozen=True)
class Segments:
    """Both models in each segment, in order of time or of the number, else the largest first."""

    by: str
    segments: tuple[Segment, ...]
    overall: Contrast

    def sentences(self) -> list[str]:
        """Return what differs, with intervals that hold for all segments together."""
        found = []
        for one in self.segments:
            contrast = one.contrast
            a, b = contrast.names
            place = f"{self.by} {one.name}"
            if contrast.is_better is not None:
                better = a if contrast.is_better else b
                assert isinstance(contrast.difference, Interval)
                text = contrast.signed(contrast.difference)
                found.append(f"{place}: {better} is better (difference {text}).")
            for name, own, whole in (
                (a, contrast.first, self.overall.first),
                (b, contrast.second, self.overall.second),
            ):
                if _is_other(own, whole):
                    found.append(
                        f"{place}: the {contrast.metric.title} of {name} is "
                        f"{contrast.text(own)}, {self.overall.text(whole)} overall."
                    )
        if not found:
            found.append(f"No segment by {self.by} differs surely from the others.")
        return [*found, self._note()]

    def _note(self) -> str:
        return f"These intervals hold for all {len(self.segments)} segments together."

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Return (columns, rows), one for each segment."""
        a, b = self.overall.names
        rows = []
        for one in self.segments:
            contrast = one.contrast
            difference = contrast.difference
            shown = contrast.signed(difference) if isinstance(difference, Interval) else "–"
            rows.append(
                [
                    one.name,
                    contrast.requests,
                    contrast.text(contrast.first),
                    contrast.text(contrast.second),
                    shown,
                ]
            )
        return [self.by, "requests", a, b, "difference"], rows

    def as_json(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "segments": [{"segment": one.name, **one.contrast.as_json()} for one in self.segments],
            "sentences": self.sentences(),
        }


def _is_other(own: Any, whole: Any) -> bool:
    return (
        isinstance(own, Interval) and isinstance(whole, Interval) and not own.covers(whole.estimate)
    )


class SegmentCollector:
    """Collects what the metric takes of both models, and each request's segment."""

    def __init__(self, by: str, outcomes: Outcomes, measure: Measure) -> None:
        self._by, self._outcomes, self._measure = by, outcomes, measure
        self._names = Names()
        self._kept = Kept(KEPT_MAX)

    def add(self, joined: Joined, first: ModelReports, second: ModelReports) -> None:
        """Add the requests of one batch that both have scored and whose outcome is known."""
        measure, extract = self._measure, self._measure.extract
        if not len(self._outcomes) or measure.problem:
            return
        truth = self._outcomes.of(joined, extract)
        truth[~(first.is_result & second.is_result)] = np.nan
        rows = np.flatnonzero(~np.isnan(truth))
        points = [
            measure.points(joined, _values(measure, one), truth)[rows] for one in (first, second)
        ]
        code, number = self._segments(joined, rows)
        self._kept.add(*points, truth[rows], hashed_keys(joined)[rows], code, number)

    def _segments(
        self, joined: Joined, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the code of each request's segment (NONE: missing), and its number, if it is."""
        if self._by in TIMES_NS:
            length = TIMES_NS[self._by]
            begin = MONDAY_NS if self._by == "week" else 0
            start = (joined.append_ns[rows] - begin) // length * length + begin
            return start, start.astype(np.float64)
        code = np.full(len(rows), -1, np.int64)
        number = np.full(len(rows), np.nan)
        for place, row in enumerate(rows.tolist()):
            value = self._value(joined.line(joined.request_at[row]))
            name = class_name(value)
            if name is None:
                continue
            if name not in self._names and len(self._names) > VALUES_MAX:
                name = OTHERS
            code[place], number[place] = self._names[name], number_of(value)
        return code, number

    def _value(self, line: bytes | None) -> Any:
        try:
            data = None if line is None else read_recorded(bytes(_decode(line).data))
        except (UnusableJson, msgspec.DecodeError):
            return None
        for part in self._by.split("."):
            data = data.get(part) if isinstance(data, dict) else None
        return data

    def segments(self, overall: Contrast, confidence: float) -> Segments:
        """Return both models in each segment. Raises NoSegment."""
        columns = self._kept.columns()
        if not columns or not len(columns[0]) or (columns[4] == -1).all():
            if overall.problem:
                return Segments(self._by, (), overall)
            raise NoSegment(self._by)
        first, second, truth, keys, code, number = columns
        parts = list(self._parts(code, number))
        level = looks(confidence, 3 * len(parts))[0]
        found = [
            Segment(
                name,
                contrast_of(
                    self._measure,
                    overall.names,
                    (first[rows], second[rows]),
                    truth[rows],
                    keys[rows],
                    confidence=level,
                    thinned=self._kept.stride,
                ),
            )
            for name, rows in parts
        ]
        return Segments(self._by, tuple(found), overall)

    def _parts(
        self, code: npt.NDArray[np.int64], number: npt.NDArray[np.float64]
    ) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Yield the name and the rows of each segment."""
        known = code != -1
        values, counts = np.unique(code[known], return_counts=True)
        if self._by in TIMES_NS:
            for start in values[-SEGMENTS_MAX:].tolist():
                yield _time(start, self._by), code == start
            return
        if not np.isnan(number[known]).any() and len(values) > SEGMENTS_MAX:
            yield from _by_quantile(number, known)
        else:
            names = self._names.names()
            order = values[np.argsort(-counts, kind="stable")]
            for one in order[:SEGMENTS_MAX].tolist():
                yield names[one], code == one
            rest = known & np.isin(code, order[SEGMENTS_MAX:])
            if rest.any():
                yield OTHERS, rest
        if not known.all():
            yield MISSING, ~known


def _by_quantile(
    number: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    edges = np.unique(np.quantile(number[known], np.linspace(0, 1, QUANTILES + 1)))
    for place, (low, high) in enumerate(pairwise(edges.tolist())):
        above = number >= low if place == 0 else number > low
        yield f"{low:g} to {high:g}", known & above & (number <= high)


def _values(measure: Measure, reports: ModelReports) -> npt.NDArray[np.float64]:
    """Return what the measure's extract has read of a model's answers."""
    if reports.measured is not None and not np.isnan(reports.measured).all():
        return reports.measured
    return reports.number if measure.extract.is_number else reports.label


def _time(start_ns: int, by: str) -> str:
    form = "%Y-%m-%d %H:00" if by == "hour" else "%Y-%m-%d"
    return datetime.fromtimestamp(start_ns / 1e9, UTC).strftime(form)
