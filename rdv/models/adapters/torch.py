"""Load PyTorch models: .pt2 files of `torch.export.save`, and .safetensors with a Python template.

The file NAME.safetensors has the weights only. The template is a file NAME.py beside it, or the one
that the option `template` names, with

    def build():                    required: returns the torch.nn.Module without its weights
    def inputs(rows):               optional: returns the tensor, or a tuple of tensors
    def outputs(result, rows):      optional: returns one result for each row

A .pt2 file may have the same two functions beside it. Without them a row is a list of numbers, or
an object with the names of the option `columns`, and the results are {"value": …}; with the option
`labels` they are the probabilities of these.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
import types
from typing import Any

ENDINGS = (".pt2", ".safetensors")
EXTRA = "torch"
LIBRARIES = ("torch", "safetensors")

common: Any = types.ModuleType("rdv_adapters_common")
_COMMON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "common.py")
importlib.machinery.SourceFileLoader(common.__name__, _COMMON).exec_module(common)

OPTIONS: dict[str, str] = {
    **common.OPTIONS,
    "template": "the Python file with build, inputs and outputs, relative to the model's file",
    "dtype": 'the type of the input tensor; default "float32"',
}


def recognises(path: str) -> bool:
    """Return whether it is a zip archive, as .pt2 is, or has the JSON header of safetensors."""
    with open(path, "rb") as file:
        head = file.read(9)
    if path.lower().endswith(".pt2"):
        return head.startswith(b"PK")
    return len(head) > 8 and head[8:] == b"{"  # noqa: PLR2004 - 8 bytes of length


def load(path: str, options: dict[str, Any]) -> Model:
    """Load the file. Raises what torch, safetensors and the template raise."""
    return Model(path, options)


class Model:
    """Calls a module without gradients, on the CPU."""

    version = ""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        """Load the module."""
        import torch  # type: ignore[import-not-found,unused-ignore]

        threads = int(options.get("threads", 1))
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._dtype = getattr(torch, str(options.get("dtype", "float32")))
        template, self.files = _template(path, options)
        self._inputs = getattr(template, "inputs", None) or self._tensor
        self._outputs = getattr(template, "outputs", None) or self._results
        if path.lower().endswith(".pt2"):
            self._module = torch.export.load(path).module()
        else:
            self._module = _with_weights(path, template)
        self._labels = options.get("labels")
        self._options = options
        self._tables: dict[int, Any] = {}
        names = options.get("columns")
        self.columns = common.Table(names, len(names), options).columns() if names else None

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one result for each row."""
        given = self._inputs(rows)
        with self._torch.inference_mode():
            result = self._module(*given) if isinstance(given, tuple) else self._module(given)
        found = self._outputs(result, rows)
        if hasattr(found, "detach"):
            found = found.detach().cpu().numpy()
        return list(found)

    def _tensor(self, rows: list[Any]) -> Any:
        """Return the rows as one tensor [rows, columns]; nested lists keep their shape."""
        first = rows[0]
        if isinstance(first, list) and first and isinstance(first[0], list):
            return self._torch.tensor(rows, dtype=self._dtype)
        count = len(self._options.get("columns") or first)
        if count not in self._tables:
            self._tables = {count: common.Table(None, count, self._options)}
        return self._torch.from_numpy(self._tables[count].array(rows)).to(self._dtype)

    def _results(self, result: Any, rows: list[Any]) -> list[Any]:
        """Return the results for one tensor whose first dimension is the rows."""
        if not hasattr(result, "detach") or not result.shape or result.shape[0] != len(rows):
            raise TypeError(
                f"the module returned a {type(result).__name__}, not a tensor with a row for each "
                "row: write outputs(result, rows) in the template"
            )
        found = result.detach().cpu().float().numpy()
        if found.ndim == 2 and found.shape[1] == 1:  # noqa: PLR2004 - [rows, 1]
            found = found[:, 0]
        if self._labels is None:
            return list(common.values(found))
        count = 2 if found.ndim == 1 else found.shape[1]
        labels = common.labels_of(self._options, count)
        return list((common.binary if found.ndim == 1 else common.classes)(found, labels))


def _with_weights(path: str, template: Any) -> Any:
    """Return the template's module with the weights of the file."""
    from safetensors.torch import load_file  # type: ignore[import-not-found,unused-ignore]

    build = getattr(template, "build", None)
    if not callable(build):
        raise TypeError(
            f"{os.path.basename(path)} has weights only: write build(), which returns the module, "
            f"in {os.path.splitext(os.path.basename(path))[0]}.py beside it"
        )
    module = build()
    module.load_state_dict(load_file(path))
    return module.eval()


def _template(path: str, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """Run the template, if there is one. Return it and its path."""
    given = options.get("template")
    folder = os.path.dirname(os.path.realpath(path))
    place = os.path.join(folder, given) if given else os.path.splitext(path)[0] + ".py"
    if not given and not os.path.isfile(place):
        return None, []
    module = types.ModuleType("rdv_model_template")
    module.__file__ = place
    with open(place, "rb") as file:
        code = compile(file.read(), place, "exec", dont_inherit=True)
    sys.modules[module.__name__] = module
    sys.path.insert(0, folder)  # it may import modules beside it
    try:
        exec(code, module.__dict__)  # noqa: S102 - the model's own code
    finally:
        sys.path.remove(folder)
        sys.path.append(folder)
    return module, [place]
