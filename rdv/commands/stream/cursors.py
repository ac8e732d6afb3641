"""Implement `rdv stream cursors`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.opening import (
    Target,
    groups_of,
    open_files,
    places_of,
    read_target,
    refuse_if_alive,
)
from rdv.commands.options import Group, Json, Partition, PathOrTopic, Quiet
from rdv.commands.output import Column, Output, number
from rdv.commands.units import parse_moment_ns

if TYPE_CHECKING:
    from rdv.stream import TopicPartition
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream cursors fraud/input",
    "rdv stream cursors fraud/input --group gbm --set latest",
    "rdv stream cursors fraud/input:requests --group gbm --set 2026-05-01T12:00:00Z",
    "rdv stream cursors fraud/input:requests --group gbm --partition 0 --set 1200",
)
_COLUMNS = (
    Column("group"),
    Column("topic"),
    number("partition"),
    number("committed", show=str),
    number("end", show=str),
    number("lag"),
)


def cursors(
    address: PathOrTopic,
    *,
    group: Group = None,
    partition: Partition = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--set",
            metavar="PLACE",
            help="Move the group's cursors to: earliest, latest, an offset, an ISO time, or a "
            "duration (ago). Those of PATH:TOPIC, or all that it has.",
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the group's cursors instead.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do so even if the group has members.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show, set or delete committed offsets.

    COMMITTED is the next offset that the group will read, LAG the number of records beyond it.
    """
    target = read_target(address)
    output = Output(as_json=as_json, quiet=quiet)
    if to is not None and delete:
        raise InvalidOption("--delete", "does not go with --set")
    is_change = to is not None or delete
    if is_change and group is None:
        raise InvalidOption("--group", "is needed to change cursors", "Add --group NAME.")
    with open_files(target, look=not is_change) as stream:
        wanted = set(places_of(stream, target, partition))
        if is_change:
            assert group is not None
            _change(stream, target, group, wanted, to, force=force)
        names = groups_of(stream, group) if not delete else []
        rows = [row for name in names for row in _rows(stream, name, wanted)]
        output.table(_COLUMNS, rows)
        if not rows and output.is_human:
            output.note("deleted" if delete else "no committed offsets")


def _rows(stream: FileStream, group: str, wanted: set[TopicPartition]) -> list[dict[str, Any]]:
    rows = []
    for place, offset in stream.committed(group).items():
        if place in wanted:
            end = stream.end(*place)
            lag = max(0, end - offset)
            rows.append(
                {
                    "group": group,
                    **place._asdict(),
                    "committed": offset,
                    "begin": stream.begin(*place),
                    "end": end,
                    "lag": lag,
                }
            )
    return rows


def _change(
    stream: FileStream,
    target: Target,
    group: str,
    wanted: set[TopicPartition],
    to: str | None,
    *,
    force: bool,
) -> None:
    from rdv.stream import check_name

    check_name(group, "group")
    if to is None:
        groups_of(stream, group)
    if not force:
        refuse_if_alive(stream, group)
    known = stream.committed(group).keys()
    places = sorted(wanted if to is not None and target.topic is not None else wanted & known)
    if not places:
        raise InvalidOption(
            "--group",
            f"{group!r} has no committed offsets here",
            f"To set some, name the topic: {target.path}:TOPIC.",
        )
    # All are looked up before the first is set, so that an invalid offset changes nothing.
    offsets = {place: None if to is None else _offset(stream, place, to) for place in places}
    for place, offset in offsets.items():
        stream.set_committed(group, *place, offset)


def _offset(stream: FileStream, place: TopicPartition, to: str) -> int:
    from rdv.stream.errors import OffsetOutOfRange

    begin, end = stream.begin(*place), stream.end(*place)
    if to == "earliest":
        return begin
    if to == "latest":
        return end
    if not to.isascii() or not to.isdigit():
        return stream.offset_at(*place, parse_moment_ns(to, time.time_ns()))
    if not begin <= int(to) <= end:
        raise OffsetOutOfRange(*place, int(to), begin, end)
    return int(to)
