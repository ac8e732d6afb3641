"""Describes a decision as a model server describes its models. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rdv.oip.rows import DATA, RESULT, field_tensors

EXTENSIONS = ("binary_tensor_data",)
"""The extensions that are served as a whole, which the server's metadata names."""
PLATFORM = "rdv"

_DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES"}


class TensorInfo(NamedTuple):
    """Describes one tensor of a decision; the first dimension is the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...] = (-1, 1)


class ModelInfo(NamedTuple):
    """Describes a decision as a model."""

    name: str
    versions: Sequence[str]
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]

    def fields(self) -> dict[str, Any]:
        """Return the JSON of the model's metadata."""
        return {
            "name": self.name,
            "versions": list(self.versions),
            "platform": PLATFORM,
            "inputs": [tensor._asdict() for tensor in self.inputs],
            "outputs": [tensor._asdict() for tensor in self.outputs],
        }


def input_tensors(columns: Mapping[str, str]) -> list[TensorInfo]:
    """Return the inputs: one for each declared column (name to type), else rows as JSON.

    A decision whose columns have other types (lists, objects) takes rows as JSON, too.
    """
    if columns and all(kind in _DATATYPES for kind in columns.values()):
        return [TensorInfo(name, _DATATYPES[kind]) for name, kind in columns.items()]
    return [TensorInfo(DATA, "BYTES")]


def output_tensors(default: object) -> list[TensorInfo]:
    """Return the outputs: those of the schedule's default, which looks like every answer."""
    fields = field_tensors([default])
    if not fields:
        return [TensorInfo(RESULT, "BYTES")]
    return [TensorInfo(name, tensor.datatype) for name, tensor in fields.items()]
