"""Implement `rdv stream purge`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.opening import open_files, places_of, read_target
from rdv.commands.options import Json, Partition, PathOrTopic, Quiet
from rdv.commands.output import Column, Output, number
from rdv.commands.units import about_size, parse_duration_ns

if TYPE_CHECKING:
    from rdv.stream import TopicPartition
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream purge fraud/input                         # apply the retention now",
    "rdv stream purge fraud/input --older-than 3d",
    "rdv stream purge fraud/input:requests --partition 0 --before-offset 120000",
)
_COLUMNS = (
    Column("topic"),
    number("partition"),
    number("records", "records deleted"),
    number("size_bytes", "bytes deleted", about_size),
    number("begin", "begins at", show=str),
)


def purge(
    address: PathOrTopic,
    *,
    before_offset: Annotated[
        int | None,
        typer.Option(metavar="OFFSET", help="Delete what is before this offset (of PATH:TOPIC)."),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Delete what is older, e.g. 3d.")
    ] = None,
    partition: Partition = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete old records now.

    Always applies the stream's retention; the options delete more. Whole segments are deleted, so
    some records that the options name may stay; the newest segment always does.
    """
    target = read_target(address)
    if before_offset is not None and older_than is not None:
        raise InvalidOption("--older-than", "does not go with --before-offset")
    if before_offset is not None:
        target.require_topic("--before-offset needs the topic that it is an offset of")
    older_ns = None if older_than is None else time.time_ns() - parse_duration_ns(older_than)
    output = Output(as_json=as_json, quiet=quiet)
    with open_files(target) as stream:
        rows = [
            _purge(stream, place, before_offset, older_ns)
            for place in places_of(stream, target, partition)
        ]
    output.table(_COLUMNS, rows)
    if output.is_human:
        records = sum(int(row["records"]) for row in rows)
        size = about_size(sum(int(row["size_bytes"]) for row in rows))
        output.note(f"deleted {records:,} records, {size}" if records else "nothing to delete")


def _purge(
    stream: FileStream, place: TopicPartition, before_offset: int | None, older_ns: int | None
) -> dict[str, int | str]:
    if older_ns is not None:
        before_offset = stream.offset_at(*place, older_ns)
    records, size_bytes = stream.purge(*place, before_offset=before_offset)
    return {
        **place._asdict(),
        "records": records,
        "size_bytes": size_bytes,
        "begin": stream.begin(*place),
    }
