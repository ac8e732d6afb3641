"""The `rdv` command lists all commands, and is the one place where their errors are handled.

Commands are loaded when they are called, and parameters do without pydantic.

`rdv --help` must not import what every command imports, and a command must not import pydantic
through typer, which takes longer than the rest of the start.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Abort, TyperException
from typer.main import get_command

import rdv
from rdv.commands.exits import (
    FAILED,
    INTERRUPTED,
    PIPE_CLOSED,
    USAGE,
    PipeClosedError,
    exit_code,
    show_error,
)
from rdv.errors import RdvError
from rdv.native import NATIVE

_NEGATIVE = re.compile(r"-[0-9][0-9.eE+-]*")


@dataclass(frozen=True)
class Lazy:
    """A command that is not loaded yet: "module:name" of its function or group, and its help
    line.
    """

    target: str
    help: str

    def load(self, name: str) -> Any:
        module_name, _, attribute = self.target.partition(":")
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
        if isinstance(found, type) and issubclass(found, LazyGroup):
            return found(name=name, help=self.help, no_args_is_help=True)
        return as_command(found, name, getattr(module, "EXAMPLES", ()))


def as_command(function: Callable[..., Any], name: str, examples: tuple[str, ...] = ()) -> Any:
    """Return a command for a function whose signature typer understands."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    # The \b keeps typer from filling the lines.
    epilog = "\n".join(["\b", "Examples:", *(f"  {line}" for line in examples)])
    app.command(name, cls=QuickCommand, epilog=epilog if examples else None)(function)
    return get_command(app)


class LazyCommands(MutableMapping[str, Any]):
    """Map names to commands, loaded on first look-up; listing the names loads nothing."""

    def __init__(self, table: dict[str, Lazy]) -> None:
        self.table = table
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = self.table[name].load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self.table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)


class LazyGroup(TyperGroup):
    """A group of lazy commands; subclasses define `table`."""

    elsewhere: ClassVar[dict[str, str]] = {}
    """Commands that users may look for here, and the commands that they need instead."""

    table: ClassVar[dict[str, Lazy]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "rich_markup_mode": None})
        self.commands = LazyCommands(self.table)

    def get_params(self, ctx: Any) -> list[Any]:
        return spare_pydantic(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name in self.elsewhere and name not in self.table:
            ctx.fail(f"there is no {ctx.command_path} {name}: it is {self.elsewhere[name]}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  typer's signature
        return list(self.table)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Write the list of commands in `--help`, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.table.items()])


class QuickCommand(TyperCommand):
    """A command that starts quickly, and whose closed pipe is handled in `run`."""

    def get_params(self, ctx: Any) -> list[Any]:
        return spare_pydantic(super().get_params(ctx))

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


def spare_pydantic(parameters: list[Any]) -> list[Any]:
    """Return the same parameters, with a converter of our own for plain types.

    The sets an attribute that typer would compute later. With a typer that lacks the attribute
    nothing is changed, and the start is slower; a test fails when that happens.
    """
    for parameter in parameters:
        descriptor = getattr(parameter, "type_descriptor", None)
        if descriptor is None or not hasattr(parameter, "_runtime_param"):
            continue
        annotation = descriptor.annotation
        if annotation in (str, int, bool, list[str]) or get_origin(annotation) is Literal:
            parameter._runtime_param = PlainValue(annotation)  # noqa: SLF001
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


class RootGroup(LazyGroup):
    """List all commands, in the order of the help. A command is imported only when it is called."""

    table: ClassVar[dict[str, Lazy]] = {
        "init": Lazy(
            "rdv.commands.init:init", "Make a decision: settings, schedules, models, requests."
        ),
        "serve": Lazy("rdv.commands.serve:serve", "Run a decision until it is stopped."),
        "ask": Lazy("rdv.commands.ask:ask", "Ask a running decision one question."),
        "load": Lazy(
            "rdv.commands.load:load", "Ask many questions at a rate, and measure the answers."
        ),
        "drill": Lazy(
            "rdv.commands.drill:drill",
            "Rehearse faults on a private copy of a decision, under load.",
        ),
        "status": Lazy("rdv.commands.status:status", "Show who runs, who answers, and how fast."),
        "model": Lazy("rdv.commands.model:ModelGroup", "Run, add, list and remove models."),
        "schedule": Lazy(
            "rdv.commands.schedule:ScheduleGroup", "Show, check and choose schedules."
        ),
        "verify": Lazy(
            "rdv.commands.verify:verify",
            "Take every recorded decision again, and tell those that differ.",
        ),
        "explain": Lazy(
            "rdv.commands.explain:explain",
            "Tell why a request got its answer: arrivals, steps, and what the others said.",
        ),
        "whatif": Lazy(
            "rdv.commands.whatif:whatif",
            "What another schedule would have answered to the requests on record.",
        ),
        "optimise": Lazy(
            "rdv.commands.optimise:optimise", "Search for a better schedule in what is on record."
        ),
        "outcome": Lazy(
            "rdv.commands.outcome:outcome", "Tell what turned out to be true of requests."
        ),
        "replay": Lazy(
            "rdv.commands.replay:replay",
            "Try a model on recorded requests, and compare it with what is on record.",
        ),
        "export": Lazy(
            "rdv.commands.export:export",
            "Write the record as Parquet, partitioned by day: OUT/TABLE/day=2026-11-22/….parquet.",
        ),
        "compare": Lazy("rdv.commands.compare:compare", "Compare two models on the same requests."),
        "ab": Lazy("rdv.commands.ab:ab", "Tell what the cohorts of an experiment have shown."),
        "promote": Lazy(
            "rdv.commands.promote:promote",
            "Put a model in the champion's place, if the record says that it may take it.",
        ),
        "tail": Lazy("rdv.commands.tail:tail", "Show the newest records of a stream, and follow."),
        "stream": Lazy("rdv.commands.stream:StreamGroup", "Make, inspect and mend streams."),
    }


def _print_version(wanted: bool) -> None:
    if wanted:
        native = "with" if NATIVE is not None else "without"
        typer.echo(f"rdv {rdv.__version__} ({native} its C extension)")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Show the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """The Rendezvous Architecture: many models behind one decision, one answer in time."""


def make_root() -> Any:
    """Return the whole command line as one command object."""
    app = typer.Typer(
        cls=RootGroup,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    return get_command(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code. Errors caused by the user are shown, not raised."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        outcome = make_root().main(arguments, prog_name="rdv", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        return _usage(error, as_json=as_json)
    except Abort:
        return INTERRUPTED
    except PipeClosedError:
        return PIPE_CLOSED
    except RdvError as error:
        show_error(error.text(), error.hint(), error.code(), as_json=as_json)
        return exit_code(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        # An error that the library has not translated: the system's fault, so without a traceback.
        text = f"{error.filename or 'cannot write or read'}: {error.strerror or error}"
        show_error(text, code="system_fault", as_json=as_json)
        return FAILED
    return outcome if isinstance(outcome, int) else 0


def _usage(error: TyperException, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
    else:
        hint = f"See: {context.command_path} --help" if context is not None else ""
        show_error(error.format_message(), hint, "wrong_usage", as_json=as_json)
    return getattr(error, "exit_code", USAGE)
