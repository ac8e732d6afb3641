"""From the options of a command line to the settings of a model."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from rdv.commands.errors import InvalidOption
from rdv.config import Decision, ModelConfig

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Command = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- COMMAND…",
        help='A program that reads {"id": 1, "data": …} on stdin, a line each, and answers '
        '{"id": 1, "result": …} on stdout.',
        show_default=False,
    ),
]


def with_code(
    model: ModelConfig, decision: Decision, path: str | None, command: list[str] | None
) -> ModelConfig:
    """`model` with other code, if some is given. Raises InvalidOption.

    Files are meant from where the command is typed, else from the decision's directory; in the
    settings they are written as the decision's files are.
    """
    if path and command:
        raise InvalidOption("--path", "does not go with a command: one of them is enough")
    if path:
        found = _place(decision, path)
        if found is None:
            raise InvalidOption("--path", f"there is no file {path}")
        return msgspec.structs.replace(model, path=found, command=[])
    if command:
        words = [_place(decision, word) or word for word in command]
        return msgspec.structs.replace(model, path="", command=words)
    return model


def _place(decision: Decision, path: str) -> str | None:
    """How rdv.toml names a file; None when there is none."""
    if os.path.isfile(path):
        full = os.path.abspath(path)
        root = os.path.abspath(decision.directory)
        return os.path.relpath(full, root) if os.path.commonpath((full, root)) == root else full
    return path if os.path.isfile(decision.path(path)) else None
