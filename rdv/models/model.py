"""Defines the interface of every kind of model to a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from rdv.models.errors import ModelError

Takes = Literal["values", "data", "lines"]
"""What `predict` takes for each row: the parsed value of the request's `data`; its JSON as bytes;
or the whole request, byte for byte as in the log.
"""

Again = Callable[[int], Any]

Outcome = bytes | ModelError | None
"""A row's result as JSON, why there is none, or None: nothing to report, no score."""


class Model(Protocol):
    """The interface of a loaded model, for the one thread that has loaded it.

    What a model makes in that thread (a connection of sqlite3, a loop of asyncio) often does not
    work in another.
    """

    version: str
    """Recorded with every score."""

    takes: Takes

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Return one outcome for each row, in order. Never raises, never ends the process on
        purpose.

        A model that fails affects only the rows that it was given. `again` makes row number n anew,
        for a model that has changed its rows before it failed.
        """

    def close(self) -> None:
        """Release processes and files. May be called twice."""


def trouble_of(model: Model) -> str:
    """Return why the model cannot answer now, as far as is known; empty while it can.

    For the thread that calls `predict`. Only models outside of this process have any trouble.
    """
    return str(getattr(model, "trouble", ""))
