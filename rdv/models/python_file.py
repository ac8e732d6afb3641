"""Load a Python file with `predict(rows) -> results` as a model.

The file runs as a separate module. Loading it again makes a new module beside the old one, which
goes on unchanged: replacing a model without a gap needs that.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import threading
import traceback
from types import ModuleType
from typing import Any

from rdv.models.batch import RAISED_ONLY, end_if_forked, predict_batch
from rdv.models.model import Again, ModelNotLoaded, Outcome, Takes, describe, may_pass

_numbers = itertools.count(1)
_loading = threading.Lock()
_directories: set[str] = set()
PREFIX = "rdv_model_"
_HERE = os.path.dirname(os.path.abspath(__file__))
_OWN = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep


def load_module(name: str, path: str) -> ModuleType:
    """Run the file at `path` under a new module name, its directory on `sys.path`.

    Its siblings (`import features`) are loaded anew as well, else an edited one would not take
    effect, and models in different directories would share them. (Only an import inside of a
    function, of a name that two such directories have, can still find the wrong one.) No bytecode
    is read or written for the file itself: Python checks its age in seconds, and edits come faster.
    Thread-safe. Raises what the file raises.
    """
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    with _loading:
        _forget_siblings(directory)
        module = ModuleType(f"{PREFIX}{next(_numbers)}_{name}")
        module.__file__ = path
        sys.modules[module.__name__] = module
        # For good: a model may import its siblings later, and a cached one would hide an edit.
        sys.dont_write_bytecode = True
        sys.path.insert(0, directory)
        try:
            with open(path, "rb") as file:
                code = compile(file.read(), path, "exec", dont_inherit=True)
            exec(code, module.__dict__)  # noqa: S102 - running model code is what this is for
        except BaseException:
            del sys.modules[module.__name__]
            raise
        finally:
            _move_back(directory)
    return module


def forget_module(module: ModuleType) -> None:
    """Drop a module of `load_module`. May be called again."""
    sys.modules.pop(module.__name__, None)


def forget_siblings(path: str) -> None:
    """Let a model file that is loaded next import the modules beside it anew. Thread-safe."""
    with _loading:
        _forget_siblings(os.path.dirname(os.path.realpath(path)))


def _forget_siblings(directory: str) -> None:
    """Drop what earlier loads have imported from beside a model; those models keep theirs."""
    _directories.add(directory)
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.startswith(PREFIX) or name == "__main__" or not isinstance(file, str):
            continue
        if _is_sibling(os.path.realpath(file)):
            del sys.modules[name]


def _is_sibling(path: str) -> bool:
    """Return whether it lies beside a model.

    Libraries do not count, even in a virtual environment in a model's directory.
    """
    if "site-packages" in path or path.startswith(_OWN):
        return False
    return any(path.startswith(directory + os.sep) for directory in _directories)


def _move_back(directory: str) -> None:
    """Move the directory to the end of `sys.path`, behind the libraries, for late imports."""
    if directory in sys.path:
        sys.path.remove(directory)
    if directory not in sys.path:
        sys.path.append(directory)


class PythonModel:
    """Calls `predict(rows)` of a file; calls `load()` once, if there is one.

    Then it reads `version` and `columns` (`rdv.models.columns`), if the file has them.

    The rows are the parsed `data` of the requests; a result is anything that orjson can write,
    numpy included. To replace a changed file, open a new PythonModel and close this one.
    """

    takes: Takes = "values"
    kind = "Python file"

    def __init__(self, name: str, path: str, version: str, result_bytes_max: int) -> None:
        """Run the file. Raises ModelNotLoaded."""
        self._bytes_max = result_bytes_max
        self.input_errors = RAISED_ONLY
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
            found = version or getattr(module, "version", "")
        except BaseException as error:  # noqa: BLE001 - model code, anything goes
            end_if_forked(process)
            forget_module(module)
            raise not_loaded(name, path, error) from None
        end_if_forked(process)
        self.version = str(found)
        self.columns: object = getattr(module, "columns", None)
        self._module: ModuleType | None = module

    def predict(self, rows: list[Any], again: Again | None = None) -> list[Outcome]:
        """Evaluate the rows. See Model."""
        return predict_batch(self._predict, rows, self._bytes_max, again, self.input_errors)

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
    return ModelNotLoaded(name, path, describe(error), trace, may_pass=may_pass(error))
