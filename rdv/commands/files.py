"""Files that a command line names: missing ones are its mistake, and found before any work."""

from __future__ import annotations

import os

import typer

from rdv.commands.errors import NotUsable


def need_file(option: str, path: str) -> None:
    """Raises NotUsable when there is no file (or pipe) at `path`."""
    if os.path.isdir(path):
        raise NotUsable(option, f"{path} is a directory, not a file")
    if not os.path.exists(path):
        raise NotUsable(option, f"there is no file {path}")


def need_folder(param: typer.CallbackParam, value: str | None) -> str | None:
    """The callback of options that name a file to be written. Raises NotUsable."""
    if value is not None:
        folder = os.path.dirname(value) or "."
        if not os.path.isdir(folder):
            raise NotUsable(param.opts[-1], f"there is no directory {folder}", f"mkdir -p {folder}")
        if os.path.isdir(value):
            raise NotUsable(param.opts[-1], f"{value} is a directory, not a file")
    return value
