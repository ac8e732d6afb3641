"""Declare the [logging] section of an rdv.toml: the form and the place of the log."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from rdv.decision.sections import on_serve


class Logging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configures the log of `rdv serve`: its own lines and those of all processes."""

    format: Annotated[
        Literal["text", "json"],
        on_serve('Form of the log: "text", or "json" with an object a line'),
    ] = "text"
    file: Annotated[
        str,
        on_serve(
            "File for the log, relative to this directory; stderr stays text then; empty: stderr"
        ),
    ] = ""
    bytes_max: Annotated[
        int,
        on_serve("Size of the file at which it is renamed to FILE.1", 4096, 2**40),
    ] = 67_108_864
    files_max: Annotated[
        int, on_serve("Number of files that are kept: FILE, FILE.1, FILE.2 ...", 1, 1000)
    ] = 5
