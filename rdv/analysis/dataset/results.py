"""Keep results until their request is read; collect clients' answers and the recorded arrivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import Chunk, read_results
from rdv.analysis.dataset.joined import (
    KIND_CODES,
    NONE,
    NOWHERE,
    OUTCOME_CODES,
    PROXY,
    SERVER,
    UNANSWERED,
    Coded,
    Names,
    place,
)
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.requests import Requests
from rdv.analysis.dataset.values import Extract
from rdv.analysis.dataset.waiting import Waiting
from rdv.rendezvous.messages import Result, result_code
from rdv.rendezvous.topology import RESULTS

NOT_ASKED = frozenset({"overloaded", "not_logged", "record_too_large", "bad_input"})
"""Codes of answers that a proxy gave without asking any model."""

STEP_MAX = 32_767


@dataclass(frozen=True)
class Kept:
    """Results of one chunk that wait for their requests."""

    results: list[Result]
    places: npt.NDArray[np.int64]
    times_ns: npt.NDArray[np.int64]
    is_own: bool

    @property
    def ids(self) -> list[str]:
        return [result.id for result in self.results]

    def take(self, rows: npt.NDArray[Any]) -> Kept:
        results = [self.results[n] for n in rows.tolist()]
        return Kept(results, self.places[rows], self.times_ns[rows], self.is_own)


@dataclass
class Found:
    """What the results contribute to a window's requests."""

    columns: dict[str, Any]
    chunks: dict[int, Chunk]
    rows: npt.NDArray[np.int64]
    models: npt.NDArray[np.int64]
    arrivals_us: npt.NDArray[np.int64]
    outcomes: npt.NDArray[np.uint8]
    orders: npt.NDArray[np.int64]
    """Recorded arrivals, one entry each."""

    waited_us: npt.NDArray[np.int64]
    """The wait of the server's result, in µs; 0 without one. Later reports arrived after it."""


class Results:
    """Keeps results; `is_known(result, time_ns)`: its request must be recorded. One thread."""

    def __init__(
        self,
        extract: Extract | None,
        is_known: Callable[[Result, int], bool],
        *,
        with_code: bool = False,
    ) -> None:
        self._extract = extract
        self._is_known = is_known
        self._with_code = with_code
        self._waiting = Waiting[Kept]()

    def add(
        self,
        number: int,
        chunk: Chunk,
        notes: Notes,
        *,
        is_own: bool,
        wanted: Callable[[str], bool] | None = None,
    ) -> tuple[Kept, Kept | None]:
        """Read a chunk; return the results that are kept, and those whose id is not `wanted`."""
        messages = read_results(chunk)
        rows = np.arange(len(chunk))
        if missing := messages.count(None):
            notes.malformed[RESULTS] += missing
            rows = np.array([n for n, m in enumerate(messages) if m is not None], np.int64)
        found = [message for message in messages if message is not None]
        if is_own:
            notes.own_answers += len(found)
        else:
            notes.results += len(found)
        kept, others = Kept(found, place(number, rows), chunk.times_ns[rows], is_own), None
        if wanted is not None:
            there = np.fromiter((wanted(result.id) for result in found), bool, len(found))
            if not there.all():
                others = kept.take(np.flatnonzero(~there))
                kept = kept.take(np.flatnonzero(there))
        if len(kept.results):
            self._waiting.add(kept, number, chunk)
        return kept, others

    def use(self, extract: Extract) -> None:
        """Extract the values of what is read from now on."""
        self._extract = extract

    def match(self, requests: Requests, models: Names, notes: Notes) -> Found:
        """Return the results of these requests; keep the rest."""
        answers = _Answers(len(requests), self._extract, with_code=self._with_code)
        arrived: list[_Arrived] = []
        # Proxies' own answers come last: they are what the client received.
        for kept, rows in sorted(
            self._waiting.matched(requests.rows, requests.until_ns), key=lambda pair: pair[0].is_own
        ):
            firsts = answers.add_places(kept, rows)
            if len(firsts) < len(rows):
                notes.duplicate_results += len(rows) - len(firsts)
                for row in sorted(set(range(len(rows))) - set(firsts.tolist())):
                    notes.twice(kept.results[row].id)
                kept, rows = kept.take(firsts), rows[firsts]  # noqa: PLW2901  without repeated results
            answers.add(kept, rows)
            if not kept.is_own:
                arrived.append(_Arrived(kept.results, rows, models))
        columns = answers.columns()
        notes.unanswered += int((columns["answered_by"] == UNANSWERED).sum())
        return Found(
            columns,
            dict(self._waiting.chunks),
            _joined([one.rows for one in arrived], np.int64),
            _joined([one.models for one in arrived], np.int64),
            _joined([one.arrivals_us for one in arrived], np.int64),
            _joined([one.outcomes for one in arrived], np.uint8),
            _joined([one.orders for one in arrived], np.int64),
            answers.server_waited_us,
        )

    def forget(self, until_ns: int | None, notes: Notes) -> None:
        """Drop what was appended before `until_ns` (None: everything)."""
        for kept in self._waiting.drop(until_ns):
            for result, time_ns in zip(kept.results, kept.times_ns.tolist(), strict=True):
                self._give_up(result, time_ns, kept.is_own, notes)

    def _give_up(self, result: Result, time_ns: int, is_own: bool, notes: Notes) -> None:
        if is_own and result_code(result) in NOT_ASKED:
            notes.not_asked += 1
        elif self._is_known(result, time_ns):
            notes.stray(result.id)
        else:
            notes.orphan_results += 1


class _Answers:
    """The columns of the answers that clients received; later additions replace earlier ones."""

    def __init__(self, count: int, extract: Extract | None, *, with_code: bool = False) -> None:
        self._extract = extract
        self._server_at = np.full(count, NOWHERE, np.int64)
        self._own_at = np.full(count, NOWHERE, np.int64)
        self.server_waited_us = np.zeros(count, np.int64)
        self._kind = np.zeros(count, np.uint8)
        self._step = np.zeros(count, np.int16)
        self._waited_ms = np.full(count, np.nan)
        self._answered_by = np.full(count, UNANSWERED, np.uint8)
        self._value = None if extract is None else np.full(count, np.nan)
        texts = ("model", "version", "label", *(("code",) if with_code else ()))
        self._names = {name: Names() for name in texts}
        self._codes = {name: np.full(count, NONE, np.int32) for name in self._names}

    def add_places(self, kept: Kept, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return which of these results are the first of their request and kind."""
        column = self._own_at if kept.is_own else self._server_at
        return first_of(column, rows, kept.places)

    def add(self, kept: Kept, rows: npt.NDArray[np.int64]) -> None:
        results = kept.results
        waited_ms = np.array([r.waited_ms for r in results], np.float64)
        if not kept.is_own:
            self.server_waited_us[rows] = np.rint(waited_ms * 1000).astype(np.int64)
        self._kind[rows] = [KIND_CODES[r.kind] for r in results]
        self._step[rows] = np.minimum([r.step for r in results], STEP_MAX)
        self._waited_ms[rows] = waited_ms
        self._answered_by[rows] = PROXY if kept.is_own else SERVER
        for name, values in (
            ("model", [r.model for r in results]),
            ("version", [r.version for r in results]),
            ("label", [r.schedule for r in results]),
            ("code", [result_code(r) or None for r in results] if "code" in self._names else None),
        ):
            if values is None:
                continue
            codes = map(self._names[name].__getitem__, values)
            self._codes[name][rows] = np.fromiter(codes, np.int32, len(values))
        if self._extract is not None and self._value is not None:
            of_json = self._extract.of_json
            self._value[rows] = [of_json(bytes(r.result)) for r in results]

    def columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {
            name: Coded(codes, self._names[name].names()) for name, codes in self._codes.items()
        }
        if self._value is not None:
            columns["given"] = self._value
        return columns | {
            "kind": self._kind,
            "step": self._step,
            "waited_ms": self._waited_ms,
            "answered_by": self._answered_by,
            "result_at": self._server_at,
            "own_at": self._own_at,
        }


class _Arrived:
    """The arrivals that results record, one entry each."""

    def __init__(self, results: list[Result], rows: npt.NDArray[np.int64], names: Names) -> None:
        lists = [result.arrived for result in results]
        flat = list(chain.from_iterable(lists))
        counts = np.fromiter(map(len, lists), np.int64, len(lists))
        code, outcome = names.__getitem__, OUTCOME_CODES.__getitem__
        self.rows = np.repeat(rows, counts)
        self.models = np.fromiter([code(a.model) for a in flat], np.int64, len(flat))
        arrived_ms = np.array([a.arrived_ms for a in flat], np.float64)
        self.arrivals_us = np.rint(arrived_ms * 1000).astype(np.int64)
        self.outcomes = np.fromiter([outcome(a.outcome) for a in flat], np.uint8, len(flat))
        starts = np.cumsum(counts) - counts
        self.orders = np.arange(len(flat)) - np.repeat(starts, counts)


def first_of(
    column: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Put places into empty cells of a column; return which ones were put in."""
    free = column[rows] == NOWHERE
    column[rows[free][::-1]] = places[free][::-1]  # of several places for one row, the first stays
    return np.flatnonzero(free & (column[rows] == places))


def _joined(parts: list[npt.NDArray[Any]], kind: Any) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, kind)
