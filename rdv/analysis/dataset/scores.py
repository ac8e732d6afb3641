"""Keep scores until their request is read, and build the columns that they contribute to a join."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import Chunk, read_scores
from rdv.analysis.dataset.joined import (
    ABSENT,
    NEVER_US,
    NOT_SAMPLED,
    NOWHERE,
    OUTCOME_CODES,
    RESULT,
    Joined,
    Names,
    place,
)
from rdv.analysis.dataset.liveness import Calibration
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.requests import Requests
from rdv.analysis.dataset.results import Found, first_of
from rdv.analysis.dataset.values import Extract
from rdv.analysis.dataset.waiting import Waiting
from rdv.rendezvous.messages import Score, score_outcome
from rdv.rendezvous.topology import SCORES

LATE_ORDER = 256
"""The first order of arrivals that are not recorded."""


@dataclass(frozen=True)
class Kept:
    """Scores of one chunk that wait for their requests."""

    model: int
    ids: list[str]
    times_ns: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    outcomes: npt.NDArray[np.uint8]
    values: npt.NDArray[np.float64] | None
    figures: npt.NDArray[np.float32] | None = None
    """(3, n): `queue_ms`, `evaluation_ms` and `batch_size`; None: not requested."""

    def take(self, rows: npt.NDArray[Any]) -> Kept:
        return Kept(
            self.model,
            [self.ids[n] for n in rows.tolist()],
            self.times_ns[rows],
            self.places[rows],
            self.outcomes[rows],
            None if self.values is None else self.values[rows],
            None if self.figures is None else self.figures[:, rows],
        )


class Scores:
    """Keeps scores until they are matched. For one thread at a time."""

    def __init__(
        self, models: Names, extract: Extract | None, *, with_figures: bool = False
    ) -> None:
        self._models = models
        self._extract = extract
        self._with_figures = with_figures
        self._waiting = Waiting[Kept]()

    def add(
        self,
        number: int,
        chunk: Chunk,
        notes: Notes,
        wanted: Callable[[str], bool] | None = None,
    ) -> int:
        """Read a chunk; return how many of its scores are kept: those whose id is `wanted`."""
        messages = read_scores(chunk)
        rows = np.arange(len(chunk))
        if missing := messages.count(None):
            notes.malformed[SCORES] += missing
            rows = np.array([n for n, m in enumerate(messages) if m is not None], np.int64)
        found = [message for message in messages if message is not None]
        notes.scores += len(found)
        if wanted is not None:
            there = [n for n, score in enumerate(found) if wanted(score.id)]
            if len(there) < len(found):
                found, rows = [found[n] for n in there], rows[there]
        if not found:
            return 0
        outcomes = [
            RESULT if s.error is None and s.refusal is None else OUTCOME_CODES[score_outcome(s)]
            for s in found
        ]
        kept = Kept(
            self._models[chunk.topic],
            [score.id for score in found],
            chunk.times_ns[rows],
            place(number, rows),
            np.array(outcomes, np.uint8),
            self._values(found),
            self._figures(found),
        )
        self._waiting.add(kept, number, chunk)
        return len(found)

    def _figures(self, found: list[Score]) -> npt.NDArray[np.float32] | None:
        if not self._with_figures:
            return None
        rows = [(score.queue_ms, score.evaluation_ms, score.batch_size) for score in found]
        return np.array(rows, np.float32).T

    def _values(self, found: list[Score]) -> npt.NDArray[np.float64] | None:
        extract = self._extract
        if extract is None:
            return None
        of_json = extract.of_json
        return np.array(
            [
                math.nan
                if s.error is not None or s.refusal is not None
                else of_json(bytes(s.result))  # type: ignore[arg-type]
                for s in found
            ]
        )

    def use(self, extract: Extract) -> None:
        """Extract the values of what is read from now on."""
        self._extract = extract

    def match(
        self, requests: Requests, found: Found, calibration: Calibration, notes: Notes
    ) -> Joined:
        """Return the window's join; keep scores of other requests."""
        count = len(requests)
        columns = requests.columns() | found.columns
        for _, names in requests.not_asked:
            for name in names:
                self._models[name]  # gets a row, even if it has never reported
        shape = (len(self._models) - 1, count)
        score_at = np.full(shape, NOWHERE, np.int64)
        outcome = np.full(shape, ABSENT, np.uint8)
        append_ns = np.zeros(shape, np.int64)
        value = None if self._extract is None else np.full(shape, np.nan)
        figures = np.full((3, *shape), np.nan, np.float32) if self._with_figures else None
        for kept, rows in self._waiting.matched(requests.rows, requests.until_ns):
            places = first_of(score_at[kept.model], rows, kept.places)
            first_rows = rows[places]
            notes.duplicate_scores += len(rows) - len(places)
            outcome[kept.model, first_rows] = kept.outcomes[places]
            append_ns[kept.model, first_rows] = kept.times_ns[places]
            if value is not None and kept.values is not None:
                value[kept.model, first_rows] = kept.values[places]
            if figures is not None and kept.figures is not None:
                figures[:, kept.model, first_rows] = kept.figures[:, places]
        arrivals = _Arrivals(columns, found, outcome, append_ns, score_at)
        arrivals.leave_out(requests, self._models)
        arrivals.fill(calibration, notes)
        return Joined(
            models=self._models.names(),
            chunks=requests.chunks | found.chunks | self._waiting.chunks,
            value=value,
            outcome=outcome,
            score_at=score_at,
            arrival_us=arrivals.arrival_us,
            is_exact=arrivals.is_exact,
            order=arrivals.order,
            figures=figures,
            **columns,
        )

    def forget(self, until_ns: int | None, notes: Notes) -> None:
        """Drop what was appended before `until_ns` (None: everything)."""
        notes.orphan_scores += sum(len(kept.ids) for kept in self._waiting.drop(until_ns))


class _Arrivals:
    """When each score arrived: as recorded, else estimated from its append time."""

    def __init__(
        self,
        columns: dict[str, Any],
        found: Found,
        outcome: npt.NDArray[np.uint8],
        append_ns: npt.NDArray[np.int64],
        score_at: npt.NDArray[np.int64],
    ) -> None:
        self._columns, self._found = columns, found
        self._outcome, self._append_ns, self._score_at = outcome, append_ns, score_at
        self.arrival_us = np.full(outcome.shape, NEVER_US, np.int32)
        self.is_exact = np.zeros(outcome.shape, bool)
        self._is_not_asked = np.zeros(outcome.shape, bool)
        late = np.arange(LATE_ORDER, LATE_ORDER + len(outcome), dtype=np.uint16)
        self.order = np.repeat(late[:, None], outcome.shape[1], axis=1)

    def leave_out(self, requests: Requests, models: Names) -> None:
        """Count a model that is not asked as having refused at the start, whatever it reports."""
        for row, names in requests.not_asked:
            for order, name in enumerate(names):
                cell = models[name], row
                self._is_not_asked[cell] = self.is_exact[cell] = True
                self._outcome[cell] = NOT_SAMPLED
                self.arrival_us[cell], self.order[cell] = 0, order

    def fill(self, calibration: Calibration, notes: Notes) -> None:
        found = self._found
        cells = found.models, found.rows
        exact_us = found.arrivals_us
        self.arrival_us[cells] = np.minimum(exact_us, NEVER_US - 1)
        self.order[cells] = found.orders
        self.is_exact[cells] = True
        # The result has the outcome even if the score is not recorded any more.
        self._outcome[cells] = found.outcomes
        bare = self._score_at[cells] == NOWHERE
        was_asked = ~self._is_not_asked[cells]
        notes.missing_scores += int((bare & was_asked).sum())
        host, sound = self._columns["host"], ~bare & was_asked
        seen = cells[0][sound], cells[1][sound]
        calibration.learn(host.take(seen[1]), exact_us[sound], self._since_us(seen))
        of, at = np.nonzero((self._score_at != NOWHERE) & ~self.is_exact)
        late = of, at
        if len(of):
            notes.estimated_arrivals += len(of)
            self.arrival_us[late] = calibration.arrivals_us(
                host.take(late[1]), self._since_us(late), found.waited_us[late[1]]
            )

    def _since_us(self, cells: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        since_ns = self._append_ns[cells] - self._columns["time_ns"][cells[1]]
        return np.asarray(since_ns // 1000, np.int64)
