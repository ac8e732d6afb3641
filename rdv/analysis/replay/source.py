"""Read recorded requests in order: from the input stream, or from a decoy's archive."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from rdv.analysis.dataset.chunk import Chunk, read_requests
from rdv.analysis.dataset.join import Feeds
from rdv.analysis.dataset.notes import Notes
from rdv.analysis.dataset.places import Recorded
from rdv.analysis.dataset.source import sources, windows
from rdv.analysis.errors import NoArchive
from rdv.models import Takes
from rdv.rendezvous.messages import MalformedMessage, Request, decode_request
from rdv.rendezvous.topology import INPUT
from rdv.system.faults import faults

WINDOW_REQUESTS = 10_000
ARCHIVE_READ_BYTES = 4 * 1024 * 1024
ARCHIVE_LINE_BYTES_MAX = 64 * 1024 * 1024
_ARCHIVE = re.compile(r"(\d{4}-\d\d-\d\d)(?:\.(\d+))?\.jsonl", re.ASCII)
_decode_lines = msgspec.json.Decoder(Request).decode_lines


@dataclass(frozen=True)
class Stretch:
    """Some consecutive requests. `append_ns` of an archive's requests are the proxy's own times."""

    requests: list[Request]
    rows: list[bytes]
    """The rows in the form that the model takes."""
    append_ns: list[int]

    def take(self, numbers: list[int]) -> Stretch:
        """Return some of the requests, in this order."""
        return Stretch(
            [self.requests[n] for n in numbers],
            [self.rows[n] for n in numbers],
            [self.append_ns[n] for n in numbers],
        )

    def first_of_each(self) -> Stretch:
        """Return the requests without those whose id has occurred before."""
        firsts: dict[str, int] = {}
        for number, request in enumerate(self.requests):
            firsts.setdefault(request.id, number)
        return self.take(list(firsts.values()))


def row_of(takes: Takes, request: Request, line: bytes) -> bytes:
    """Return what `predict` is given for a request: the same bytes as from a worker."""
    return line if takes == "lines" else bytes(request.data)


class InputSource:
    """The input stream: all proxies and partitions by append time, as one instance sees it.

    Within a partition that is its order. Can be iterated once. Raises the log's SystemFaults.
    """

    def __init__(
        self, recorded: Recorded, takes: Takes, since_ns: int | None, until_ns: int | None
    ) -> None:
        self.notes = Notes()
        self._takes = takes
        parts = sources(recorded.stream(INPUT))
        self._windows = windows(parts, since_ns, until_ns, WINDOW_REQUESTS)
        self._feeds = Feeds(parts, since_ns)
        self._feeds.note_gaps(self.notes)
        self.total = sum(part.offset_at(until_ns) - first for part, first in self._feeds.left())

    def __iter__(self) -> Iterator[Stretch]:
        for _, until_ns in self._windows:
            chunks = list(self._feeds.read_until(until_ns, self.notes))
            if stretch := self._ordered(chunks):
                yield stretch

    def _ordered(self, chunks: list[Chunk]) -> Stretch | None:
        found: list[Request] = []
        rows: list[bytes] = []
        times: list[int] = []
        for chunk in chunks:
            messages, appended = read_requests(chunk), chunk.times_ns.tolist()
            there = [n for n, message in enumerate(messages) if message is not None]
            requests = [message for message in messages if message is not None]
            self.notes.malformed["input"] += len(messages) - len(requests)
            found += requests
            if self._takes == "lines":
                rows += [chunk.line(number) for number in there]
            else:
                rows += [bytes(request.data) for request in requests]
            times += appended if len(there) == len(appended) else [appended[n] for n in there]
        if not found:
            return None
        stretch = Stretch(found, rows, times)
        if len(chunks) > 1:
            stretch = stretch.take(np.argsort(np.array(times), kind="stable").tolist())
        if extra := len(found) - len({request.id for request in found}):
            self.notes.duplicate_requests += extra
            stretch = stretch.first_of_each()
        self.notes.requests += len(stretch.requests)
        return stretch


class ArchiveSource:
    """A decoy's archive: the requests exactly as models saw them. Can be iterated once.

    Bounds are of the proxy's time. Raises NoArchive, SystemFaults.
    """

    def __init__(
        self,
        directory: str,
        name: str,
        takes: Takes,
        since_ns: int | None,
        until_ns: int | None,
    ) -> None:
        self.notes = Notes()
        self.total = 0
        self._takes = takes
        self._since_ns, self._until_ns = since_ns, until_ns
        folder = os.path.join(directory, "decoy", name)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        matches = sorted(
            (match[1], int(match[2] or 0), match[0])
            for match in map(_ARCHIVE.fullmatch, names)
            if match is not None
        )
        if not matches:
            raise NoArchive(directory, name)
        self._paths = [os.path.join(folder, file) for _, _, file in matches]

    def __iter__(self) -> Iterator[Stretch]:
        for path in self._paths:
            with faults(path, "read"), open(path, "rb") as file:
                rest = b""
                while data := file.read(ARCHIVE_READ_BYTES):
                    whole, newline, rest = (rest + data).rpartition(b"\n")
                    if newline and (stretch := self._stretch(whole + newline)):
                        yield stretch
                    if len(rest) > ARCHIVE_LINE_BYTES_MAX:
                        rest = b""
                        self.notes.malformed["archive"] += 1
                self.notes.malformed["archive"] += bool(rest)

    def _stretch(self, blob: bytes) -> Stretch | None:
        lines = [line + b"\n" for line in blob[:-1].split(b"\n")]
        found: list[Request | None]
        try:
            blob.decode()
            found = list(_decode_lines(blob))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = []
        if len(found) != len(lines):
            found = [_decoded(line) for line in lines]
        requests, rows = [], []
        for request, line in zip(found, lines, strict=True):
            if request is None:
                self.notes.malformed["archive"] += 1
            elif self._is_meant(request.time_ns):
                requests.append(request)
                rows.append(row_of(self._takes, request, line))
        self.notes.requests += len(requests)
        if not requests:
            return None
        return Stretch(requests, rows, [request.time_ns for request in requests])

    def _is_meant(self, time_ns: int) -> bool:
        if self._since_ns is not None and time_ns < self._since_ns:
            return False
        return self._until_ns is None or time_ns < self._until_ns


def _decoded(line: bytes) -> Request | None:
    try:
        return decode_request(line)
    except MalformedMessage:
        return None
