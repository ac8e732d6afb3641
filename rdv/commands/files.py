"""Files named on the command line: a missing one is a usage error, and is found before any work."""

from __future__ import annotations

import os

import typer

from rdv.commands.errors import NotUsable


def need_file(option: str, path: str) -> None:
    """Check that there is a file (or pipe) at `path`. Raises NotUsable."""
    if os.path.isdir(path):
        raise NotUsable(option, f"{path} is a directory, not a file")
    if not os.path.exists(path):
        raise NotUsable(option, f"there is no file {path}")


def need_folder(param: typer.CallbackParam, value: str | None) -> str | None:
    """Check options that name a file to be written, as a typer callback. Raises NotUsable."""
    if value is not None:
        folder = os.path.dirname(value) or "."
        if not os.path.isdir(folder):
            raise NotUsable(param.opts[-1], f"there is no directory {folder}", f"mkdir -p {folder}")
        if os.path.isdir(value):
            raise NotUsable(param.opts[-1], f"{value} is a directory, not a file")
    return value
