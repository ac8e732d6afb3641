"""Check the members of a consumer group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdv.commands.errors import GroupHasMembers

if TYPE_CHECKING:
    from rdv.stream.file.stream import FileStream


def refuse_if_alive(stream: FileStream, group: str) -> None:
    """Raise GroupHasMembers if the group has members that are alive."""
    alive = stream.group_state(group).members.keys() - stream.absent_members(group)
    if alive:
        raise GroupHasMembers(group, len(alive))
