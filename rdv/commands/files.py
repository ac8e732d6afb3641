"""Files named on the command line: a missing one is a usage error, and is found before any work."""

from __future__ import annotations

import os
import stat

import typer

from rdv.commands.errors import NotUsable


def need_file(option: str, path: str) -> None:
    """Check that there is a file (or pipe) at `path`. Raises NotUsable, NotPermitted."""
    mode = _mode(path)
    if mode is None:
        raise NotUsable(option, f"there is no file {path}")
    if stat.S_ISDIR(mode):
        raise NotUsable(option, f"{path} is a directory, not a file")


def need_no_file(param: typer.CallbackParam, value: str) -> str:
    """Check a directory that is to be made, as a typer callback. Raises NotUsable."""
    check_no_file(value if param.param_type_name == "argument" else param.opts[-1], value)
    return value


def check_no_file(what: str, directory: str) -> None:
    """Check that neither the directory nor one above it is a file. Raises NotUsable."""
    place = os.path.abspath(directory)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if os.path.exists(place) and not os.path.isdir(place):
        raise NotUsable(what, f"{place} is a file, not a directory")


def need_folder(param: typer.CallbackParam, value: str | None) -> str | None:
    """Check options that name a file to be written, as a typer callback.

    Raises NotUsable, NotPermitted.
    """
    if value is not None:
        folder = os.path.dirname(value) or "."
        if not stat.S_ISDIR(_mode(folder) or 0):
            raise NotUsable(param.opts[-1], f"there is no directory {folder}", f"mkdir -p {folder}")
        if stat.S_ISDIR(_mode(value) or 0):
            raise NotUsable(param.opts[-1], f"{value} is a directory, not a file")
    return value


def _mode(path: str) -> int | None:
    """Return the mode of what is at `path`; None if nothing is. Raises NotPermitted."""
    from rdv.stream.file.disk import faults

    with faults(path, "read"):
        try:
            return os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
