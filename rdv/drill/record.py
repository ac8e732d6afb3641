"""What the copy's streams say after the drill."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from rdv.config import Decision
from rdv.drill.verdict import Record, Told
from rdv.messages import MalformedMessage, decode_request, decode_result
from rdv.stream import Record as StreamRecord
from rdv.stream import open_stream
from rdv.stream.errors import RecordsDamaged, RecordsLost
from rdv.stream.file.stream import FileStream

_OWN_SUFFIX = ".proxy"
"""Of the topics of what proxies have answered themselves: what they say is what clients heard."""
_POLL_RECORDS = 10_000


def read_record(decision: Decision, flipped: Iterable[tuple[str, str, int, str]]) -> Record:
    """Everything on record. Raises RdvErrors for streams that cannot be opened."""
    told: dict[str, Told] = {}
    own: dict[str, Told] = {}
    twice: list[str] = []
    results = Reading(decision.stream_path("results"))
    for record in results:
        try:
            result = decode_result(record.value)
        except MalformedMessage:
            continue
        known = own if record.topic.endswith(_OWN_SUFFIX) else told
        if result.id in known:
            twice.append(result.id)
        known[result.id] = Told(result.kind, result.model, result.schedule, result.answered_by)
    logged = set()
    requests = Reading(decision.stream_path("input"))
    for record in requests:
        try:
            logged.add(decode_request(record.value).id)
        except MalformedMessage:
            continue
    return Record(
        told | own,
        [id_ for id_ in dict.fromkeys(twice) if id_ != "x"],
        frozenset(logged),
        requests.damaged,
        [os.path.relpath(file[3], decision.directory) for file in flipped if not _is_named(file)],
    )


class Reading:
    """All readable records of a stream; `damaged` counts the others."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.damaged = 0

    def __iter__(self) -> Iterator[StreamRecord]:
        with open_stream(self._path, create=False) as stream, stream.consumer() as consumer:
            while True:
                try:
                    records = consumer.poll(_POLL_RECORDS)
                except RecordsDamaged as error:
                    self.damaged += error.last_offset - error.first_offset + 1
                    consumer.seek(error.topic, error.partition, error.last_offset + 1)
                    continue
                except RecordsLost:
                    continue
                if not records:
                    return
                yield from records


def _is_named(place: tuple[str, str, int, str]) -> bool:
    """Whether verify names the file that was hurt; one that retention has deleted is settled."""
    path, topic, partition, file = place
    if not os.path.exists(file):
        return True
    with open_stream(path, create=False) as stream:
        assert isinstance(stream, FileStream)
        reports = list(stream.verify(topic, partition))
    return any(os.path.samefile(one.path, file) for report in reports for one in report.damage)
