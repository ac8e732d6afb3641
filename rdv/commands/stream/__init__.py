"""The group `rdv stream …` has the commands for the log."""

from __future__ import annotations

from typing import ClassVar

from rdv.commands.lazy import Lazy, LazyGroup


def _lazy(name: str, text: str) -> Lazy:
    return Lazy(f"rdv.commands.stream.{name}:{name}", text)


class StreamGroup(LazyGroup):
    """List the commands; each line is the first of the command's docstring (see its test)."""

    elsewhere: ClassVar[dict[str, str]] = {"tail": "rdv tail", "ls": "rdv stream topics"}
    table: ClassVar[dict[str, Lazy]] = {
        "create": _lazy("create", "Make a stream."),
        "info": _lazy("info", "Show settings, topics and partitions."),
        "topics": _lazy("topics", "List, make, grow or delete topics."),
        "append": _lazy("append", "Append the lines of stdin as records."),
        "verify": _lazy("verify", "Check every byte; exits 1 on damage."),
        "repair": _lazy("repair", "Repair damage, keeping .broken copies."),
        "purge": _lazy("purge", "Delete old records now."),
        "cursors": _lazy("cursors", "Show, set or delete committed offsets."),
        "groups": _lazy("groups", "Show consumer groups, or delete one."),
        "bench": _lazy("bench", "Measure the log on this machine."),
    }
