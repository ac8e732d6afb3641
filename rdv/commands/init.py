"""Implement `rdv init`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rdv.commands.errors import InvalidOption, NotJson
from rdv.commands.options import Json, Quiet, need_no_file
from rdv.commands.output import Column, Output, number
from rdv.commands.terminal import paint
from rdv.commands.units import digits
from rdv.errors import NotUsable

if TYPE_CHECKING:
    from rdv.decision import BlankReport, InitReport

EXAMPLES = (
    "rdv init fraud",
    "rdv init mail --template digits",
    "rdv init pages --template ads",
    "rdv init shop --model churn=churn.py --model rules=rules.py --default '{\"churns\": false}'",
    "rdv init empty --template blank",
)
_COLUMNS = (
    Column("model"),
    Column("role"),
    number("value", show="{:.4f}".format),
    number("row_ms", "ms per request", digits),
)


def init(
    directory: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="The directory to make; it may exist if empty.",
            callback=need_no_file,
        ),
    ],
    *,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="fraud: card payments. ads: the ten ads of a page, from models that share the "
            "candidates. recommend: what to listen to next. retail: what runs out of stock. "
            "digits: sorting mail by handwritten digits, with the extra [sklearn]. blank: no "
            "models. Default: fraud, or with --model blank.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="A model of your own, which is copied; the champion first. May be given several "
            "times.",
        ),
    ] = None,
    default: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="With --model: the answer when no model has answered in time."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a decision: settings, schedules, models, requests.

    The models are trained here and measured on data that none of them has learned from. If
    something fails, nothing is left behind; existing files are never overwritten.

    With --model the decision has your models instead. Only the files that are named are copied;
    copy other files that they read into DIR/models.
    """
    import msgspec

    from rdv.decision import BLANK, init_blank, init_decision

    output = Output(as_json=as_json, quiet=quiet)
    chosen = template or (BLANK if model else "fraud")
    if chosen != BLANK:
        if model or default is not None:
            option = "--model" if model else "--default"
            raise InvalidOption(
                option, f"does not go with the template {chosen!r}, only with blank"
            )
        report = init_decision(directory, chosen)
        if as_json:
            output.json(msgspec.to_builtins(report))
        else:
            _render(report, output)
        return
    models = _models(model or [])
    if models and default is None:
        reason = "what is the answer when no model has answered in time? Give it as JSON"
        raise InvalidOption("--default", reason, "For example --default '{\"churns\": false}'")
    made = init_blank(directory, models, _default(default))
    if as_json:
        output.json(msgspec.to_builtins(made))
    else:
        _render_blank(made, output)


def _models(given: list[str]) -> dict[str, str]:
    """Return files by the models' names. Raises InvalidOption, NotUsable."""
    from rdv.api.model_code import need_kind
    from rdv.commands.options import need_file

    files: dict[str, str] = {}
    for one in given:
        name, is_pair, path = one.partition("=")
        if not (name and is_pair and path):
            raise InvalidOption("--model", f"{one!r} is not NAME=FILE")
        if name in files:
            raise InvalidOption("--model", f"there are two models {name!r}")
        if not os.path.isdir(path):
            need_file("--model", path)
        need_kind("--model", path, path)
        files[name] = path
    return files


def _default(text: str | None) -> Any:
    """Return the schedule's default. Raises NotJson, NotUsable."""
    from rdv.payload import UnusableJson, read_json

    if text is None:
        return None
    try:
        value = read_json(text)
    except UnusableJson as error:
        raise NotJson("--default", error.verdict(), error.hint()) from None
    if _has_null(value):
        raise NotUsable("--default", "has a null, which TOML, and so a schedule, cannot contain")
    return value


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _render_blank(made: BlankReport, output: Output) -> None:
    output.text(f"made {made.directory}: {'your models' if made.models else 'no models yet'}")
    output.text()
    if made.models:
        rows = [{"model": name, "file": path} for name, path in made.models.items()]
        output.table([Column("model"), Column("file")], rows)
        output.text()
    _render_next(made.next_commands, output)


def _render(report: InitReport, output: Output) -> None:
    output.text(f"made {report.directory}: {report.about}")
    output.text()
    value = number("value", report.metric, "{:.4f}".format)
    rows = [
        {"model": m.name, "role": m.role, "value": m.value, "row_ms": m.row_ms}
        for m in report.models
    ]
    output.table([value if column.key == "value" else column for column in _COLUMNS], rows)
    output.text()
    output.text(
        paint(
            f"{report.metric} on {report.held_out:,} rows that no model has learned from",
            "dim",
            sys.stdout,
        )
    )
    output.text()
    _render_next(report.next_commands, output)


def _render_next(commands: list[tuple[str, str]], output: Output) -> None:
    output.text("Next:")
    for command, what in commands:
        output.text(f"  {paint('# ' + what, 'dim', sys.stdout)}")
        output.text(f"  {paint(command, 'bold', sys.stdout)}")
