"""Load commands on demand, as click's documentation describes under "Lazily loading subcommands".

`rdv --help` must not import what every command imports, and a command must not import pydantic
through typer, which takes longer than the rest of the start.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from rdv.commands.exits import PipeClosedError

_NEGATIVE = re.compile(r"-[0-9][0-9.eE+-]*")


@dataclass(frozen=True)
class Lazy:
    """A command that is not loaded yet: "module:name" of its function or group, and its help."""

    target: str
    help: str

    def load(self, name: str) -> Any:
        """Import the command. Its module may have EXAMPLES, lines shown below the help, and
        `more_help`, a function that returns paragraphs to add to the docstring.
        """
        module_name, _, attribute = self.target.partition(":")
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
        if isinstance(found, type) and issubclass(found, LazyGroup):
            return found(name=name, help=self.help, no_args_is_help=True)
        more = getattr(module, "more_help", None)
        return as_command(found, name, getattr(module, "EXAMPLES", ()), more() if more else "")


def as_command(
    function: Callable[..., Any], name: str, examples: tuple[str, ...] = (), more: str = ""
) -> Any:
    """Return a command for a function whose signature typer understands."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    # The \b keeps typer from filling the lines.
    epilog = "\n".join(["\b", "Examples:", *(f"  {line}" for line in examples)])
    text = f"{inspect.getdoc(function)}\n\n{more}" if more else None
    command = app.command(name, cls=QuickCommand, epilog=epilog if examples else None, help=text)
    command(function)
    return get_command(app)


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called; subclasses define `table`."""

    table: ClassVar[dict[str, Lazy]] = {}

    elsewhere: ClassVar[dict[str, str]] = {}
    """Commands that users may look for here, and the commands that they need instead."""

    def __init__(self, **settings: Any) -> None:
        # The names are enough for the list of commands and for the suggestions after a mistyped
        # one; `get_command` loads the command itself.
        names: Any = dict(self.table)
        super().__init__(**{**settings, "commands": names, "rich_markup_mode": None})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  typer's signature
        lazy = self.table.get(cmd_name)
        return None if lazy is None else lazy.load(cmd_name)

    def get_params(self, ctx: Any) -> list[Any]:
        return without_pydantic(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name in self.elsewhere and name not in self.table:
            ctx.fail(f"there is no {ctx.command_path} {name}: it is {self.elsewhere[name]}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  typer's signature
        """Write the list of commands in `--help`, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.table.items()])


class QuickCommand(TyperCommand):
    """A command that starts quickly, and whose closed pipe is handled in `app.run`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return without_pydantic(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse arguments, with negative numbers as values that need no `--` before them."""
        if any(_NEGATIVE.fullmatch(argument) for argument in args):
            ctx.ignore_unknown_options = True
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise PipeClosedError from None


def without_pydantic(parameters: list[Any]) -> list[Any]:
    """Return the same parameters, with a converter of our own for plain types.

    typer asks each parameter for its converter by `get_runtime_param`, which would import pydantic.
    A test fails if a command imports it. A typer that keeps the annotation elsewhere converts by
    itself: commands then start more slowly, and work.
    """
    for parameter in parameters:
        annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        if annotation in (str, int, bool, list[str]) or get_origin(annotation) is Literal:
            parameter.get_runtime_param = partial(PlainValue, annotation)
    return parameters


@dataclass(frozen=True)
class PlainValue:
    """Convert an argument to str, int, bool, list[str] or one of a Literal's words."""

    annotation: Any

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if self.annotation == list[str]:
            return list(value or ())
        if value is None:
            return None
        if get_origin(self.annotation) is Literal:
            return self._word(value, param, ctx)
        try:
            return self.annotation(value)
        except ValueError:
            message = f"{value!r} is not a whole number"
            raise typer.BadParameter(message, ctx=ctx, param=param) from None

    def _word(self, value: Any, param: Any, ctx: Any) -> Any:
        words = get_args(self.annotation)
        if value not in words:
            message = f"{value!r} is not one of {', '.join(words)}"
            raise typer.BadParameter(message, ctx=ctx, param=param)
        return value
