"""How long each model has evaluated, as its scores say: the time of a batch, over its size.

It is the time that passed in the worker, which is its CPU time where the model computes on one
thread; a model that waits for another service uses less, one with threads of its own more.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from rdv.analysis.dataset.chunk import decode_chunk
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources
from rdv.rendezvous.topology import SCORES


class _Line(msgspec.Struct, gc=False):
    """The fields of a score that are needed here."""

    version: str = ""
    evaluation_ms: float = 0.0
    batch_size: int = 1
    refusal: str | None = None
    error: str | None = None


_decoder = msgspec.json.Decoder(_Line)


@dataclass
class TimeUsed:
    """The reports of one model."""

    evaluated: int = 0
    evaluation_ms: float = 0.0
    """The sum over its requests of the time of their batch over its size."""
    refused: int = 0
    errors: int = 0
    versions: dict[str, int] | None = None

    @property
    def per_request_ms(self) -> float | None:
        """The mean of the requests that it has evaluated; None without any."""
        return self.evaluation_ms / self.evaluated if self.evaluated else None


def time_used(
    recorded: Recorded, since_ns: int | None = None, until_ns: int | None = None
) -> dict[str, TimeUsed]:
    """Return what the scores of [since_ns, until_ns) say, by model. Raises SystemFaults."""
    found: dict[str, TimeUsed] = {}
    for source in sources(recorded.stream(SCORES)):
        one = found.setdefault(source.topic, TimeUsed(versions={}))
        start = source.begin if since_ns is None else source.offset_at(since_ns)
        for chunk in source.chunks(start, source.offset_at(until_ns), Notes()):
            for line in decode_chunk(chunk, _decoder.decode_lines, _decoder.decode):
                if line is not None:
                    _add(one, line)
    return found


def _add(one: TimeUsed, line: _Line) -> None:
    if line.refusal is not None:
        one.refused += 1
        return
    one.evaluated += 1
    one.evaluation_ms += line.evaluation_ms / max(1, line.batch_size)
    if line.error is not None:
        one.errors += 1
    elif one.versions is not None:
        one.versions[line.version] = one.versions.get(line.version, 0) + 1
