"""Turn the tree of a decision's [schema] into JSON Schema 2020-12. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from rdv.decision.schema_tree import Node

Json = dict[str, Any]

_TYPES: dict[str, Json] = {
    "list": {"type": "array"},
    "datetime": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
}
_LIMITS = {
    "min": "minimum",
    "max": "maximum",
    "above": "exclusiveMinimum",
    "below": "exclusiveMaximum",
    "values": "enum",
    "pattern": "pattern",
}


def schema_of(node: Node) -> Json:
    """Return the JSON Schema that a value must match."""
    kinds = [_TYPES.get(kind, {"type": kind}) for kind in node.types]
    found: Json = {}
    if len(kinds) == 1:
        found.update(kinds[0])
    elif kinds:
        found["anyOf"] = kinds
    for ours, theirs in _LIMITS.items():
        if (value := getattr(node, ours)) not in (None, ""):
            found[theirs] = value
    _add_lengths(found, node)
    _add_children(found, node)
    if node.default is not UNSET:
        found["default"] = node.default
    if node.nullable and found:
        return {"anyOf": [found, {"type": "null"}]}
    return found


def _add_lengths(found: Json, node: Node) -> None:
    words = {"string": "Length", "list": "Items"}
    for kind in node.types:
        for ours, theirs in (("length_min", "min"), ("length_max", "max")):
            if kind in words and (value := getattr(node, ours)) is not None:
                found[f"{theirs}{words[kind]}"] = value


def _add_children(found: Json, node: Node) -> None:
    if node.items is not None:
        found["items"] = schema_of(node.items)
    if node.fields:
        found["properties"] = {name: schema_of(below) for name, below in node.fields.items()}
        required = [name for name, below in node.fields.items() if below.required]
        if required:
            found["required"] = required
    if node.unknown == "reject":
        found["additionalProperties"] = False
    elif node.rest is not None:
        found["additionalProperties"] = schema_of(node.rest)
    for ours, theirs in (("any_of", "anyOf"), ("one_of", "oneOf"), ("all_of", "allOf")):
        if below := getattr(node, ours):
            found[theirs] = [schema_of(one) for one in below]
