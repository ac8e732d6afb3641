"""The `rdv` command: all commands, and the one place where their errors are handled."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import typer
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
from rdv.commands.lazy import Lazy, LazyGroup
from rdv.errors import RdvError
from rdv.native import NATIVE
from rdv.system.command_line import set_command_line


class RootGroup(LazyGroup):
    """List all commands, in the order of the help. A command is imported only when it is called."""

    table: ClassVar[dict[str, Lazy]] = {
        "init": Lazy(
            "rdv.commands.init:init", "Make a decision: settings, schedules, models, requests."
        ),
        "serve": Lazy("rdv.commands.serve:serve", "Run a decision until it is stopped."),
        "ask": Lazy("rdv.commands.ask:ask", "Send one request to a running decision."),
        "score": Lazy("rdv.commands.score:score", "Score a file by the live decision."),
        "load": Lazy("rdv.commands.load:load", "Send requests at a rate, and measure the answers."),
        "drill": Lazy(
            "rdv.commands.drill:drill",
            "Inject faults into a private copy of a decision, under load.",
        ),
        "status": Lazy(
            "rdv.commands.status:status",
            "Show which processes run, which models answer, and how fast.",
        ),
        "events": Lazy(
            "rdv.commands.events:events",
            "Show what happened to a decision: who changed what, when, and by which command.",
        ),
        "console": Lazy(
            "rdv.commands.console:console",
            "Show the page and /metrics of a decision, until Ctrl-C.",
        ),
        "metrics": Lazy(
            "rdv.commands.metrics:MetricsGroup", "Print rules and dashboards for Prometheus."
        ),
        "model": Lazy("rdv.commands.model:ModelGroup", "Run, add, list and remove models."),
        "schedule": Lazy(
            "rdv.commands.schedule:ScheduleGroup", "Show, check and choose schedules."
        ),
        "verify": Lazy(
            "rdv.commands.verify:verify",
            "Decide every recorded request again, and report the differences.",
        ),
        "explain": Lazy(
            "rdv.commands.explain:explain",
            "Explain an answer: arrivals, steps, and the answers of the other models.",
        ),
        "errors": Lazy(
            "rdv.commands.model_errors:errors",
            "Show the errors of models, grouped, with an example of each.",
        ),
        "whatif": Lazy(
            "rdv.commands.whatif:whatif",
            "Show what another schedule would have answered to the recorded requests.",
        ),
        "optimise": Lazy(
            "rdv.commands.optimise:optimise",
            "Search for a better schedule, judged by the recorded requests.",
        ),
        "regress": Lazy(
            "rdv.commands.regress:regress",
            "Hold an edited schedule against recorded traffic: a test for schedules in CI.",
        ),
        "outcome": Lazy(
            "rdv.commands.outcome:outcome", "Record what turned out to be true of requests."
        ),
        "replay": Lazy(
            "rdv.commands.replay:replay",
            "Run a model on recorded requests, and compare its answers with the recorded ones.",
        ),
        "export": Lazy(
            "rdv.commands.export:export",
            "Export the log as Parquet, partitioned by day: OUT/TABLE/day=2026-11-22/….parquet.",
        ),
        "compare": Lazy("rdv.commands.compare:compare", "Compare two models on the same requests."),
        "ab": Lazy(
            "rdv.commands.ab:ab", "Evaluate an A/B test: the effect of a cohort's schedule."
        ),
        "promote": Lazy(
            "rdv.commands.promote:promote",
            "Make a model the champion, if the recorded requests show that it is good enough.",
        ),
        "tail": Lazy("rdv.commands.tail:tail", "Show the newest records of a stream, and follow."),
        "stream": Lazy("rdv.commands.stream:StreamGroup", "Create, inspect and repair streams."),
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
    set_command_line(["rdv", *given])
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
