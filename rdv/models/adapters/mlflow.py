"""Load MLflow model folders, which have a file named MLmodel.

Where rdv loads the model's own kind of file (scikit-learn, LightGBM, XGBoost, CatBoost, ONNX), that
adapter does it, and MLflow need not be installed. Any other flavour is loaded as `python_function`
by MLflow. Rows are checked against the folder's signature in both cases.

Loading a folder runs code that it contains: use only folders that you trust.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from typing import Any

ENDINGS = ("/",)
EXTRA = "mlflow"
LIBRARIES = ("mlflow", "yaml", "cloudpickle")
OPTIONS = {
    "flavor": 'the flavour to load; "python_function": by MLflow in any case',
    "params": "parameters of predict that the signature names, of python_function",
    "labels": "the classes' names in order, where the model's own file lacks them",
    "model_config": "configuration of a python_function, as in mlflow.pyfunc.load_model",
}

FILE = "MLmodel"
RUNS_CODE = "loading an MLflow folder runs code that it contains: use only folders that you trust"
HEAD_BYTES = 64 * 1024
SHOWN_MAX = 60
GENERIC = "python_function"

NATIVE = {
    "sklearn": "pickled_model", "lightgbm": "data", "xgboost": "data", "catboost": "data",
    "onnx": "data",
}  # fmt: skip
"""The flavours that rdv loads by itself, and the key in MLmodel that names the file."""
_OWN = ("flavor", "params", "model_config")
_PREDICTS = ("predict", "predict_proba")
_VERSIONS = {"sklearn": "sklearn_version", "lightgbm": "lgb_version", "xgboost": "xgb_version",
             "catboost": "catboost_version", "onnx": "onnx_version"}  # fmt: skip

_TYPES = {
    "double": "number", "float": "number", "long": "integer", "integer": "integer",
    "string": "string", "boolean": "boolean", "datetime": "datetime", "binary": "string",
    "array": "list", "object": "object", "map": "object",
}  # fmt: skip


def recognises(path: str) -> bool:
    """Return whether it is a folder with a file MLmodel that lists flavours."""
    try:
        with open(os.path.join(path, FILE), "rb") as file:
            return b"flavors:" in file.read(HEAD_BYTES)
    except OSError:
        return False


def load(path: str, options: dict[str, Any]) -> Any:
    """Load the folder. Raises what the model's library raises, ImportError, ValueError."""
    about = read_mlmodel(path)
    flavors: dict[str, Any] = about["flavors"]
    flavor = options.get("flavor") or _flavor_of(flavors, options)
    if flavor not in flavors:
        raise ValueError(f"{FILE} has no flavour {flavor!r}: it has {', '.join(flavors)}")
    signature = Signature(about.get("signature") or {})
    add_code_paths(path, flavors)
    if flavor in NATIVE:
        return Native(path, flavor, flavors[flavor] or {}, signature, options)
    if flavor == GENERIC:
        return PyFunc(path, signature, options)
    raise ValueError(f'rdv does not load the flavour {flavor!r} itself: flavor = "{GENERIC}" does')


def read_mlmodel(path: str) -> dict[str, Any]:
    """Return the contents of MLmodel. Raises OSError, ValueError, ImportError."""
    import yaml  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with open(os.path.join(path, FILE), encoding="utf-8") as file:
        try:
            about = yaml.safe_load(file)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"{FILE} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(about, dict) or not isinstance(about.get("flavors"), dict):
        raise ValueError(f"{FILE} lists no flavors")  # noqa: TRY004 - the file's contents
    return about


def _flavor_of(flavors: dict[str, Any], options: dict[str, Any]) -> str:
    """Return the flavour that rdv loads by itself if there is one; else that of MLflow."""
    generic = flavors.get(GENERIC)
    needs_mlflow = options.get("params") or options.get("model_config")
    is_usual = not isinstance(generic, dict) or generic.get("predict_fn", "predict") in _PREDICTS
    for flavor, key in NATIVE.items():
        found = flavors.get(flavor)
        if is_usual and not needs_mlflow and isinstance(found, dict) and found.get(key):
            return flavor
    return GENERIC


def add_code_paths(path: str, flavors: dict[str, Any]) -> None:
    """Make the modules importable that the folder brings along (`code_paths` of MLflow)."""
    for flavor in flavors.values():
        code = flavor.get("code") if isinstance(flavor, dict) else None
        if isinstance(code, str):
            place = inside(path, code)
            if place not in sys.path:
                sys.path.insert(0, place)


def inside(path: str, name: str) -> str:
    """Return the path of a file of the folder. Raises ValueError for one that is outside."""
    folder = os.path.realpath(path)
    place = os.path.realpath(os.path.join(folder, name))
    if os.path.commonpath((folder, place)) != folder:
        raise ValueError(f"{FILE} names {name!r}, which is outside of the folder")
    return place


class Signature:
    """The inputs that a folder's signature declares; checks rows, and gives columns their types."""

    def __init__(self, about: dict[str, Any]) -> None:
        """Raise ValueError for a signature that is no JSON."""
        text = about.get("inputs")
        self.inputs: list[dict[str, Any]] = json.loads(text) if isinstance(text, str) else []
        self.is_tensor = any(one.get("type") == "tensor" for one in self.inputs)
        named = [one for one in self.inputs if "name" in one and not self.is_tensor]
        self._columns = named if len(named) == len(self.inputs) else []
        self.names = [str(one["name"]) for one in self._columns]

    @property
    def columns(self) -> list[dict[str, Any]] | None:
        """Return the columns as rdv describes them; None without named columns."""
        if not self._columns:
            return None
        return [
            {
                "name": str(one["name"]),
                "type": _TYPES.get(str(one.get("type")), "any"),
                "required": is_required(one),
                "nullable": not is_required(one),
            }
            for one in self._columns
        ]

    def rows(self, rows: list[Any]) -> list[Any]:
        """Return the rows with the declared columns only, in order. Raises TypeError, KeyError."""
        if not self._columns:
            return rows
        if all(isinstance(row, list) for row in rows):
            rows = [self._named(row) for row in rows]
        table = self.table(rows)
        columns = [table[name] for name in self.names]
        return [dict(zip(self.names, values, strict=True)) for values in zip(*columns, strict=True)]

    def _named(self, row: list[Any]) -> dict[str, Any]:
        if len(row) != len(self.names):
            raise TypeError(f"a row has {len(row)} values, the signature {len(self.names)} columns")
        return dict(zip(self.names, row, strict=True))

    def table(self, rows: list[Any]) -> dict[str, list[Any]]:
        """Return checked values by column, of rows that are objects."""
        for row in rows:
            if not isinstance(row, dict):
                kind = type(row).__name__
                raise TypeError(f"a row is an object with the model's columns, not a {kind}")
        found = {}
        for one in self._columns:
            name = str(one["name"])
            required = is_required(one)
            if required and any(name not in row for row in rows):
                row = next(row for row in rows if name not in row)
                missing = [column for column in self.names if column not in row]
                raise KeyError(f"the model's signature requires {', '.join(map(repr, missing))}")
            values = [row.get(name) for row in rows]
            found[name] = checked(values, str(one.get("type")), name, required=required)
        return found


def is_required(column: dict[str, Any]) -> bool:
    """Return whether a column of a signature has to be there; "optional" is of MLflow 1."""
    return bool(column.get("required", not column.get("optional", False)))


_ACCEPTED: dict[str, tuple[frozenset[type], str]] = {
    "double": (frozenset((float, int, type(None))), "a number"),
    "float": (frozenset((float, int, type(None))), "a number"),
    "long": (frozenset((int,)), "an integer"),
    "integer": (frozenset((int,)), "an integer"),
    "boolean": (frozenset((bool,)), "true or false"),
    "string": (frozenset((str,)), "a string"),
    "binary": (frozenset((str,)), "a string in base64"),
    "datetime": (frozenset((str,)), "a date and time as a string"),
}
_BITS = {"integer": 31, "long": 63}


def checked(values: list[Any], kind: str, name: str, *, required: bool) -> list[Any]:
    """Return the values of a column if they have its type. Raises TypeError, which names it."""
    if kind not in _ACCEPTED:
        return values
    types, what = _ACCEPTED[kind]
    for value in values:
        if type(value) in types or (value is None and not required):
            continue
        raise TypeError(f"column {name!r} ({kind}): {shown(value)} is not {what}")
    if kind in _BITS and any(
        value is not None and value.bit_length() > _BITS[kind] for value in values
    ):
        raise TypeError(f"column {name!r} ({kind}): a value is too large")
    if kind in ("double", "float"):
        nan = float("nan")
        return [nan if value is None else float(value) for value in values]
    if kind == "binary":
        return [
            None if value is None else base64.b64decode(value, validate=True) for value in values
        ]
    return values


def shown(value: Any) -> str:
    """Return a value as JSON, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"


def sibling(name: str) -> Any:
    """Return the adapter of another kind, loaded by its path: rdv may not be installed here."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    module = f"rdv_adapter_{name}"
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[module] = made
        try:
            spec.loader.exec_module(made)
        except BaseException:
            del sys.modules[module]
            raise
    return sys.modules[module]


class Native:
    """A model whose own file rdv loads, without MLflow."""

    version = ""

    def __init__(
        self,
        path: str,
        flavor: str,
        about: dict[str, Any],
        signature: Signature,
        options: dict[str, Any],
    ) -> None:
        file = inside(path, str(about[NATIVE[flavor]]))
        kind, more = _kind_of(flavor, file, about)
        own = {key: value for key, value in options.items() if key not in _OWN}
        if "trusted" in more:
            own["trusted"] = [*own.get("trusted", ()), *more["trusted"]]
        try:
            self._loaded = sibling(kind).load(file, own)
        except ImportError as error:
            missing = (error.name or "").partition(".")[0]
            if missing in LIBRARIES:
                raise
            advice = f"it is a model of {flavor}; pip install 'rdv[{sibling(kind).EXTRA}]'"
            raise ImportError(f"{error}; {advice}", name=error.name) from None
        self._signature = signature
        self.columns = signature.columns or self._loaded.columns
        known = {str(one["name"]) for one in self._loaded.columns or ()}
        self._goes_by_order = known.isdisjoint(signature.names)
        self.files = [file]
        self.notes = [RUNS_CODE, *_other_version(flavor, about)]

    def predict(self, rows: list[Any]) -> Any:
        """Return one result for each row. Raises KeyError, TypeError for rows of another form."""
        rows = self._signature.rows(rows)
        if self._goes_by_order and self._signature.names:
            # The model's own file has no names, or other ones, as Column_0: it was trained on an
            # array. As in MLflow, the order of the signature's columns counts then.
            rows = [list(row.values()) for row in rows]
        return self._loaded.predict(rows)

    def close(self) -> None:
        """Release what the model holds."""
        if callable(close := getattr(self._loaded, "close", None)):
            close()


def _kind_of(flavor: str, file: str, about: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the adapter for the file of a flavour, and options for it."""
    if file.endswith(".skops"):
        return "skops", {"trusted": list(about.get("skops_trusted_types") or ())}
    is_pickle = file.endswith((".pkl", ".pickle", ".joblib")) or flavor == "sklearn"
    return ("sklearn" if is_pickle else flavor), {}


def _other_version(flavor: str, about: dict[str, Any]) -> list[str]:
    """Return a note if the model was made by another version of its library."""
    import importlib.metadata

    package = {"sklearn": "scikit-learn", "onnx": ""}.get(flavor, flavor)
    made = str(about.get(_VERSIONS[flavor]) or "")
    try:
        here = importlib.metadata.version(package) if package else made
    except importlib.metadata.PackageNotFoundError:
        return []
    if not made or made.split(".")[:2] == here.split(".")[:2]:
        return []
    return [f"it was made by {package} {made}, and {here} is installed: see its requirements.txt"]


class PyFunc:
    """A model that MLflow loads as `python_function`."""

    version = ""

    def __init__(self, path: str, signature: Signature, options: dict[str, Any]) -> None:
        # Both before the first request: each takes a second or more to import.
        import pandas as pd  # type: ignore[import-untyped,import-not-found,unused-ignore]
        from mlflow import pyfunc  # type: ignore[import-untyped,import-not-found,unused-ignore]

        given = {"model_config": options["model_config"]} if options.get("model_config") else {}
        self._model = pyfunc.load_model(path, **given)
        self._params: dict[str, Any] | None = options.get("params")
        self._signature = signature
        self._frame: Callable[..., Any] = pd.DataFrame
        self._time: Callable[..., Any] = pd.to_datetime
        self.columns = signature.columns
        self.notes = [RUNS_CODE]

    def predict(self, rows: list[Any]) -> Any:
        """Return one result for each row. Raises what MLflow and the model raise."""
        table = self._table(rows)
        if self._params:
            return results_of(self._model.predict(table, params=self._params))
        return results_of(self._model.predict(table))

    def _table(self, rows: list[Any]) -> Any:
        """Return the rows as the signature says: a frame, an array, or arrays by name."""
        signature = self._signature
        if signature.is_tensor:
            return _tensors(signature.inputs, rows)
        if not signature.names:
            return self._frame(rows) if isinstance(rows[0], dict) else _array(rows)
        rows = signature.rows(rows)
        columns = {}
        for one in signature.inputs:
            values = [row[one["name"]] for row in rows]
            columns[one["name"]] = self._typed(values, str(one.get("type")))
        return self._frame(columns)

    def _typed(self, values: list[Any], kind: str) -> Any:
        import numpy as np

        if kind == "datetime":
            return self._time(values)
        dtype = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64",
                 "boolean": "bool"}.get(kind, "object")  # fmt: skip
        if dtype != "object" and None not in values:
            return np.asarray(values, dtype)
        found = np.empty(len(values), object)
        found[:] = values
        return found


def _array(rows: list[Any]) -> Any:
    import numpy as np

    return np.asarray(rows)


def _tensors(inputs: list[dict[str, Any]], rows: list[Any]) -> Any:
    import numpy as np

    def made(values: list[Any], one: dict[str, Any]) -> Any:
        return np.asarray(values, one["tensor-spec"]["dtype"])

    if "name" not in inputs[0]:
        return made(rows, inputs[0])
    names = [one["name"] for one in inputs]
    for row in rows:
        if missing := [name for name in names if not isinstance(row, dict) or name not in row]:
            raise KeyError(f"the model's signature requires {', '.join(map(repr, missing))}")
    return {one["name"]: made([row[one["name"]] for row in rows], one) for one in inputs}


def results_of(found: Any) -> Any:
    """Return a result for each row of what `predict` has returned.

    A row of a frame becomes an object, a number {"value": …}, a text {"label": …}; what a list
    holds besides stays as it is.
    """
    if hasattr(found, "to_dict") and hasattr(found, "columns"):
        names = [str(name) for name in found.columns]
        columns = [found[name].tolist() for name in found.columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(found, dict):
        names = list(found)
        columns = [_listed(found[name]) for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    items = _listed(found)
    return [_result(item) for item in items] if isinstance(items, list) else found


def _listed(found: Any) -> Any:
    return found.tolist() if hasattr(found, "tolist") else found


def _result(item: Any) -> Any:
    if isinstance(item, (bool, str)):
        return {"label": item}
    return {"value": item} if isinstance(item, (int, float)) else item
