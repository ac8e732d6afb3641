"""The module reads what the copy's streams contain after the drill."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from rdv.config import Decision
from rdv.drill.damaging import Harm
from rdv.drill.verdict import Record, Told
from rdv.messages import MalformedMessage, decode_request, decode_result
from rdv.stream import Record as StreamRecord
from rdv.stream import open_stream
from rdv.stream.errors import RecordsDamaged, RecordsLost
from rdv.stream.file.stream import FileStream
from rdv.stream.passing import lost_count, pass_over

_OWN_SUFFIX = ".proxy"
"""The suffix of the topics of results that proxies have decided themselves; these results are what
the clients received.
"""
_POLL_RECORDS = 10_000


def read_record(decision: Decision, harmed: Iterable[Harm]) -> Record:
    """Read everything that is recorded. Raises RdvErrors for streams that cannot be opened."""
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
        [os.path.relpath(harm.path, decision.directory) for harm in harmed if not _is_named(harm)],
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


def _is_named(harm: Harm) -> bool:
    """Return whether `verify` names the segment whose file was damaged, or retention has deleted
    it.
    """
    with open_stream(harm.stream, create=False) as stream:
        assert isinstance(stream, FileStream)
        first = stream.segments(harm.topic, harm.partition)[:1]
        reports = list(stream.verify(harm.topic, harm.partition))
    base = int(os.path.splitext(os.path.basename(harm.path))[0])
    named = any(harm.is_of(one.path) for report in reports for one in report.damage)
    return named or not first or base < first[0]
