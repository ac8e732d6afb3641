"""Find a request by its id, or by the id's beginning or end, in the bytes of the input."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rdv.evaluation.errors import AmbiguousId, IdTooShort, RequestNotFound
from rdv.evaluation.notes import Notes
from rdv.evaluation.places import INPUT, Recorded
from rdv.evaluation.reading.chunk import Chunk
from rdv.evaluation.reading.source import Source, sources
from rdv.messages import MalformedMessage, Request, decode_request

DIGITS_MIN = 6
WHOLE_DIGITS = 32
FOUND_MAX = 3


class FoundRequest(NamedTuple):
    """A request, and when it was appended."""

    request: Request
    append_ns: int


def find_request(recorded: Recorded, id_: str, when: Callable[[int], str] = str) -> FoundRequest:
    """Return the one request whose id is, begins with or ends with `id_`.

    (Ids of rdv 0.1.0 begin alike and differ in their last digits.) `when` formats a time in ns
    since 1970 for the error. Raises RequestNotFound, AmbiguousId, IdTooShort.
    """
    if len(id_) < DIGITS_MIN:
        raise IdTooShort(id_, DIGITS_MIN)
    text = re.escape(id_.encode())
    pattern = re.compile(rb'"id":"(?:' + text + rb'[^"]*|[^"]*' + text + rb')"')
    notes, found = Notes(), dict[str, FoundRequest]()
    parts = sources(recorded.stream(INPUT))
    for part in parts:
        for chunk in part.chunks(part.begin, part.end, notes):
            for one in _matches(chunk, pattern, id_):
                if one.request.id == id_:
                    return one
                found.setdefault(one.request.id, one)
                if len(found) > FOUND_MAX:
                    raise AmbiguousId(id_, tuple(found)[:FOUND_MAX])
    if len(found) > 1:
        raise AmbiguousId(id_, tuple(found))
    if not found:
        raise RequestNotFound(recorded.directory, id_, _begins(parts, when), tuple(notes.gaps))
    return next(iter(found.values()))


def _matches(chunk: Chunk, pattern: re.Pattern[bytes], id_: str) -> list[FoundRequest]:
    blob = chunk.blob()
    found = []
    for match in pattern.finditer(blob):
        ends = chunk.ends()
        row = int(np.searchsorted(ends, match.start(), "right"))
        try:
            request = decode_request(chunk.line(row))
        except MalformedMessage:
            continue
        # The client's own data may have such a field too.
        if request.id.startswith(id_) or request.id.endswith(id_):
            found.append(FoundRequest(request, int(chunk.times_ns[row])))
    return found


def _begins(parts: list[Source], when: Callable[[int], str]) -> str:
    times_ns = [part.time_at(part.begin) for part in parts if part.begin < part.end]
    known = [time_ns for time_ns in times_ns if time_ns]
    return when(min(known)) if known else ""
