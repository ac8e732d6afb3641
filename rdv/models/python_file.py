"""A model may be a Python file with `predict(rows) -> results`."""

from __future__ import annotations

import os
import traceback
from types import ModuleType
from typing import Any

from rdv.models.batch import end_if_forked, predict_batch
from rdv.models.errors import ModelNotLoaded, describe
from rdv.models.fingerprint import file_version
from rdv.models.model import Again, Outcome, Takes
from rdv.models.modules import forget_module, load_module


class PythonModel:
    """Calls `predict(rows)` of a file; calls `load()` once, if there is one, then reads `version`.

    The rows are the parsed `data` of the requests; a result is anything that orjson can write,
    numpy included. To replace a changed file, open a new PythonModel and close this one.
    """

    takes: Takes = "values"

    def __init__(self, name: str, path: str, version: str, result_bytes_max: int) -> None:
        """Run the file. Raises ModelNotLoaded."""
        self._bytes_max = result_bytes_max
        process = os.getpid()
        try:
            module = load_module(name, path)
        except BaseException as error:  # noqa: BLE001 - model code, anything goes
            end_if_forked(process)
            raise not_loaded(name, path, error) from None
        try:
            self._predict = _predict_of(module)
            if callable(load := getattr(module, "load", None)):
                load()
            found = version or getattr(module, "version", "") or file_version(path)
        except BaseException as error:  # noqa: BLE001 - model code, anything goes
            end_if_forked(process)
            forget_module(module)
            raise not_loaded(name, path, error) from None
        end_if_forked(process)
        self.version = str(found)
        self._module: ModuleType | None = module

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows. See Model."""
        return predict_batch(self._predict, rows, self._bytes_max, again)

    def close(self) -> None:
        """Drop the module; its `close()` is called, if there is one."""
        module, self._module = self._module, None
        if module is None:
            return
        forget_module(module)
        if callable(close := getattr(module, "close", None)):
            try:
                close()
            except BaseException:  # noqa: BLE001 - model code, on its way out
                traceback.print_exc()


def _predict_of(module: ModuleType) -> Any:
    predict = getattr(module, "predict", None)
    if not callable(predict):
        raise TypeError("it has no function predict(rows)")
    return predict


def not_loaded(name: str, path: str, error: BaseException) -> ModelNotLoaded:
    """Return the error for what a model's file has raised, with the traceback of its own lines."""
    if isinstance(error, FileNotFoundError) and error.filename == os.path.realpath(path):
        return ModelNotLoaded(name, path, "there is no such file")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_HERE)]
    trace = "".join(traceback.format_list(own))
    return ModelNotLoaded(name, path, describe(error), trace)


_HERE = os.path.dirname(os.path.abspath(__file__))
