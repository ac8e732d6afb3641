"""Load scikit-learn estimators from .skops files, which run no code.

Types that are not scikit-learn's or numpy's own are loaded only when `trusted` of [models.NAME]
lists them.
"""

from __future__ import annotations

import importlib.machinery
import os
import types
from typing import Any

ENDINGS = (".skops",)
EXTRA = "skops"
LIBRARIES = ("skops", "sklearn")
OPTIONS: dict[str, str] = {}

sklearn: Any = types.ModuleType("rdv_adapters_sklearn")
_SKLEARN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sklearn.py")
importlib.machinery.SourceFileLoader(sklearn.__name__, _SKLEARN).exec_module(sklearn)


class Untrusted(Exception):
    """The file has types that may not be loaded."""


def recognises(path: str) -> bool:
    """Return whether the file is a zip archive, as those of skops are."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def load(path: str, options: dict[str, Any]) -> Any:
    """Load the file. Raises Untrusted, ImportError, and what skops raises."""
    return sklearn.Estimator(sklearn.with_siblings(path, lambda path: _read(path, options)), [])


def _read(path: str, options: dict[str, Any]) -> Any:
    import skops.io  # type: ignore[import-untyped,import-not-found,unused-ignore]

    trusted = list(options.get("trusted") or ())
    found = skops.io.get_untrusted_types(file=path)
    if unknown := sorted(set(found) - set(trusted)):
        line = ", ".join(f'"{name}"' for name in sorted({*trusted, *unknown}))
        raise Untrusted(
            f"the file has types that are not trusted: {', '.join(unknown)}. If you trust them, "
            f"add to the model in rdv.toml: trusted = [{line}]"
        )
    return skops.io.load(path, trusted=found)
