"""Read what is recorded: the requests of the decision, and the streams of the copy after the drill.

The requests are read from the files as text, without opening the stream, so nothing in the
directory is created, locked or notified. Lines that are torn or damaged are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import msgspec

from rdv.decision import Decision
from rdv.load.drill.damaging import DamagedFile
from rdv.load.drill.verdict import Record, RecordedAnswer
from rdv.rendezvous.messages import MalformedMessage, Request, decode_request, decode_result
from rdv.rendezvous.topology import BACKSTOP_SUFFIX, INPUT, RESULTS
from rdv.stream import Record as StreamRecord
from rdv.stream import lost_count, open_stream, pass_over
from rdv.stream.errors import RecordsDamaged, RecordsLost
from rdv.stream.files import files_of, values_of

ROWS_MAX = 5_000
_TAIL_BYTES = 8 * 1024 * 1024
_FILES_MAX = 64


class _Body(msgspec.Struct, omit_defaults=True):
    data: msgspec.Raw
    key: str | None = None
    schedule: str | dict[str, object] | None = None


def recorded_bodies(input_stream: str) -> list[bytes]:
    """Return the bodies of the latest requests, oldest first; empty if there are none.

    Their data is as the models saw it, including what an enricher has added.
    """
    files = values_of(input_stream)
    requests: list[Request] = []
    for path in sorted(files, key=_changed, reverse=True)[:_FILES_MAX]:
        requests += _requests(path)
        if len(requests) >= ROWS_MAX:
            break
    requests.sort(key=lambda request: request.time_ns)
    return [_body(request) for request in requests[-ROWS_MAX:]]


def _changed(path: str) -> float:
    try:
        return os.path.getmtime(path)
    except OSError:
        return 0.0


def _requests(path: str) -> list[Request]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).split(b"\n")
    except OSError:  # retention has deleted it
        return []
    found = []
    for line in lines[-ROWS_MAX:]:
        try:
            found.append(decode_request(line))
        except MalformedMessage:
            continue
    return found


def _body(request: Request) -> bytes:
    # A schedule of a cohort is chosen by the proxy.
    schedule = request.schedule if request.cohort is None else None
    return msgspec.json.encode(_Body(request.data, request.key, schedule))


_POLL_RECORDS = 10_000


def read_record(decision: Decision, damaged_files: Iterable[DamagedFile]) -> Record:
    """Read everything that is recorded. Raises RdvErrors for streams that cannot be opened."""
    answers: dict[str, RecordedAnswer] = {}
    own: dict[str, RecordedAnswer] = {}
    twice: list[str] = []
    results = Reading(decision.stream_path(RESULTS))
    for record in results:
        try:
            result = decode_result(record.value)
        except MalformedMessage:
            continue
        known = own if record.topic.endswith(BACKSTOP_SUFFIX) else answers
        if result.id in known:
            twice.append(result.id)
        known[result.id] = RecordedAnswer(
            result.kind, result.model, result.schedule, result.answered_by
        )
    logged = set()
    requests = Reading(decision.stream_path(INPUT))
    for record in requests:
        try:
            logged.add(decode_request(record.value).id)
        except MalformedMessage:
            continue
    return Record(
        answers | own,
        [id_ for id_ in dict.fromkeys(twice) if id_ != "x"],
        frozenset(logged),
        requests.damaged,
        [
            os.path.relpath(file.path, decision.directory)
            for file in damaged_files
            if not _is_named(file)
        ],
    )


class Reading:
    """All readable records of a stream; `damaged` counts the damaged ones."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.damaged = 0

    def __iter__(self) -> Iterator[StreamRecord]:
        with open_stream(self._path, create=False) as stream, stream.consumer() as consumer:
            while True:
                try:
                    records = consumer.poll(_POLL_RECORDS)
                except (RecordsDamaged, RecordsLost) as error:
                    if isinstance(error, RecordsDamaged):
                        self.damaged += lost_count(error)
                    if not pass_over(consumer, error):
                        return
                    continue
                if not records:
                    return
                yield from records


def _is_named(file: DamagedFile) -> bool:
    """Return whether `verify` names the damaged file's segment, or retention has deleted it."""
    with open_stream(file.stream, create=False) as opened:
        stream = files_of(opened)
        first = stream.segments(file.topic, file.partition)[:1]
        reports = list(stream.verify(file.topic, file.partition))
    base = int(os.path.splitext(os.path.basename(file.path))[0])
    named = any(file.is_of(one.path) for report in reports for one in report.damage)
    return named or not first or base < first[0]
