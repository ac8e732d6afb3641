"""Running a model's Python file as a module of its own.

Loading a file again makes a new module beside the old one, which goes on as it was: that is what
replacing a model without a gap needs.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import threading
from types import ModuleType

_numbers = itertools.count(1)
_loading = threading.Lock()
PREFIX = "rdv_model_"


def load_module(name: str, path: str) -> ModuleType:
    """Run the file at `path` under a new module name, its directory on `sys.path`.

    Its siblings (`import features`) are loaded anew as well, else an edited one would not take
    effect, and two models in different directories would get each other's. No bytecode is read
    or written for the file itself: Python trusts that by the second, and edits come faster.
    Thread-safe. Raises whatever the file raises.
    """
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    with _loading:
        _forget(directory)
        module = ModuleType(f"{PREFIX}{next(_numbers)}_{name}")
        module.__file__ = path
        sys.modules[module.__name__] = module
        unwritten, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, directory)
        try:
            with open(path, "rb") as file:
                code = compile(file.read(), path, "exec", dont_inherit=True)
            exec(code, module.__dict__)  # noqa: S102 - running model code is what this is for
        except BaseException:
            del sys.modules[module.__name__]
            raise
        finally:
            sys.dont_write_bytecode = unwritten
            _move_back(directory)
    return module


def forget_module(module: ModuleType) -> None:
    """Let a module of `load_module` go. Harmless when it has gone."""
    sys.modules.pop(module.__name__, None)


def _forget(directory: str) -> None:
    """Drop the siblings that an earlier load has left, unless they are models themselves."""
    importlib.invalidate_caches()
    for name, module in list(sys.modules.items()):
        if name.startswith(PREFIX) or name == "__main__":
            continue
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and _within(file, directory):
            del sys.modules[name]


def _within(file: str, directory: str) -> bool:
    """Whether a module's file is a sibling, or in a package beside the model.

    Libraries are not siblings, even when a virtual environment lies in the model's directory.
    """
    path = os.path.realpath(file)
    if "site-packages" in path or path.startswith(_OWN):
        return False
    return path.startswith(directory + os.sep)


_OWN = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep


def _move_back(directory: str) -> None:
    """A directory in front is for loading; behind the libraries it stays for late imports."""
    sys.path.remove(directory)
    if directory not in sys.path:
        sys.path.append(directory)
