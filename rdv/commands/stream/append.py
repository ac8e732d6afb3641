"""Implement `rdv stream append`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.opening import Target, is_stream, open_files, read_target
from rdv.commands.options import Json, PathAndTopic, Quiet
from rdv.commands.output import Output
from rdv.commands.terminal import is_terminal
from rdv.system.interrupt import DeferredInterrupt

if TYPE_CHECKING:
    from rdv.stream.file.stream import FileStream

EXAMPLES = (
    "rdv stream append fraud/input:requests < requests.jsonl",
    "producer | rdv stream append fraud/input:requests --key-field user",
    "echo hello | rdv stream append scratch:t --create",
)


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
    from rdv.commands.stream.lines import Appender, line_batches

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
    if not create or is_stream(target.path):
        return open_files(target)
    stream = open_files(target, create=True)
    if not output.as_json:
        output.note(f"made stream {stream.address}")
    return stream
