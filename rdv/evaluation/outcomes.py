"""What turned out to be true, by request: the stream `outcomes`.

A line is JSON with the request's `id` and its `outcome`: a bare value, or an object with the same
field as the answers. Other fields are ignored; of two outcomes of one request the later counts.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from rdv.evaluation.joined import Joined
from rdv.evaluation.notes import Notes
from rdv.evaluation.places import OUTCOMES, OUTCOMES_TOPIC, Recorded
from rdv.evaluation.reading.chunk import decode_chunk
from rdv.evaluation.reading.source import sources
from rdv.evaluation.values import Extract

OUTCOMES_MAX = 20_000_000
"""More are not kept: about 100 bytes each."""


class OutcomeLine(msgspec.Struct, gc=False):
    """One line of `outcomes`."""

    id: str
    outcome: msgspec.Raw


class Outcomes:
    """Truths by request id. Read-only once made."""

    def __init__(self, truths: dict[bytes, bytes]) -> None:
        self._truths = truths

    def __len__(self) -> int:
        return len(self._truths)

    def of(self, joined: Joined, extract: Extract) -> npt.NDArray[np.float64]:
        """(n,): the value of each request's truth; NaN where it is not known.

        `extract` must have seen answers before: they decide whether values are numbers.
        """
        found = np.full(len(joined), np.nan)
        truths = self._truths
        cache: dict[bytes, float] = {}
        for row, id_ in enumerate(joined.ids.tolist()):
            raw = truths.get(id_)
            if raw is None:
                continue
            if raw not in cache:
                cache[raw] = extract.of_truth(msgspec.json.decode(raw))
            found[row] = cache[raw]
        return found


def read_outcomes(recorded: Recorded, notes: Notes) -> Outcomes:
    """All that is on record, whenever it was told. Raises the log's SystemFaults."""
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(OutcomeLine)
    truths: dict[bytes, bytes] = {}
    for source in sources(recorded.stream(OUTCOMES), [OUTCOMES_TOPIC]):
        for chunk in source.chunks(source.begin, source.end, notes):
            lines = decode_chunk(chunk, decoder.decode_lines, decoder.decode)
            notes.malformed["outcomes"] += lines.count(None)
            for line in lines:
                if line is not None and len(truths) < OUTCOMES_MAX:
                    truths[line.id.encode()] = bytes(line.outcome)
    if len(truths) >= OUTCOMES_MAX:
        notes.gap(f"only the first {OUTCOMES_MAX:,} outcomes are used")
    return Outcomes(truths)
