"""The stream `outcomes` has what turned out to be true, by request.

A line is a `Truth`: the request's `id` and its `outcome`, a bare value or an object; which part of
it counts, says the `Reading`. All topics of the stream are read (each proxy has one, and
`rdv outcome`). Of several outcomes of one request the latest counts: by the time given with it, but
no later than its append time; of equal ones the one appended later. `null` takes an outcome back.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.analysis.dataset.chunk import Chunk, decode_chunk
from rdv.analysis.dataset.joined import Joined
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.analysis.dataset.values import Extract
from rdv.payload import is_readable, read_recorded
from rdv.rendezvous.messages import Truth, decode_truth
from rdv.rendezvous.topology import OUTCOMES

OUTCOMES_MAX = 20_000_000
"""The maximum number of outcomes that are kept, at about 100 bytes each."""


_truth_lines = msgspec.json.Decoder(Truth).decode_lines


class Outcomes:
    """Truths by request id, as they were at `now_ns`. Read-only after construction."""

    def __init__(self, truths: dict[bytes, bytes], now_ns: int | None = None) -> None:
        self._truths = truths
        self._now_ns = time.time_ns() if now_ns is None else now_ns

    def __len__(self) -> int:
        return len(self._truths)

    def raw(self, id_: str) -> bytes | None:
        """Return the JSON of a request's truth; None if it is not known, or was taken back."""
        found = self._truths.get(id_.encode())
        return None if found == b"null" else found

    def of(self, joined: Joined, extract: Extract) -> npt.NDArray[np.float64]:
        """Return the value of each request's truth, (n,); NaN where it is not known.

        A request that is older than `mature_after_ms` of [outcome] and has no outcome has the
        outcome `mature_as`.
        """
        reading = extract.reading
        found = np.full(len(joined), np.nan)
        if reading.mature_after_ms:
            before_ns = self._now_ns - reading.mature_after_ms * 10**6
            found[joined.append_ns < before_ns] = extract.of_outcome(reading.mature_as)
        if not (truths := self._truths):
            return found
        cache: dict[bytes, float] = {}
        for row, id_ in enumerate(joined.ids.tolist()):
            raw = truths.get(id_)
            if raw is None:
                continue
            if raw not in cache:
                cache[raw] = extract.of_truth(read_recorded(raw))
            found[row] = cache[raw]
        return found


def read_truths(chunk: Chunk) -> list[Truth | None]:
    """Return an outcome for each record; None for a record that is not one."""
    return decode_chunk(chunk, _truth_lines, decode_truth)


class KnownTruth(NamedTuple):
    """One outcome of a request, and when it was known."""

    truth: Truth
    time_ns: int


def outcomes_of(recorded: Recorded, id_: str, notes: Notes) -> list[KnownTruth]:
    """Return all recorded outcomes of one request, the one that counts last.

    Raises the log's SystemFaults.
    """
    wanted = id_.encode()
    found: list[tuple[int, int, Truth]] = []
    for source in sources(recorded.stream(OUTCOMES)):
        for chunk in source.chunks(source.begin, source.end, notes):
            if wanted not in chunk.blob():
                continue
            for truth, append_ns in zip(read_truths(chunk), chunk.times_ns.tolist(), strict=True):
                if truth is not None and truth.id == id_:
                    time_ns = truth.counts_from_ns(append_ns)
                    found.append((time_ns, append_ns, truth))
    found.sort(key=lambda one: one[:2])
    return [KnownTruth(truth, time_ns) for time_ns, _, truth in found]


def read_outcomes(recorded: Recorded, notes: Notes) -> Outcomes:
    """Read all recorded outcomes, of any time. Raises the log's SystemFaults."""
    truths: dict[bytes, bytes] = {}
    ranks: dict[bytes, tuple[int, int]] = {}
    for source in sources(recorded.stream(OUTCOMES)):
        for chunk in source.chunks(source.begin, source.end, notes):
            lines = read_truths(chunk)
            notes.malformed[OUTCOMES] += lines.count(None)
            for truth, append_ns in zip(lines, chunk.times_ns.tolist(), strict=True):
                if truth is None:
                    continue
                outcome = bytes(truth.outcome)
                if not is_readable(outcome):
                    notes.unreadable[OUTCOMES] += 1
                    continue
                id_ = truth.id.encode()
                rank = truth.counts_from_ns(append_ns), append_ns
                known = ranks.get(id_)
                if rank >= known if known is not None else len(ranks) < OUTCOMES_MAX:
                    truths[id_], ranks[id_] = outcome, rank
    if len(truths) >= OUTCOMES_MAX:
        notes.gap(f"only the first {OUTCOMES_MAX:,} outcomes are used")
    return Outcomes(truths)
