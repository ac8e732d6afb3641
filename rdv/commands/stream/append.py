"""Implement `rdv stream append`: lines become records in the batches in which they come."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.opening import Target, open_files, read_target
from rdv.commands.options import Json, PathAndTopic, Quiet
from rdv.commands.output import Output
from rdv.commands.terminal import is_terminal
from rdv.errors import LineUnusable
from rdv.system.interrupt import DeferredInterrupt

if TYPE_CHECKING:
    from rdv.stream import Producer
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream append fraud/input:requests < requests.jsonl",
    "producer | rdv stream append fraud/input:requests --key-field user",
    "echo hello | rdv stream append scratch:t --create",
)

_CHUNK_BYTES = 1024 * 1024


def append(
    address: PathAndTopic,
    *,
    key_field: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Each line is a JSON object, and this field of it decides the partition: equal "
            "keys go to the same one.",
        ),
    ] = None,
    partition: Annotated[
        int | None,
        typer.Option(
            "--partition",
            "-p",
            metavar="N",
            help="Append all to this partition. Default: partitions take turns.",
        ),
    ] = None,
    create: Annotated[
        bool,
        typer.Option(
            "--create", help="Make the stream if there is none. (A topic is always made.)"
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Append the lines of stdin as records.

    Each line is a record and keeps its newline; a last line without one gets one. Any bytes are
    allowed, but blank lines are skipped. Lines are appended as they come; the totals are printed on
    stderr at the end.
    """
    target = read_target(address)
    topic = target.require_topic("append needs the topic")
    if key_field is not None and partition is not None:
        raise InvalidOption("--partition", "does not go with --key-field, which decides it")
    output = Output(as_json=as_json, quiet=quiet)
    source = sys.stdin.buffer
    if is_terminal(sys.stdin):
        output.note("Reading lines from the terminal; Ctrl-D ends.")
    with (
        _open(target, output, create=create) as stream,
        stream.producer() as producer,
    ):
        is_new = topic not in stream.topics()
        appender = Appender(producer, topic, key_field=key_field, partition=partition)
        try:
            with DeferredInterrupt() as interrupt:

                def read(size_bytes: int) -> bytes:
                    with interrupt.allowed():
                        return os.read(source.fileno(), size_bytes)

                for batch in line_batches(read, stream.config.record_bytes_max):
                    appender.append(batch)
        finally:
            # Also after an error or Ctrl-C: the records appended so far are in the log.
            appender.report(str(target), output, is_new=is_new)


def _open(target: Target, output: Output, *, create: bool) -> FileStream:
    """Open the stream; with `create`, make it if it does not exist, and print a note."""
    from rdv.stream.files import is_stream

    if not create or is_stream(target.path):
        return open_files(target)
    stream = open_files(target, create=True)
    if not output.as_json:
        output.note(f"made stream {stream.address}")
    return stream


@dataclass(frozen=True)
class Batch:
    """Complete lines, each with its newline; the first is line `first_line` of the input."""

    first_line: int
    lines: list[bytes]


def line_batches(read: Callable[[int], bytes], line_bytes_max: int) -> Iterator[Batch]:
    """Yield batches of complete lines; a batch is what one read returned, so no line waits.

    `read` returns up to the given number of bytes, as soon as there are any, and none at the end.
    Raises LineUnusable for a line that is longer than `line_bytes_max`, including its newline.
    """
    number, pending, pending_bytes = 1, list[bytes](), 0
    while chunk := read(_CHUNK_BYTES):
        head, newline, rest = chunk.partition(b"\n")
        pending.append(head)
        pending_bytes += len(head)
        _check_length(number, pending_bytes + 1, line_bytes_max)
        if not newline:
            continue
        first = b"".join((*pending, b"\n"))
        *whole, last = rest.split(b"\n")
        lines = [first, *(line + b"\n" for line in whole)]
        for at, line in enumerate(lines):
            if len(line) > line_bytes_max:
                yield Batch(number, lines[:at])
                _check_length(number + at, len(line), line_bytes_max)
        # A large line is a batch of its own, so that a batch is not much larger than a line may be.
        alone = 1 if len(first) > _CHUNK_BYTES else 0
        yield Batch(number, lines[:alone])
        yield Batch(number + alone, lines[alone:])
        number += len(lines)
        pending, pending_bytes = [last], len(last)
        _check_length(number, pending_bytes + 1, line_bytes_max)
    if pending_bytes:
        yield Batch(number, [b"".join((*pending, b"\n"))])


def _check_length(number: int, size_bytes: int, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        reason = f"is longer than the {limit_bytes} bytes that a record may have"
        raise LineUnusable(number, reason, "Raise record_bytes_max in the stream's stream.toml.")


@dataclass
class _Written:
    records: int = 0
    first_offset: int = -1
    last_offset: int = -1


@dataclass
class Appender:
    """Send batches of lines, and record where they went."""

    producer: Producer
    topic: str
    key_field: str | None = None
    partition: int | None = None
    size_bytes: int = 0
    blank: int = 0
    """The number of lines with only white space; they are skipped, not appended."""
    written: dict[int, _Written] = field(default_factory=dict)

    def append(self, batch: Batch) -> None:
        """Send a batch: whole, or divided by key. Raises LineUnusable and what sending raises."""
        if self.key_field is None:
            lines = [line for line in batch.lines if not line.isspace()]
            self.blank += len(batch.lines) - len(lines)
            self._send(lines, self.partition)
            return
        parts: dict[int, list[bytes]] = {}
        try:
            for number, line in enumerate(batch.lines, batch.first_line):
                if line.isspace():
                    self.blank += 1
                    continue
                key = _key(number, line, self.key_field)
                parts.setdefault(self.producer.partition_for(self.topic, key), []).append(line)
        finally:
            # The lines before an unusable one are appended even so.
            for partition, lines in parts.items():
                self._send(lines, partition)

    def _send(self, lines: list[bytes], partition: int | None) -> None:
        if not lines:
            return
        partition, first = self.producer.send_many(self.topic, lines, partition=partition)
        written = self.written.setdefault(partition, _Written(first_offset=first))
        written.records += len(lines)
        written.last_offset = first + len(lines) - 1
        self.size_bytes += sum(map(len, lines))

    def report(self, address: str, output: Output, *, is_new: bool) -> None:
        """Report what was appended: to people on stderr, as JSON on stdout."""
        records = sum(written.records for written in self.written.values())
        if output.as_json:
            output.json(self._row(address, records))
            return
        if is_new and records:
            output.note(f"made topic {self.topic}")
        output.note(f"appended {records:,} record{'s' * (records != 1)} to {address}")
        if self.blank:
            output.note(f"  skipped {self.blank} blank line{'s' * (self.blank != 1)}")
        for partition, written in sorted(self.written.items()):
            output.note(
                f"  partition {partition}: {written.records}, "
                f"offsets {written.first_offset} to {written.last_offset}"
            )

    def _row(self, address: str, records: int) -> dict[str, Any]:
        return {
            "address": address,
            "records": records,
            "size_bytes": self.size_bytes,
            "blank_lines": self.blank,
            "partitions": [
                {"partition": partition, **vars(written)}
                for partition, written in sorted(self.written.items())
            ],
        }


def _key(number: int, line: bytes, key_field: str) -> bytes:
    """Return the bytes of a line's key: those of a string, or the JSON of a number or a boolean."""
    import orjson

    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        advice = "Without --key-field it may be anything."
        raise LineUnusable(number, f"is not JSON: {error}", advice) from None
    if not isinstance(value, dict) or key_field not in value:
        raise LineUnusable(number, f"has no field {key_field!r}, which decides the partition")
    key = value[key_field]
    if isinstance(key, str):
        return key.encode()
    if key is None or isinstance(key, list | dict):
        what = "null" if key is None else "an array" if isinstance(key, list) else "an object"
        advice = "A key is a string, a number or a boolean."
        raise LineUnusable(number, f"has {what} as its key, in field {key_field!r}", advice)
    return orjson.dumps(key)
