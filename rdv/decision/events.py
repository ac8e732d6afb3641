"""Events of a decision: who changed what, when, and by which command.

Two topics of `control` have them. `events` has what the supervisor did and saw: restarts, edits
that took effect, refusals, scaling; the supervisor is its only writer. `commands` has what commands
such as `rdv promote` changed. A command writes there before it replaces a file, while it holds the
lock of the decision's directory, so that the supervisor can say which command made an edit.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec

from rdv.codes import EventKind
from rdv.errors import RdvError
from rdv.rendezvous.topology import COMMANDS_TOPIC, CONTROL, EVENTS_TOPIC
from rdv.stream import Consumer, Record, open_stream, pass_over
from rdv.stream.errors import StreamNotFound
from rdv.system.boot import boot_id
from rdv.system.command_line import command_line

EVENT_TOPICS = (EVENTS_TOPIC, COMMANDS_TOPIC)
TEXT_CHARS_MAX = 500
"""How long `last_line` may be, in characters."""
APPEND_NS = 10 * 10**9
"""How long after its time an event is recorded at most, in ns, on a busy machine."""
_POLL_RECORDS = 500
_HASH_CHARS = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS = 200 * 365 * 86_400 * 10**9


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Describes one event. Empty fields do not apply; they are left out of the record."""

    kind: EventKind
    code: str = ""
    """Says exactly what it is (CODES.md): of trouble its code, else the kind."""
    message: str = ""
    """One sentence for people."""
    about: str = ""
    """The file, process or model that it is about."""
    model: str = ""
    """The model of a process; empty if it has none."""
    time_ns: int = 0
    """When it happened, wall time in ns since 1970."""
    boot: str = ""
    monotonic_ns: int = 0
    """With `boot`, the same time on the monotonic clock of the host."""
    by: str = ""
    """Who caused it: a command line, or "an edit"; empty if it was not caused by a person."""
    user: str = ""
    """The user that ran the command."""
    pid: int = 0
    exit_code: int | None = None
    """Of a process that ended by itself."""
    signal: str = ""
    """The name of the signal that ended a process, as SIGKILL."""
    last_line: str = ""
    """The last line that a process wrote before it ended."""
    retry_ms: float | None = None
    """After which time a process that ended is started again; None: after an edit."""
    before: str = ""
    after: str = ""
    """Of a change: labels of schedules (NAME@HASH), hashes of files, or values."""
    id: str = ""
    """Identifies the event in all times; it is set when the event is read."""


class _Read(Event, frozen=True, kw_only=True, omit_defaults=True):
    kind: str = ""  # type: ignore[assignment]  # a newer rdv may know further kinds


_KINDS: dict[str, EventKind] = {
    "part_ended": "process_ended",
    "model_hangs": "process_ended",
    "model_out_of_memory": "process_ended",
    "model_not_loaded": "model_not_loaded",
    "model_version_changed": "model_version_changed",
    "model_unavailable": "breaker_opened",
    "promotion_asked": "registry",
    "promotion_judged": "registry",
    "promotion_failed": "registry",
    "mlflow_not_followed": "registry",
    "disk_full": "disk_full",
}


def kind_of(code: str) -> EventKind:
    """Return the kind of an event by its code, for trouble and for records of rdv 0.2.0."""
    return _KINDS.get(code, "trouble")


def encode_event(event: Event) -> bytes:
    """Return the record of an event, one line of JSON."""
    if not event.code:
        event = msgspec.structs.replace(event, code=event.kind)
    try:
        return msgspec.json.encode(event) + b"\n"
    except UnicodeEncodeError:  # names of files and command lines need not be UTF-8
        fields = msgspec.structs.asdict(event)
        texts = {name: sound(value) for name, value in fields.items() if isinstance(value, str)}
        return msgspec.json.encode(msgspec.structs.replace(event, **texts)) + b"\n"


def sound(text: str) -> str:
    """Return text that UTF-8 can hold; bytes that are not UTF-8 are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


_decode = msgspec.json.Decoder(_Read).decode


def read_event(record: Record) -> Event | None:
    """Return the event of a record, with its id; None for one that is none."""
    try:
        found = _decode(record.value)
    except (msgspec.DecodeError, RecursionError):
        return None
    name = f"{record.topic}-{record.offset}-{record.timestamp_ns // 1_000_000}"
    return msgspec.structs.replace(
        found,
        id=name,
        kind=found.kind or kind_of(found.code),
        time_ns=found.time_ns or record.timestamp_ns,
    )


def row_of(event: Event) -> dict[str, Any]:
    """Return an event as `rdv events --json` prints it: the fields that apply, and its time."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    moment = _EPOCH + timedelta(microseconds=min(event.time_ns, _LATEST_NS) // 1000)
    row = {"id": event.id, "kind": event.kind, "code": event.code}
    return {**row, "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), **fields}


def place_of(event: Event) -> tuple[str, int]:
    """Return the topic and the offset of an event that was read."""
    topic, offset, _ = event.id.rsplit("-", 2)
    return topic, int(offset)


class EventReader:
    """Reads the events of a decision, also of a stopped one. For one thread.

    It creates nothing. Raises StreamNotFound when the decision has never been served, and
    SystemFaults.
    """

    def __init__(
        self,
        directory: str,
        since_ns: int | None = None,
        positions: Mapping[str, int] | None = None,
    ) -> None:
        """Open it; `since_ns` is the time of the first event, None for all that is kept.

        `positions` are the offsets at which `next` begins, by topic.
        """
        self._stream = open_stream(os.path.join(directory, CONTROL), look=True)
        self._since_ns = since_ns
        self._positions = dict(positions or {})
        self._consumer: Consumer | None = None

    def past(self) -> Iterator[Event]:
        """Yield the events up to now in the order of their times; `next` continues after them.

        An event is recorded a moment after its time, and each topic has a writer of its own: so
        events are held back until what was recorded APPEND_NS later has been read.
        """
        topics = [topic for topic in EVENT_TOPICS if topic in self._stream.topics()]
        ends = {topic: self._stream.end(topic) for topic in topics}
        merged = heapq.merge(
            *(self._read(topic, end) for topic, end in ends.items()),
            key=lambda record: record.timestamp_ns,
        )
        held: list[tuple[int, int, Event]] = []
        for number, record in enumerate(merged):
            if (event := read_event(record)) is None:
                continue
            heapq.heappush(held, (event.time_ns, number, event))
            while held[0][0] < record.timestamp_ns - APPEND_NS:
                yield heapq.heappop(held)[-1]
        while held:
            yield heapq.heappop(held)[-1]
        self._follow(ends)

    def next(self, timeout_s: float = 0.0) -> list[Event]:
        """Return the events since the last call, or since `past`; wait for the first of them.

        They are in the order in which they were recorded.
        """
        if self._consumer is None:
            self._follow({})
        assert self._consumer is not None
        records = _poll(self._consumer, timeout_s)
        records.sort(key=lambda record: record.timestamp_ns)
        return [event for record in records if (event := read_event(record)) is not None]

    def _read(self, topic: str, end: int) -> Iterator[Record]:
        first = self._stream.begin(topic)
        if self._since_ns is not None:
            first = max(first, self._stream.offset_at(topic, 0, self._since_ns))
        if first >= end:
            return
        with self._stream.consumer([topic], partitions=[0], start=first) as consumer:
            while records := _poll(consumer, 0.0):
                for record in records:
                    if record.offset >= end:
                        return
                    yield record

    def _follow(self, ends: Mapping[str, int]) -> None:
        self._consumer = self._stream.consumer(EVENT_TOPICS)
        for topic in EVENT_TOPICS:
            if topic not in self._stream.topics():
                continue
            begin, end = self._stream.begin(topic), self._stream.end(topic)
            at = ends.get(topic, self._positions.get(topic))
            if at is None and self._since_ns is not None:
                at = self._stream.offset_at(topic, 0, self._since_ns)
            # A log that was replaced is shorter than the one of the positions.
            self._consumer.seek(topic, 0, begin if at is None or at > end else max(begin, at))

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _poll(consumer: Consumer, timeout_s: float) -> list[Record]:
    """Poll; skip damage and what retention has deleted, which `rdv stream verify` reports."""
    while True:
        try:
            return consumer.poll(_POLL_RECORDS, timeout_s)
        except RdvError as error:
            if not pass_over(consumer, error):
                raise


def user_name() -> str:
    """Return the name of this process's user; its number if it has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def text_hash(text: str) -> str:
    """Return a short hash of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARS]


def record_command(directory: str, event: Event) -> None:
    """Record what this command changes. Call it while the directory's lock is held.

    A decision that was never served has no log: nothing is recorded then. Raises nothing: a log
    that cannot be written (a full disk, no permission) must not stop the change; the supervisor
    then records it as an edit.
    """
    event = msgspec.structs.replace(
        event,
        by=command_line(),
        user=user_name(),
        pid=os.getpid(),
        time_ns=time.time_ns(),
        boot=boot_id().hex(),
        monotonic_ns=time.monotonic_ns(),
    )
    try:
        with open_stream(os.path.join(directory, CONTROL), create=False) as stream:
            stream.make_topic(COMMANDS_TOPIC)
            with stream.producer() as producer:
                producer.send_many(COMMANDS_TOPIC, [encode_event(event)], wait_ms=1_000)
    except StreamNotFound:
        return
    except RdvError as error:
        import logging

        from rdv.coded import coded

        text = f"could not record this command's change in the log: {error.text()}"
        logging.getLogger("rdv.events").warning("%s", text, extra=coded("not_recorded"))
