"""Implement `rdv stream info`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rdv.commands.opening import open_files, places_of, read_target, topics_of
from rdv.commands.options import Json, Partition, PathOrTopic
from rdv.commands.output import Column, Output, number
from rdv.commands.units import about_size, format_duration, format_size, iso_time, local_time
from rdv.errors import RdvError

if TYPE_CHECKING:
    from rdv.stream import StreamConfig, TopicPartition
    from rdv.stream.files import FileStream

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

_MS_NS = 1_000_000


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
        **place._asdict(),
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


def settings_row(config: StreamConfig) -> dict[str, Any]:
    """Return the settings under their names in stream.toml; null means no limit."""
    return asdict(config)


def settings_lines(config: StreamConfig) -> list[tuple[str, str]]:
    """Return (name, value) of every setting, the values with units."""
    return [(name.rsplit("_", 1)[0] if name.endswith("_ms") else name, _value(name, value))
            for name, value in asdict(config).items()]  # fmt: skip


def describe_settings(config: StreamConfig) -> str:
    """Return the settings that matter most, on one line."""
    fsync = config.fsync
    if fsync == "interval":
        fsync_text = f"every {format_duration(config.fsync_interval_ms * _MS_NS)}"
    else:
        fsync_text = fsync
    return (
        f"{config.partitions} partition{'s' * (config.partitions != 1)} per topic, "
        f"segments of {format_size(config.segment_bytes)}, "
        f"retention {_retention(config)}, fsync {fsync_text}"
    )


def _retention(config: StreamConfig) -> str:
    time_text = _value("retention_ms", config.retention_ms)
    if config.retention_bytes is None:
        return time_text
    return f"{time_text} and {format_size(config.retention_bytes)} per partition"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "forever" if name == "retention_ms" else "unlimited"
    if name.endswith("_ms"):
        return format_duration(value * _MS_NS)
    if name.endswith(("_bytes", "_bytes_max")):
        return format_size(value)
    return str(value)
