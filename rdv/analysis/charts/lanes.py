"""A lane for each model over the time of a request: when it is accepted, and when it reported."""

from __future__ import annotations

from dataclasses import dataclass

from rdv.analysis.charts.chart import FloatArray


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which a lane's answer is accepted. `is_first`: it is the preferred one.

    `begin_name`, `end_name`: the names of the handles that move its ends; empty for a fixed end.
    """

    begin: float
    end: float
    is_first: bool = False
    begin_name: str = ""
    end_name: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    """A report. Its sign says whether it was an answer, and whether that answer was given."""

    at: float
    is_answer: bool = True
    is_chosen: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One model: when it is accepted, single reports, and how many reports come when (`ridge`).

    `ridge` has the share of the reports in each of equally long parts of the axis.
    """

    name: str
    spans: tuple[Span, ...] = ()
    dots: tuple[Dot, ...] = ()
    ridge: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """A moment that a reader may drag. `name` is that of the input that it sets."""

    name: str
    at: float
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """Lanes over an axis from 0 to `end` ms. `answer`: when the answer was given."""

    title: str
    end: float
    lanes: tuple[Lane, ...]
    ends: tuple[tuple[str, float], ...] = ()
    """Moments across all lanes, such as the ends of steps and the SLA."""
    handles: tuple[Handle, ...] = ()
    answer: float | None = None
    note: str = ""
