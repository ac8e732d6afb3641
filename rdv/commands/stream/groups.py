"""Implement `rdv stream groups`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.opening import groups_of, open_files, read_target, refuse_if_alive
from rdv.commands.options import Group, Json, PathOnly, Quiet, Yes
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import confirm

if TYPE_CHECKING:
    from rdv.stream import GroupState, TopicPartition
    from rdv.stream.files import FileStream

EXAMPLES = (
    "rdv stream groups fraud/input",
    "rdv stream groups fraud/input --group gbm --json | jq .members",
    "rdv stream groups fraud/input --group gbm --delete",
)
_COLUMNS = (
    Column("group"),
    number("generation"),
    Column("member"),
    Column("partitions"),
    number("lag"),
)


def groups(
    address: PathOnly,
    *,
    group: Group = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the group and its committed offsets.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Delete it even if it has members.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show consumer groups, or delete one.

    A line for each member: its partitions, and how many records are beyond their committed offsets.
    A partition marked (revoking) is about to go to another member.
    """
    target = read_target(address)
    if target.topic is not None:
        raise InvalidOption(address, "a group belongs to the stream, give the bare PATH")
    output = Output(as_json=as_json, quiet=quiet)
    with open_files(target, look=not delete) as stream:
        names = groups_of(stream, group)
        if delete:
            if group is None:
                raise InvalidOption("--delete", "needs the group to delete", "Add --group.")
            _delete(stream, group, output, yes=yes, force=force)
            return
        rows = [_row(stream, name) for name in names]
        if as_json:
            output.table((), rows)
        else:
            output.table(_COLUMNS, [line for row in rows for line in _lines(row)])
        if not rows and output.is_human:
            output.note("no groups yet")


def _delete(stream: FileStream, group: str, output: Output, *, yes: bool, force: bool) -> None:
    if not force:
        refuse_if_alive(stream, group)
    count = len(stream.committed(group))
    doing = f"deleting group {group} with its {count} committed offsets"
    question = f"Delete group {group} and its {count} committed offsets?"
    if not confirm(question, doing=doing, yes=yes):
        output.note("nothing deleted")
        return
    stream.delete_group(group)
    if output.as_json:
        output.json({"action": "deleted", "group": group, "committed": count})
    output.text(f"deleted group {group}")


def _row(stream: FileStream, group: str) -> dict[str, Any]:
    state, lag = stream.group_state(group), stream.lag(group)
    absent = stream.absent_members(group)
    return {
        "group": group,
        "generation": state.generation,
        "members": [
            {**_member(state, member, lag), "alive": member not in absent}
            for member in sorted(state.members)
        ],
        "lag": sum(lag.values()),
    }


def _member(state: GroupState, member: str, lag: dict[TopicPartition, int]) -> dict[str, Any]:
    held = state.held_by(member)
    topics = state.members[member]
    return {
        "member": member,
        "topics": None if topics is None else sorted(topics),
        "partitions": [
            {**place._asdict(), "revoking": ownership.target != member}
            for place, ownership in sorted(held.items())
        ],
        "lag": sum(lag.get(place, 0) for place in held),
    }


def _lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of the table: one for each member, or one for a group without members."""
    if not row["members"]:
        return [{**row, "member": None, "partitions": None}]
    return [
        {
            "group": row["group"],
            "generation": row["generation"],
            "member": member["member"] if member["alive"] else f"{member['member']} (gone)",
            "partitions": _partitions(member["partitions"]),
            "lag": member["lag"],
        }
        for member in row["members"]
    ]


def _partitions(held: list[dict[str, Any]]) -> str | None:
    """Return `requests/0,1 scores/3(revoking)`; None if there are no partitions."""
    by_topic: dict[str, list[str]] = {}
    for one in held:
        mark = "(revoking)" if one["revoking"] else ""
        by_topic.setdefault(one["topic"], []).append(f"{one['partition']}{mark}")
    return " ".join(f"{topic}/{','.join(ns)}" for topic, ns in by_topic.items()) or None
