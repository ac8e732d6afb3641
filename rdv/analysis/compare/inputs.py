"""Find which fields of the input have changed over time, from some of the requests.

A field is a number, or a class (a text, true or false); fields of objects in objects are named
`a.b`. Whether an optional field is there is looked at as well. What grows with time or differs in
every request, as a counter or an id, is left out: it always changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.compare.drift import (
    HITS_MIN,
    NUMBERS_MIN,
    ROWS_PER_WINDOW,
    WINDOWS_MAX,
    WINDOWS_MIN,
    Span,
)
from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.keys import Keys, hashed_keys
from rdv.analysis.dataset.reading import is_json_number
from rdv.analysis.digests import NO_PAST, Past
from rdv.analysis.digests.hour import Column, flat
from rdv.analysis.digests.past import PastColumn, Read
from rdv.analysis.statistics import InvalidSample
from rdv.analysis.statistics.drift.timeline import COUNT_MIN, moves_over_time
from rdv.payload import UnusableJson, read_recorded
from rdv.rendezvous.messages import MalformedMessage

ROWS_MAX = 10_000
"""The maximum number of requests that are looked at; of more, every n-th is."""
FIELDS_MAX = 20
"""The maximum number of fields, those that are seen first."""
CLASSES_MAX = 200
"""A text with more different values is an id, or free text."""
_RISES = 0.95
"""A number that rises from this share of requests to the next one is a counter or a time."""

VALUES, PRESENCE = "values", "presence"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class InputDrift:
    """A field that has changed: in `hits` of `windows` windows, since `since_ns`."""

    field: str
    what: str
    """VALUES or PRESENCE."""
    hits: int
    windows: int
    since_ns: int
    sentence: str


@dataclass(frozen=True)
class Inputs:
    """Which fields were looked at, and which of them have changed."""

    fields: tuple[str, ...] = ()
    changed: tuple[InputDrift, ...] = ()

    def sentences(self) -> list[str]:
        """Return the findings; none if no field could be looked at."""
        if not self.fields:
            return []
        if not self.changed:
            return [f"Input: none of {len(self.fields)} fields has changed."]
        return [one.sentence for one in self.changed]


class InputCollector:
    """Keeps the fields of every n-th request. For one thread at a time."""

    def __init__(self, requests: int) -> None:
        self._stride = max(1, -(-requests // ROWS_MAX))
        self._seen = 0
        self._times: list[npt.NDArray[np.int64]] = []
        self._keys: list[Keys] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, joined: Joined) -> None:
        """Add the requests of one batch."""
        rows = np.arange(-self._seen % self._stride, len(joined), self._stride)
        self._seen += len(joined)
        if len(rows):
            self._times.append(joined.append_ns[rows])
            self._keys.append(hashed_keys(joined)[rows])
            self._rows += [_fields(joined, row) for row in rows.tolist()]

    def inputs(self, past: Past = NO_PAST) -> Inputs:
        """Return what has changed, compared with the past if it has these hours."""
        if len(self._rows) < WINDOWS_MIN * ROWS_PER_WINDOW:
            return Inputs()
        times_ns, keys = np.concatenate(self._times), np.concatenate(self._keys)
        order = np.argsort(times_ns, kind="stable")
        times_ns, keys = times_ns[order], keys[order]
        rows = [self._rows[n] for n in order.tolist()]
        names = list(dict.fromkeys(name for row in rows for name in row))[:FIELDS_MAX]
        span, looked, changed = Span.of(times_ns, past), [], []
        for name in names:
            columns = list(_columns([row.get(name) for row in rows], is_past=bool(span.past_weeks)))
            if columns:
                looked.append(name)
            for what, values, read in columns:
                before = None
                if span.past_weeks:
                    before = past.field(name, read, presence=what == PRESENCE)
                    if len(before) < COUNT_MIN:
                        continue
                found = _drift_of(name or "the data", what, (times_ns, values, keys), span, before)
                changed += [] if found is None else [found]
        return Inputs(tuple(name or "the data" for name in looked), tuple(changed))


def _fields(joined: Joined, row: int) -> dict[str, Any]:
    try:
        data = read_recorded(bytes(joined.request(row).data))
    except (MalformedMessage, UnusableJson):
        return {}
    return flat(data)


def _columns(values: list[Any], *, is_past: bool) -> Iterator[tuple[str, Floats, Read]]:
    """Yield what can be compared of a field; nothing for a counter, an id or a free text.

    The function reads the same of the field's column in a digest.
    """
    there = np.array([value is not None for value in values])
    known = [value for value in values if value is not None]
    numbers = sum(map(is_json_number, known))
    if numbers >= NUMBERS_MIN * len(known):
        column = np.array([float(v) if is_json_number(v) else math.nan for v in values])
        steps = np.diff(column[there & np.isfinite(column)])
        if len(steps) and (steps >= 0).mean() >= _RISES and (steps > 0).any():
            return
        yield VALUES, column, Column.numeric
    else:
        codes = {text: float(n) for n, text in enumerate(dict.fromkeys(map(str, known)))}
        if len(codes) > CLASSES_MAX:
            return
        column = np.array([math.nan if v is None else codes[str(v)] for v in values])

        def read(past: Column) -> Floats:
            known = [codes.setdefault(text, float(len(codes))) for text in past.classes]
            return np.repeat(known, list(past.classes.values()))

        yield VALUES, column, read
    if is_past or not there.all():
        yield PRESENCE, there.astype(np.float64), Column.numeric


def _drift_of(
    name: str,
    what: str,
    columns: tuple[npt.NDArray[np.int64], Floats, Keys],
    span: Span,
    before: PastColumn | None,
) -> InputDrift | None:
    """Return the drift of one column; None if it is steady, or too little is known."""
    times_ns, values, keys = columns
    first_ns, last_ns = int(times_ns[0]), int(times_ns[-1])
    asked = min(WINDOWS_MAX, len(times_ns) // ROWS_PER_WINDOW)
    try:
        moves = moves_over_time(
            times_ns,
            values,
            reference_ns=(first_ns, span.until_ns),
            width_ns=max(1, -(-(last_ns - first_ns + 1) // asked)),
            keys=keys,
            period_ns=span.period_ns,
            before=before,
        )
    except InvalidSample:
        return None
    later = [(start, one) for start, one in moves if start >= span.until_ns and one is not None]
    hits = [(start, one) for start, one in later if one.state == "moved"]
    if len(hits) < HITS_MIN and not any(one.is_decisive for _, one in hits):
        return None
    since = datetime.fromtimestamp(hits[0][0] / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    changed = "its values have changed" if what == VALUES else "it is there more or less often"
    sentence = (
        f"Input: {name!r}: {changed} since {since}, in {len(hits)} of {len(later)} windows "
        f"({span.sentence()})."
    )
    return InputDrift(name, what, len(hits), len(later), hits[0][0], sentence)
