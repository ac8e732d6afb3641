"""Implement `rdv stream info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rdv.commands.opening import open_files, places_of, read_target, topics_of
from rdv.commands.options import Json, Partition, PathOrTopic
from rdv.commands.output import Column, Output, number
from rdv.commands.stream.settings import settings_lines, settings_row
from rdv.commands.units import about_size, iso_time, local_time
from rdv.errors import RdvError

if TYPE_CHECKING:
    from rdv.stream.file.stream import FileStream
    from rdv.stream.record import TopicPartition

EXAMPLES = (
    "rdv stream info fraud/input",
    "rdv stream info fraud/input:requests --json | jq '.partitions[].records'",
)
_COLUMNS = (
    Column("topic"),
    number("partition"),
    number("begin", show=str),
    number("end", show=str),
    number("records"),
    number("size_bytes", "on disk", about_size),
    number("segments"),
    Column("newest_ns", "newest record", show=local_time),
)


def info(address: PathOrTopic, *, partition: Partition = None, as_json: Json = False) -> None:
    """Show settings, topics and partitions.

    BEGIN is the first offset that is still there, END the one that the next record gets. ON DISK is
    the size of the values and of their index.
    """
    target = read_target(address)
    output = Output(as_json=as_json)
    with open_files(target, look=True) as stream:
        rows = [_row(stream, place) for place in places_of(stream, target, partition)]
        if as_json:
            output.json(
                {
                    "path": stream.address,
                    "settings": settings_row(stream.config),
                    "topics": topics_of(stream, target),
                    "groups": stream.groups(),
                    "partitions": rows,
                }
            )
            return
        if target.topic is None:
            _render_settings(stream, output)
        output.table(_COLUMNS, rows)


def _render_settings(stream: FileStream, output: Output) -> None:
    facts = [("stream", stream.address), *settings_lines(stream.config)]
    facts.append(("topics", ", ".join(stream.topics()) or "none yet"))
    facts.append(("groups", ", ".join(stream.groups()) or "none yet"))
    widest = max(len(name) for name, _ in facts)
    for name, value in facts:
        output.text(f"{name.ljust(widest)}  {value}")
    output.text()


def _row(stream: FileStream, place: TopicPartition) -> dict[str, Any]:
    begin, end = stream.begin(*place), stream.end(*place)
    newest_ns = _newest_ns(stream, place, end) if end > begin else None
    return {
        "topic": place.topic,
        "partition": place.partition,
        "begin": begin,
        "end": end,
        "records": end - begin,
        "size_bytes": stream.size_bytes(*place),
        "segments": len(stream.segments(*place)),
        "newest_ns": newest_ns,
        "newest": None if newest_ns is None else iso_time(newest_ns),
    }


def _newest_ns(stream: FileStream, place: TopicPartition, end: int) -> int | None:
    """Return when the last record was appended; None if it cannot be read (`verify` says why)."""
    try:
        with stream.consumer([place.topic], partitions=[place.partition], start=end - 1) as reader:
            records = reader.poll(max_records=1)
    except RdvError:
        return None
    return records[0].timestamp_ns if records else None
