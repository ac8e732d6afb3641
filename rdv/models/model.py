"""What every kind of model looks like to a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

from rdv.models.errors import ModelError

Takes = Literal["values", "data", "lines"]
"""What `predict` wants for each row: the parsed value of the request's `data`; its JSON as bytes;
or the whole request, byte for byte as it lies in the log."""

Again = Callable[[int], Any]

Outcome = bytes | ModelError | None
"""A row's result as JSON, why there is none, or None: nothing to report, no score."""


class Model(Protocol):
    """A loaded model. For one thread, the one that has loaded it: what a model makes there (a
    connection of sqlite3, a loop of asyncio) is often of no use in another.
    """

    version: str
    """Recorded with every score."""

    takes: Takes

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """One outcome for each row, in order. Never raises, never ends the process on purpose.

        A model that misbehaves spoils the rows that it was given and nothing else. `again` makes
        row number n anew, for a model that has changed its rows before it failed.
        """

    def close(self) -> None:
        """Give back processes and files. May be called twice."""


def trouble_of(model: Model) -> str:
    """Why it cannot answer at this moment, as far as it knows; empty while it can.

    For the thread that calls `predict`. Only models outside of this process have any trouble.
    """
    return str(getattr(model, "trouble", ""))
