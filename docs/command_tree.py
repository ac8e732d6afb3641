"""The commands of `rdv` as values, read from the command line itself: for the pages and for man."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rdv.commands.app import make_root


@dataclass(frozen=True)
class CommandPage:
    """One command: what `--help` says about it."""

    name: str
    """With its parents: `rdv stream append`."""

    usage: str
    help: str
    """Paragraphs; a line that begins with spaces is kept as it is."""

    arguments: list[tuple[str, str]] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The first sentence or line of the help."""
        return " ".join(self.help.split("\n\n")[0].split())


def command_pages() -> list[CommandPage]:
    """All commands, groups before their members, in the order of `rdv --help`."""
    root = make_root()
    return list(_pages(root, root.make_context("rdv", [], resilient_parsing=True)))


def _pages(command: Any, context: Any) -> Iterator[CommandPage]:
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    children = [(name, command.get_command(context, name)) for name in names]
    parameters = command.get_params(context)
    yield CommandPage(
        context.command_path,
        command.get_usage(context).removeprefix("Usage: "),
        textwrap.dedent(command.help or "").replace("\b\n", "").strip(),
        [_record(p, context) for p in parameters if "Argument" in type(p).__name__],
        [_record(p, context) for p in parameters if "Option" in type(p).__name__ and not p.hidden],
        [(name, table.help) for name, table in getattr(command, "table", {}).items()],
        _examples(command.epilog),
    )
    for name, child in children:
        yield from _pages(
            child, child.make_context(name, [], parent=context, resilient_parsing=True)
        )


def _record(parameter: Any, context: Any) -> tuple[str, str]:
    record = parameter.get_help_record(context)
    name, text = record if record is not None else (parameter.name, "")
    return name, " ".join(text.split())


def _examples(epilog: str | None) -> list[str]:
    return [line.strip() for line in (epilog or "").splitlines() if line.startswith("  ")]
