"""Read what is new in a stream's partitions, from saved positions on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from rdv.analysis.dataset.chunk import Chunk
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.source import Source, sources
from rdv.stream import open_stream
from rdv.stream.errors import StreamNotFound
from rdv.stream.files import FileStream, files_of

_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


class ControlRecord(NamedTuple):
    """One record of `control`: a status line, a model's state, a schedule, an event."""

    topic: str
    time_ns: int
    """When it was appended."""
    fields: dict[str, Any]


class Feed:
    """The partitions of one stream, with the next offset of each. For one thread at a time.

    Partitions and topics that are made later are found by `look`. Opening creates nothing.
    """

    def __init__(self, directory: str, stream: str, at: dict[str, int]) -> None:
        self._path = os.path.join(directory, stream)
        self._stream: FileStream | None = None
        self.at = dict(at)
        """The next offset by partition, named "topic/number"."""
        self.parts: list[Source] = []
        """The partitions as they were at the last `look`."""
        self._lost = 0
        """How many records retention has deleted unread, that are not noted yet."""

    def look(self, topics: Collection[str] | None = None) -> None:
        """Find the partitions and their ends, as they are now. Raises the log's SystemFaults."""
        if self._stream is None:
            with contextlib.suppress(StreamNotFound):
                self._stream = files_of(open_stream(self._path, look=True))
        self.parts = sources(self._stream, None if topics is None else list(topics))
        for part in self.parts:
            name = name_of(part)
            at = self.at.setdefault(name, part.begin)
            if at < part.begin:  # retention was quicker than this reader
                self._lost += part.begin - at
                self.at[name] = part.begin
            elif at > part.end:  # the stream was replaced by a new one
                self.at[name] = part.begin

    def left(self) -> int:
        """Return how many records are not read yet."""
        return sum(part.end - self.at[name_of(part)] for part in self.parts)

    def read(self, stop: Callable[[Source], int], notes: Notes) -> Iterator[Chunk]:
        """Yield what is new up to the offset `stop` of each partition; note what is gone."""
        notes.lost += self._lost
        self._lost = 0
        for part in self.parts:
            name = name_of(part)
            at, end = self.at[name], min(stop(part), part.end)
            if end <= at:
                continue
            yield from part.chunks(at, end, notes)
            self.at[name] = end

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def name_of(part: Source | Chunk) -> str:
    """Return the name of a partition."""
    return f"{part.topic}/{part.partition}"


def read_control(chunk: Chunk) -> Iterator[ControlRecord]:
    """Yield the records of a chunk of `control`; those that are no JSON objects are skipped."""
    for row, time_ns in enumerate(chunk.times_ns.tolist()):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            yield ControlRecord(chunk.topic, time_ns, _decode_fields(chunk.line(row)))
