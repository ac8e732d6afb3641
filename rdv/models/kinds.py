"""Find the adapter for a model file: rdv's own, or one that another package registers.

`rdv.models.adapters` says what an adapter is.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from rdv.coded import coded

log = logging.getLogger("rdv.models")

GROUP = "rdv.models"
"""The group of the entry points that register adapters."""
OWN = ("sklearn", "skops", "lightgbm", "xgboost", "catboost", "onnx", "torch", "mlflow")
_OWN_PACKAGE = "rdv.models.adapters"
PYTHON_ENDING = ".py"
SETTINGS = frozenset(("threads", "trusted"))
"""Keys of [models.NAME] that every adapter gets among its options."""


class Loaded(Protocol):
    """A model that an adapter has loaded. `files`, `notes` and `close` are optional."""

    version: str
    columns: list[dict[str, Any]] | None

    def predict(self, rows: list[Any]) -> Any:
        """Return one result for each row."""


class Adapter(Protocol):
    """The module of an adapter."""

    ENDINGS: tuple[str, ...]
    EXTRA: str
    LIBRARIES: tuple[str, ...]
    __file__: str

    def recognises(self, path: str) -> bool:
        """Return whether the file, or folder, is of this kind."""

    def load(self, path: str, options: Mapping[str, Any]) -> Loaded:
        """Load the model. Raises what the library raises."""


class UnknownKind(ValueError):
    """No adapter takes the file; the text says why, and which kinds there are."""


class UnusableOption(ValueError):
    """[models.NAME.options] has a key that the adapter does not know."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model file."""

    name: str
    adapter: Adapter
    package: str = "rdv"
    """The package whose extra installs the library."""

    @property
    def file(self) -> str:
        """Return the path of the adapter's module, to run it with another interpreter."""
        return os.path.abspath(self.adapter.__file__)

    @property
    def install(self) -> str:
        """Return the command that installs the library."""
        extra = self.adapter.EXTRA
        return f"pip install '{self.package}[{extra}]'" if extra else f"pip install {self.package}"

    def explain(self, error: ImportError) -> str:
        """Return what to install when the adapter's library is missing; else an empty text."""
        missing = (error.name or "").partition(".")[0]
        is_library = missing in getattr(self.adapter, "LIBRARIES", ())
        return f"{error}; {self.install}" if is_library else ""

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise UnusableOption for a key that the adapter does not know."""
        known: Mapping[str, str] | None = getattr(self.adapter, "OPTIONS", None)
        if known is None:
            return
        if unknown := sorted(options.keys() - known.keys() - SETTINGS):
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UnusableOption(f"{self.name} has no option {unknown[0]!r}: {has}")

    def __str__(self) -> str:
        endings = ["a folder" if one == "/" else one for one in self.adapter.ENDINGS]
        return f"{self.name} ({', '.join(endings)})"


def find_kind(path: str) -> Kind:
    """Return the kind of the model file or folder at `path`. Raises UnknownKind.

    rdv's own adapters are asked first. The contents decide where kinds share an ending.
    """
    is_folder = os.path.isdir(path)
    shown = f"{path.rstrip('/')}/" if is_folder else path
    similar = []
    for kind in kinds():
        if shown.lower().endswith(tuple(kind.adapter.ENDINGS)):
            similar.append(kind.name)
            with contextlib.suppress(OSError):
                if kind.adapter.recognises(path):
                    return kind
    known = ", ".join(["Python (.py)", *map(str, kinds())])
    if not similar:
        ending = "it is a folder" if is_folder else "its name does not end in one of their endings"
        reason = f"no kind of model fits: {ending}"
    else:
        what = "folder" if is_folder else "file"
        reason = f"this {what} is not a model of {' or '.join(similar)}"
    raise UnknownKind(f"{reason}; rdv loads {known}")


def kinds() -> Iterator[Kind]:
    """Yield every kind: rdv's own, then those of other packages."""
    for name in OWN:
        if kind := _own(name):
            yield kind
    yield from _others()


@functools.cache
def _own(name: str) -> Kind | None:
    try:
        return Kind(name, cast("Adapter", importlib.import_module(f"{_OWN_PACKAGE}.{name}")))
    except ModuleNotFoundError as error:
        if error.name != f"{_OWN_PACKAGE}.{name}":
            raise
        return None


@functools.cache
def _others() -> tuple[Kind, ...]:
    """Return the adapters of other packages, by their entry points."""
    points = importlib.metadata.entry_points(group=GROUP)
    others = [point for point in points if not point.value.startswith(f"{_OWN_PACKAGE}.")]
    found = []
    for point in sorted(others, key=lambda point: point.name):
        package = point.dist.name if point.dist else point.module
        try:
            found.append(Kind(point.name, point.load(), package))
        except Exception as error:  # noqa: BLE001 - another package's code
            text = "the kind %s of %s cannot be used: %r"
            log.warning(text, point.name, package, error, extra=coded("kind_unusable"))
    return tuple(found)
