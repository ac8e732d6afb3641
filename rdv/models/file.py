"""Run a model that an adapter loads from a file, or a folder."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Mapping
from typing import Any

from rdv.models.batch import RAISED_ONLY, encode_batch, end_if_forked, predict_batch
from rdv.models.kinds import Kind, UnusableOption, find_kind
from rdv.models.model import Again, ModelNotLoaded, Outcome, Takes
from rdv.models.number_rows import NumberRows
from rdv.models.python_file import forget_siblings, not_loaded

log = logging.getLogger("rdv.models")


class FileModel:
    """Calls `predict` of the model that the file's adapter has loaded.

    See `rdv.models.adapters`. For the thread that has made it.
    """

    takes: Takes = "values"

    def __init__(
        self, name: str, path: str, options: Mapping[str, Any], version: str, result_bytes_max: int
    ) -> None:
        """Load the file. Raises ModelNotLoaded, UnknownKind."""
        self._kind = find_kind(path)
        self.kind = self._kind.name
        self._bytes_max = result_bytes_max
        self.input_errors = RAISED_ONLY
        process = os.getpid()
        try:
            self._kind.check_options(options)
            forget_siblings(path)
            self._loaded = self._kind.adapter.load(path, options)
            self._numbers = _numbers_of(self._loaded)
            self.version = version or str(self._loaded.version)
        except BaseException as error:  # noqa: BLE001 - model code, anything goes
            end_if_forked(process)
            raise _not_loaded(name, path, self._kind, error) from None
        end_if_forked(process)
        self.columns: list[dict[str, Any]] | None = self._loaded.columns
        """The columns of its input, as far as its file tells. See `rdv.models.adapters`."""
        self.files: list[str] = list(getattr(self._loaded, "files", ()))
        self.notes: list[str] = list(getattr(self._loaded, "notes", ()))
        for note in self.notes:
            log.info("%s: %s", name, note)

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows. See Model."""
        return predict_batch(self._loaded.predict, rows, self._bytes_max, again, self.input_errors)

    def predict_texts(self, rows: list[Any]) -> list[Outcome] | None:
        """Evaluate the JSON of rows that are plain numbers.

        Returns None for all others, and when the model raises: `predict` then says for each row
        what is wrong with it.
        """
        if self._numbers is None or (x := self._numbers.read(rows)) is None:
            return None
        loaded: Any = self._loaded
        process = os.getpid()
        try:
            results = loaded.predict_numbers(x)
        except KeyboardInterrupt as error:  # not to be lost by another attempt: see rdv.local
            end_if_forked(process)
            return [self.input_errors.error(error)] * len(rows)
        except BaseException:  # noqa: BLE001 - model code, anything goes
            end_if_forked(process)
            return None
        end_if_forked(process)
        return encode_batch(results, len(rows), self._bytes_max)

    def close(self) -> None:
        """Release what the model holds, if its adapter has a way."""
        if callable(close := getattr(self._loaded, "close", None)):
            try:
                close()
            except BaseException:  # noqa: BLE001 - model code, on its way out
                traceback.print_exc()


def _numbers_of(loaded: Any) -> NumberRows | None:
    """Raise TypeError or ValueError for an adapter that describes its columns wrongly."""
    found = getattr(loaded, "numbers", None)
    if found is None:
        return None
    names, count, fills = found
    return NumberRows(names, count, fills=fills)


def _not_loaded(name: str, path: str, kind: Kind, error: BaseException) -> ModelNotLoaded:
    if isinstance(error, UnusableOption):
        return ModelNotLoaded(name, path, str(error))
    if isinstance(error, ImportError) and (reason := kind.explain(error)):
        return ModelNotLoaded(name, path, reason)
    return not_loaded(name, path, error)
