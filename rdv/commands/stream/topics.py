"""Implement `rdv stream topics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.opening import Target, open_files, read_target, topics_of
from rdv.commands.options import Json, PathOrTopic, Quiet, Yes
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import confirm
from rdv.commands.units import about_size
from rdv.errors import NotUsable

if TYPE_CHECKING:
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream topics fraud/input",
    "rdv stream topics fraud/input --create requests --partitions 4",
    "rdv stream topics fraud/input:requests --partitions 8",
    "rdv stream topics fraud/input:requests --delete",
)
_COLUMNS = (
    Column("topic"),
    number("partitions"),
    number("records"),
    number("size_bytes", "size", about_size),
)


def topics(
    address: PathOrTopic,
    *,
    create: Annotated[
        str | None, typer.Option("--create", metavar="NAME", help="Make this topic.")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Partitions of the topic that is made, or to which PATH:TOPIC grows. They never "
            "shrink, and keys move when they grow.",
        ),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete PATH:TOPIC with all its records.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List, make, grow or delete topics.

    Without an option: list the topics and their sizes.
    """
    target = read_target(address)
    output = Output(as_json=as_json, quiet=quiet)
    if delete and (create or partitions is not None):
        raise InvalidOption("--delete", "does not go with --create or --partitions")
    is_change = delete or create is not None or partitions is not None
    with open_files(target, look=not is_change) as stream:
        if delete:
            _delete(stream, target, output, yes=yes)
        elif create is not None:
            _make(stream, target, create, partitions, output)
        elif partitions is not None:
            topic = target.require_topic("--partitions needs the topic to grow")
            stream.partitions(topic)
            stream.make_topic(topic, partitions)
            _report(stream, topic, "grown", f"topic {topic} has {partitions} partitions", output)
        else:
            names = topics_of(stream, target)
            output.table(_COLUMNS, [_row(stream, name) for name in names])
            if not names and output.is_human:
                output.note(f"no topics yet: rdv stream topics {target.path} --create NAME")


def _make(
    stream: FileStream, target: Target, name: str, partitions: int | None, output: Output
) -> None:
    from rdv.stream import check_name

    if target.topic is not None:
        raise InvalidOption("--create", "takes the name of the topic, so give the bare PATH")
    if check_name(name, "topic") in stream.topics():
        advice = f"Grow it: rdv stream topics {target.path}:{name} --partitions N"
        raise NotUsable("--create", f"there is a topic {name!r} already", advice)
    stream.make_topic(name, partitions)
    count = stream.partitions(name)
    text = f"made topic {name} with {count} partition{'s' * (count != 1)}"
    _report(stream, name, "made", text, output)


def _delete(stream: FileStream, target: Target, output: Output, *, yes: bool) -> None:
    topic = target.require_topic("--delete needs the topic to delete")
    row = _row(stream, topic)
    doing = f"deleting topic {topic} with its {row['records']} records"
    if not confirm(f"Delete topic {topic} and its {row['records']} records?", doing=doing, yes=yes):
        output.note("nothing deleted")
        return
    stream.delete_topic(topic)
    if output.as_json:
        output.json({"action": "deleted", **row})
    output.text(f"deleted topic {topic} with {row['records']} records")


def _report(stream: FileStream, topic: str, action: str, text: str, output: Output) -> None:
    if output.as_json:
        output.json({"action": action, **_row(stream, topic)})
    output.text(text)


def _row(stream: FileStream, topic: str) -> dict[str, int | str]:
    numbers = range(stream.partitions(topic))
    return {
        "topic": topic,
        "partitions": len(numbers),
        "records": sum(stream.end(topic, n) - stream.begin(topic, n) for n in numbers),
        "size_bytes": sum(stream.size_bytes(topic, n) for n in numbers),
    }
