"""Read one partition of a topic by ranges of offsets, and cut a log into intervals of time.

Damage is noted and skipped; each interval has a bounded number of requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rdv.analysis.dataset.arrays import binaries
from rdv.analysis.dataset.chunk import Chunk
from rdv.analysis.dataset.notes import Notes
from rdv.stream import Record, TopicPartition, pass_over
from rdv.stream.errors import OffsetOutOfRange, RecordsDamaged, RecordsLost
from rdv.stream.files import FileStream

CHUNK_RECORDS = 65_536
CHUNK_BYTES = 16 * 1024 * 1024
POLL_RECORDS = 5_000
_SAMPLES = 16
"""How many append times are sampled for each window's worth of requests."""


class Source:
    """Not thread-safe. Safe while other processes write: what is appended later is not seen."""

    def __init__(self, stream: FileStream, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self._stream = stream
        self.missing = stream.missing(topic, partition)
        """Set if the partition's directory has been deleted."""
        self.begin, self.end = stream.begin(topic, partition), stream.end(topic, partition)

    def offset_at(self, time_ns: int | None) -> int:
        """Return the first offset appended at or after `time_ns`; the end for None, or later."""
        if time_ns is None:
            return self.end
        at = self._stream.offset_at(self.topic, self.partition, max(time_ns, 0))
        return min(at, self.end)

    def time_at(self, offset: int) -> int:
        """Return when a record was appended; 0 if it is gone or damaged."""
        try:
            times_ns = self.times_ns(offset, offset + 1)
        except (RecordsDamaged, RecordsLost):
            return 0
        return int(times_ns[0])

    def chunks(self, start: int, stop: int, notes: Notes) -> Iterator[Chunk]:
        """Yield the records `start` to `stop` in chunks of bounded size; note what is gone."""
        self.note_missing(notes)
        start = max(start, self.begin)
        # Without an index there are no segments, only damage.
        bases = [*(self._stream.segments(self.topic, self.partition) or [start]), stop]
        for base, next_base in pairwise(bases):
            low, high = max(start, base), min(stop, next_base)
            while low < high:
                step = min(high, low + CHUNK_RECORDS)
                yield from self._range(low, step, notes)
                low = step

    def note_missing(self, notes: Notes) -> None:
        """Note once that the partition is gone; how much was in it is not known."""
        if self.missing is not None and (text := self.missing.text()) not in notes.gaps:
            notes.damaged += 1
            notes.gap(text)

    def _range(self, low: int, high: int, notes: Notes) -> Iterator[Chunk]:
        try:
            lines = self._stream.read_arrow(self.topic, self.partition, low, high)
            times_ns = self.times_ns(low, high)
        except (RecordsDamaged, RecordsLost, OffsetOutOfRange):
            yield from self._carefully(low, high, notes)
            return
        at = low
        for part in lines.chunks:
            offsets = np.arange(at, at + len(part), dtype=np.int64)
            yield from _sized(self._chunk(part, times_ns[at - low :][: len(part)], offsets, notes))
            at += len(part)

    def _chunk(
        self,
        part: pa.Array[Any],
        times_ns: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        notes: Notes,
    ) -> Chunk:
        if part.null_count:
            there = part.is_valid().to_numpy(zero_copy_only=False)
            notes.lost += int(part.null_count)
            notes.gap(f"{self.name} has records that a repair has given up")
            part, times_ns, offsets = part.drop_null(), times_ns[there], offsets[there]
        return Chunk(self.topic, self.partition, part, times_ns, offsets)

    @property
    def name(self) -> str:
        """The name of the partition in notes."""
        return f"{self._stream.address}:{self.topic}/{self.partition}"

    def _carefully(self, low: int, high: int, notes: Notes) -> Iterator[Chunk]:
        """Read record by record, around what is damaged or lost."""
        with self._stream.consumer([self.topic], partitions=[self.partition], start=low) as reader:
            at = low
            while at < high:
                try:
                    records = reader.poll(min(POLL_RECORDS, high - at))
                except RecordsDamaged as error:
                    last = min(error.last_offset, high - 1)
                    notes.damaged += last - error.first_offset + 1
                    notes.gap(f"{error.text()}")
                    if not pass_over(reader, error):
                        return
                    at = reader.positions()[TopicPartition(self.topic, self.partition)]
                    continue
                except OffsetOutOfRange as error:
                    notes.lost += high - at
                    notes.gap(f"{self.name} ends at offset {error.end}, and has ended at {high}")
                    return
                except RecordsLost as error:
                    notes.lost += min(error.last_offset, high - 1) - at + 1
                    notes.gap(f"{self.name} begins at offset {error.last_offset + 1} by retention")
                    at = error.last_offset + 1
                    continue
                if not records:
                    return
                at = records[-1].offset + 1
                if found := [record for record in records if record.offset < high]:
                    yield from _sized(self._of_records(found))

    def _of_records(self, records: list[Record]) -> Chunk:
        lines = binaries([record.value for record in records])
        times_ns = np.array([record.timestamp_ns for record in records], np.int64)
        offsets = np.array([record.offset for record in records], np.int64)
        return Chunk(self.topic, self.partition, lines, times_ns, offsets)

    def times_ns(self, low: int, high: int) -> npt.NDArray[np.int64]:
        """Return append times, from the index alone.

        Raises RecordsDamaged, and RecordsLost if retention deleted some of them.
        """
        return self._stream.times_ns(self.topic, self.partition, low, high)


def _sized(chunk: Chunk) -> Iterator[Chunk]:
    """Yield the chunk in parts of bounded bytes; a single record may have more."""
    if not len(chunk):
        return
    ends = np.concatenate(([0], chunk.ends()))
    at = 0
    while at < len(chunk):
        after = int(np.searchsorted(ends, ends[at] + CHUNK_BYTES, "right")) - 1
        stop = min(len(chunk), max(after, at + 1))
        if at == 0 and stop == len(chunk):
            yield chunk
            return
        yield Chunk(
            chunk.topic,
            chunk.partition,
            chunk.lines[at:stop],
            chunk.times_ns[at:stop],
            chunk.offsets[at:stop],
        )
        at = stop


def sources(stream: FileStream | None, topics: list[str] | None = None) -> list[Source]:
    """Return the partitions of the topics (None: all) that ever had a record, or are missing."""
    if stream is None:
        return []
    there = stream.topics()
    return [
        source
        for topic in (there if topics is None else [t for t in topics if t in there])
        for number in range(stream.partitions(topic))
        if (source := Source(stream, topic, number)).end or source.missing is not None
    ]


def windows(
    sources: Sequence[Source], since_ns: int | None, until_ns: int | None, requests_max: int
) -> list[tuple[int | None, int | None]]:
    """Return consecutive bounds in append time, each of about `requests_max` requests at most.

    None is the beginning, or the end, of the log. Requests of the same instant stay together.
    """
    stride = max(1, requests_max // _SAMPLES // max(1, len(sources)))
    samples: list[int] = []
    total = 0
    for source in sources:
        start = source.begin if since_ns is None else source.offset_at(since_ns)
        stop = source.offset_at(until_ns)
        total += stop - start
        samples += [source.time_at(offset) for offset in range(start + stride, stop, stride)]
    if total <= requests_max:
        return [(since_ns, until_ns)]
    samples.sort()
    every = max(1, requests_max // stride - len(sources))
    cuts = sorted(set(samples[every - 1 :: every]))
    if since_ns is not None:
        cuts = [cut for cut in cuts if cut > since_ns]
    bounds = [since_ns, *cuts, until_ns]
    return list(pairwise(bounds))
