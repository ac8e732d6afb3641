"""Collect the requests of one window, by append time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.arrays import strings
from rdv.analysis.dataset.chunk import Chunk, read_requests
from rdv.analysis.dataset.joined import Names, place
from rdv.analysis.dataset.notes import Notes
from rdv.payload import text_of
from rdv.rendezvous.messages import Request
from rdv.rendezvous.schedule import SLA_MS_MAX
from rdv.rendezvous.topology import INPUT


class Requests:
    """Chunks are added, then `finish` is called. For one thread at a time."""

    def __init__(self) -> None:
        self._found: list[Request] = []
        self._places: list[npt.NDArray[np.int64]] = []
        self._times: list[npt.NDArray[np.int64]] = []
        self.chunks: dict[int, Chunk] = {}
        self.rows: dict[str, int] = {}
        """The row of each id."""
        self.not_asked: list[tuple[int, list[str]]] = []
        """Rows, and the models that were not to score them."""
        self.until_ns: npt.NDArray[np.int64] | None = None
        """By row: messages that were appended later do not count; None: all of them count."""

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, number: int, chunk: Chunk, notes: Notes) -> None:
        messages = read_requests(chunk)
        rows = np.arange(len(chunk))
        if missing := messages.count(None):
            notes.malformed[INPUT] += missing
            rows = np.array([n for n, m in enumerate(messages) if m is not None], np.int64)
        found = [message for message in messages if message is not None]
        self.add_found(found, place(number, rows), chunk.times_ns[rows])
        self.chunks[number] = chunk

    def add_found(
        self, found: list[Request], places: npt.NDArray[np.int64], times_ns: npt.NDArray[np.int64]
    ) -> None:
        """Add requests that have been read already; `chunks` must get the chunks of their lines."""
        self._found += found
        self._places.append(places)
        self._times.append(times_ns)

    def finish(self, notes: Notes) -> None:
        """Order the requests, after all chunks of the window have been added."""
        if not self._found:
            return
        times_ns = np.concatenate(self._times)
        sequence = np.argsort(times_ns, kind="stable")
        found = [self._found[n] for n in sequence.tolist()]
        rows: dict[str, int] = {}
        for row, request in enumerate(found):
            rows.setdefault(request.id, row)
        if len(rows) < len(found):
            notes.duplicate_requests += len(found) - len(rows)
            kept = np.fromiter(rows.values(), np.int64, len(rows))
            found = [found[n] for n in kept.tolist()]
            sequence = sequence[kept]
            rows = {request.id: row for row, request in enumerate(found)}
        notes.requests += len(found)
        self.rows, self._found = rows, found
        self.not_asked = [(n, one.not_asked) for n, one in enumerate(found) if one.not_asked]
        self.append_ns = times_ns[sequence]
        self.request_at = np.concatenate(self._places)[sequence]

    def longest_ms(self) -> float:
        """Return the longest time in ms that a request may wait for its answer; 0: no limit."""
        longest_ms = max((r.deadline_ms or 0.0 for r in self._found), default=0.0)
        return min(longest_ms, SLA_MS_MAX)

    def columns(self) -> dict[str, Any]:
        """Return the columns that requests contribute to a join."""
        found, count = self._found, len(self._found)
        longest = max((len(request.id) for request in found), default=1)
        ids = [request.id.encode() for request in found]
        deadlines = [np.nan if r.deadline_ms is None else r.deadline_ms for r in found]
        return {
            "ids": np.array(ids, f"S{max(longest, *map(len, ids))}"),
            "time_ns": np.fromiter((request.time_ns for request in found), np.int64, count),
            "append_ns": self.append_ns,
            "host": Names().coded([request.host for request in found]),
            "proxy": Names().coded([request.reply_to for request in found]),
            "key": strings([request.key for request in found]),
            "cohort": Names().coded([request.cohort for request in found]),
            "asked": Names().coded([_asked(request) for request in found]),
            "deadline_ms": np.array(deadlines, np.float64),
            "request_at": self.request_at,
            "propensity": _propensities(found),
            "names_models": np.array([request.names_models for request in found], bool),
        }


def _propensities(found: list[Request]) -> npt.NDArray[np.float64]:
    given = [np.nan if one.propensity is None else one.propensity for one in found]
    return np.array(given, np.float64)


def _asked(request: Request) -> str | None:
    wanted = request.schedule
    if wanted is None or isinstance(wanted, str):
        return wanted
    return text_of(wanted).decode()  # a default's keys keep their order, like its answer
