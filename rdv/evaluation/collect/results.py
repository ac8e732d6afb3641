"""Results, until their request comes by; what a client was told, and the arrivals on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rdv.evaluation.coded import NONE, Coded, Names
from rdv.evaluation.collect.requests import Requests
from rdv.evaluation.joined import KIND_CODES, NOBODY, NOWHERE, OUTCOME_CODES, PROXY, SERVER, place
from rdv.evaluation.notes import Notes
from rdv.evaluation.reading.chunk import Chunk
from rdv.evaluation.reading.messages import read_results
from rdv.evaluation.values import Extract
from rdv.messages import Outcome, Result

NOT_ASKED = ("overloaded", "not logged")
"""How the reasons begin of answers that a proxy gave without having asked anybody."""


class Kept(NamedTuple):
    """A result that waits for its request."""

    result: Result
    at: int
    time_ns: int
    is_own: bool


@dataclass
class Found:
    """What the results say about a window's requests."""

    columns: dict[str, Any]
    chunks: dict[int, Chunk]
    rows: list[int] = field(default_factory=list)
    models: list[int] = field(default_factory=list)
    arrivals_us: list[int] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    """Arrivals on record, one entry each."""

    waited_us: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Of the server's result; 0 without one: nobody who arrived later arrived before that."""


class Results:
    """One thread at a time. `is_known(result, time_ns)`: whether its request must be on record."""

    def __init__(self, extract: Extract | None, is_known: Callable[[Result, int], bool]) -> None:
        self._extract = extract
        self._is_known = is_known
        self._kept: list[Kept] = []
        self._chunks: dict[int, Chunk] = {}

    def add(self, number: int, chunk: Chunk, notes: Notes, *, is_own: bool) -> None:
        messages = read_results(chunk)
        notes.malformed["results"] += messages.count(None)
        if is_own:
            notes.own_answers += len(messages)
        else:
            notes.results += len(messages)
        times_ns = chunk.times_ns.tolist()
        self._kept += [
            Kept(message, place(number, row), times_ns[row], is_own)
            for row, message in enumerate(messages)
            if message is not None
        ]
        self._chunks[number] = chunk

    def match(self, requests: Requests, models: Names, notes: Notes) -> Found:
        """Results of these requests; the others stay."""
        rows = requests.rows
        servers: dict[int, Kept] = {}
        own: dict[int, Kept] = {}
        left: list[Kept] = []
        for kept in self._kept:
            row = rows.get(kept.result.id)
            if row is None:
                left.append(kept)
                continue
            answers = own if kept.is_own else servers
            if row in answers:
                notes.duplicate_results += 1
                notes.twice(kept.result.id)
            else:
                answers[row] = kept
        self._kept = left
        found = Found(self._columns(len(rows), servers, own), dict(self._chunks))
        found.waited_us = np.zeros(len(rows), np.int64)
        for row, kept in servers.items():
            found.waited_us[row] = round(kept.result.waited_ms * 1000)
            for order, (model, arrived_ms, outcome) in enumerate(_arrivals(kept.result)):
                found.rows.append(row)
                found.models.append(models[model])
                found.arrivals_us.append(round(arrived_ms * 1000))
                found.outcomes.append(OUTCOME_CODES[outcome])
                found.orders.append(order)
        notes.unanswered += int((found.columns["answered_by"] == NOBODY).sum())
        return found

    def _columns(
        self, count: int, servers: dict[int, Kept], own: dict[int, Kept]
    ) -> dict[str, Any]:
        told = servers | own
        rows = np.fromiter(told, np.int64, len(told))
        results = [kept.result for kept in told.values()]

        def placed(values: Any, missing: Any, kind: Any) -> npt.NDArray[Any]:
            column = np.full(count, missing, kind)
            column[rows] = values
            return column

        def named(values: list[str | None]) -> Coded:
            coded = Names().coded(values)
            return Coded(placed(coded.codes, NONE, np.int32), coded.names)

        answered_by = np.full(count, NOBODY, np.uint8)
        answered_by[list(servers)] = SERVER
        answered_by[list(own)] = PROXY
        columns = {
            "kind": placed([KIND_CODES[r.kind] for r in results], 0, np.uint8),
            "model": named([r.model for r in results]),
            "version": named([r.version for r in results]),
            "step": placed([min(r.step, 32_767) for r in results], 0, np.int16),
            "waited_ms": placed([r.waited_ms for r in results], np.nan, np.float64),
            "label": named([r.schedule for r in results]),
            "answered_by": answered_by,
            "result_at": _places(count, servers),
            "own_at": _places(count, own),
        }
        if (extract := self._extract) is not None:
            values = [extract.of_json(bytes(r.result)) for r in results]
            columns["told"] = placed(values, np.nan, np.float64)
        return columns

    def forget(self, until_ns: int | None, notes: Notes) -> None:
        """Give up what was appended before then (None: everything)."""
        left: list[Kept] = []
        for kept in self._kept:
            if until_ns is not None and kept.time_ns >= until_ns:
                left.append(kept)
            elif kept.is_own and kept.result.reason.startswith(NOT_ASKED):
                notes.not_asked += 1
            elif self._is_known(kept.result, kept.time_ns):
                notes.stray(kept.result.id)
            else:
                notes.orphan_results += 1
        self._kept = left
        wanted = {kept.at >> 32 for kept in left}
        self._chunks = {n: chunk for n, chunk in self._chunks.items() if n in wanted}


def _places(count: int, kept: dict[int, Kept]) -> npt.NDArray[np.int64]:
    column = np.full(count, NOWHERE, np.int64)
    column[list(kept)] = [one.at for one in kept.values()]
    return column


def _arrivals(result: Result) -> list[tuple[str, float, Outcome]]:
    return [(a.model, a.arrived_ms, a.outcome) for a in result.arrived]
