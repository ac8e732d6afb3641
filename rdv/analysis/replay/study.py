"""The replay sends every recorded request through the model, in batches as large as allowed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from rdv.analysis.dataset.join import collector_paused
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.values import Extract
from rdv.analysis.replay.child import ERROR, NOTHING, RESULT, Evaluated
from rdv.analysis.replay.evaluator import Evaluator, Job
from rdv.analysis.replay.result import Replayed
from rdv.analysis.replay.rows import Row, Spill
from rdv.analysis.replay.source import Stretch, row_of
from rdv.rendezvous.messages import Request, encode_request

PROBED = 50
"""At least this many of the first requests are evaluated a second time at the end."""

Keep = Callable[[list[Row]], None]
Batch = tuple[list[Request], list[int]]


class Requests(Protocol):
    """The source of the requests."""

    notes: Notes
    total: int
    """The number of requests; 0 if it is not known."""

    def __iter__(self) -> Iterator[Stretch]: ...


class Recorder:
    """Counts the outcomes, keeps them for the comparison, and passes them on to a file."""

    def __init__(
        self,
        found: Replayed,
        spill: Spill,
        make_extract: Callable[[bytes], Extract],
        keep: Keep | None = None,
    ) -> None:
        self.extract: Extract | None = None
        """The extract, made from the model's first answer."""
        self._found, self._spill, self._keep = found, spill, keep
        self._make_extract = make_extract
        self._first: list[tuple[list[Request], Evaluated]] = []

    def evaluated(
        self,
        requests: list[Request],
        append_ns: list[int],
        evaluated: Evaluated,
        waited_ms: list[float] | None = None,
    ) -> None:
        """Record a batch's outcomes."""
        self._found.requests += len(requests)
        self._found.count(evaluated)
        if self._found.requests - len(requests) < PROBED:
            self._first.append((requests, evaluated))
        codes, texts = evaluated.codes, evaluated.texts
        if self.extract is None and RESULT in codes:
            self.extract = self._make_extract(texts[codes.index(RESULT)])
        if self.extract is None:
            values = [math.nan] * len(codes)
        else:
            value_of = self.extract.of_json
            pairs = zip(codes, texts, strict=True)
            values = [math.nan if code else value_of(text) for code, text in pairs]
        ids = [request.id for request in requests]
        self._spill.add(ids, append_ns, values, codes)
        if self._keep is not None:
            self._keep(_rows(requests, evaluated, waited_ms))

    def has_state(self, evaluator: Evaluator) -> bool:
        """Ask the model its first batches once more, after all others: are its answers others?

        They are if it keeps state, or draws by chance. Raises what `Evaluator.run` raises.
        """
        if evaluator.ends:
            return False
        takes: Any = evaluator.takes
        for requests, before in self._first:
            rows = [row_of(takes, one, encode_request(one)) for one in requests]
            again = evaluator.evaluate(rows)
            pairs = zip(before.codes, again.codes, before.texts, again.texts, strict=True)
            if any(a == b == RESULT and was != now for a, b, was, now in pairs):
                return True
        return False

    def refused(self, request: Request, append_ns: int, refusal: str) -> None:
        """Record a request for which the model was too late."""
        self._found.requests += 1
        self._found.refused += 1
        self._spill.add([request.id], [append_ns], [math.nan], bytes([NOTHING]))
        if self._keep is not None:
            self._keep([Row(request.id, request.time_ns, refusal=refusal)])


def _rows(
    requests: list[Request], evaluated: Evaluated, waited_ms: list[float] | None
) -> list[Row]:
    size = len(requests)
    took_ms = evaluated.took_ns / 1e6
    return [
        Row(
            request.id,
            request.time_ns,
            text if code == RESULT else None,
            text.decode("utf-8", "replace") if code == ERROR else None,
            None,
            took_ms,
            size,
            None if waited_ms is None else waited_ms[number],
        )
        for number, (request, code, text) in enumerate(
            zip(requests, evaluated.codes, evaluated.texts, strict=True)
        )
    ]


def replay(
    source: Requests,
    evaluator: Evaluator,
    recorder: Recorder,
    found: Replayed,
    *,
    batch_max: int,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Replay all requests, as quickly as the model can.

    Raises ModelKeepsEnding, TooManyValues, the log's SystemFaults.
    """
    began_s = time.monotonic()
    with (
        collector_paused(),
        contextlib.closing(evaluator.run(_jobs(source, batch_max))) as outcomes,
    ):
        for job, evaluated in outcomes:
            requests, append_ns = job.about
            recorder.evaluated(requests, append_ns, evaluated)
            progress(len(requests))
            found.seconds = time.monotonic() - began_s
    found.ends = evaluator.ends
    found.notes = source.notes


def feed(
    source: Requests,
    evaluator: Evaluator,
    *,
    batch_max: int,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Feed requests to the model whose answers do not count; return how many.

    Raises what `replay` raises.
    """
    fed = 0
    with (
        collector_paused(),
        contextlib.closing(evaluator.run(_jobs(source, batch_max))) as outcomes,
    ):
        for job, _ in outcomes:
            fed += len(job.rows)
            progress(len(job.rows))
    return fed


def _jobs(source: Requests, batch_max: int) -> Iterator[Job[Batch]]:
    """Yield full batches, independent of the source's parts; only the last one may be smaller."""
    requests: list[Request] = []
    rows: list[bytes] = []
    times: list[int] = []
    for stretch in source:
        requests += stretch.requests
        rows += stretch.rows
        times += stretch.append_ns
        whole = len(requests) - len(requests) % batch_max
        for at in range(0, whole, batch_max):
            to = at + batch_max
            yield Job(rows[at:to], (requests[at:to], times[at:to]))
        requests, rows, times = requests[whole:], rows[whole:], times[whole:]
    if requests:
        yield Job(rows, (requests, times))
