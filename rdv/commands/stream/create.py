"""Implement `rdv stream create`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rdv.commands.opening import read_target
from rdv.commands.options import Json, Quiet, check_no_file
from rdv.commands.output import Output
from rdv.commands.stream.info import describe_settings, settings_row
from rdv.commands.units import parse_duration_ms, parse_size

if TYPE_CHECKING:
    from rdv.stream import StreamConfig
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream create fraud/input --partitions 4 --topic requests",
    "rdv stream create audit --retention forever --fsync always",
    "rdv stream create clicks --retention 2d --retention-bytes 10GiB",
)


def create(
    address: Annotated[
        str,
        typer.Argument(
            metavar="PATH[:TOPIC]", help="Directory to make; with a topic, also that one."
        ),
    ],
    *,
    partitions: Annotated[
        int | None,
        typer.Option(
            help="Partitions of a new topic: more of them let more readers share the work; order "
            "is kept within a partition only. Default: 1.",
            envvar="RDV_STREAM_PARTITIONS",
            metavar="N",
        ),
    ] = None,
    segment_size: Annotated[
        str | None,
        typer.Option(
            help="Start a new segment at this size; retention deletes whole segments. "
            "Default: 64MiB.",
            envvar="RDV_STREAM_SEGMENT_SIZE",
            metavar="SIZE",
        ),
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(
            help="Delete older records: a duration, or 'forever' to keep them. Default: 7d.",
            envvar="RDV_STREAM_RETENTION",
            metavar="DURATION",
        ),
    ] = None,
    retention_bytes: Annotated[
        str | None,
        typer.Option(
            help="Delete the oldest records of a partition beyond this size, or 'unlimited', "
            "which is the default.",
            envvar="RDV_STREAM_RETENTION_BYTES",
            metavar="SIZE",
        ),
    ] = None,
    fsync: Annotated[
        Literal["none", "interval", "always"] | None,
        typer.Option(
            help="What a loss of power may destroy. none (default): what the kernel had not "
            "written yet; interval: the last --fsync-interval; always: nothing acknowledged, but "
            "slow. Killed processes never lose anything.",
            envvar="RDV_STREAM_FSYNC",
        ),
    ] = None,
    fsync_interval: Annotated[
        str | None,
        typer.Option(
            help="How often --fsync interval syncs. Default: 100ms.",
            envvar="RDV_STREAM_FSYNC_INTERVAL",
            metavar="DURATION",
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic",
            "-t",
            help="Also make this topic. May be given several times.",
            metavar="NAME",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a stream.

    A stream is a directory of topics. Its settings are in PATH/stream.toml, with comments, and may
    be edited there later.
    """
    from rdv.stream import check_name, create_stream
    from rdv.stream.files import files_of

    target = read_target(address)
    check_no_file(address, target.path)
    topics = [check_name(name, "topic") for name in topic or ()]
    if target.topic is not None:
        topics.append(target.topic)
    config = _config(
        partitions=partitions,
        segment_bytes=_size(segment_size),
        retention_ms=_duration(retention),
        retention_bytes=_size(retention_bytes),
        fsync=fsync,
        fsync_interval_ms=_duration(fsync_interval),
    )
    with files_of(create_stream(target.path, config)) as stream:
        for name in topics:
            stream.make_topic(name)
        _render(stream, Output(as_json=as_json, quiet=quiet))


def _config(**given: Any) -> StreamConfig:
    from rdv.stream import make_config

    chosen = {key: value for key, value in given.items() if value is not None}
    return make_config(chosen, "rdv stream create")


def _size(text: str | None) -> int | str | None:
    return text if text in (None, "unlimited") else parse_size(text)


def _duration(text: str | None) -> int | str | None:
    return text if text in (None, "forever") else parse_duration_ms(text)


def _render(stream: FileStream, output: Output) -> None:
    topics = stream.topics()
    if output.as_json:
        output.json({"path": stream.address, **settings_row(stream.config), "topics": topics})
        return
    output.text(f"made stream {stream.address}: {describe_settings(stream.config)}")
    for name in topics:
        count = stream.partitions(name)
        output.text(f"made topic {name} with {count} partition{'s' * (count != 1)}")
