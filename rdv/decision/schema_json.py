"""Translates a JSON Schema (2020-12, and what pydantic writes) into a tree of nodes. Pure.

A keyword that cannot be checked is refused, because a schema that is only half checked promises
more than it holds. Annotations (title, description, examples, an unknown format) have no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import UnsetType

from rdv.decision.errors import InvalidDecision
from rdv.decision.schema import Unknown
from rdv.decision.schema_tree import (
    DEPTH_MAX,
    LENGTH_MAX,
    NODES_MAX,
    Node,
    check_pattern,
    find_faults,
    is_same,
)

_TYPES = {
    "number": "number",
    "integer": "integer",
    "string": "string",
    "boolean": "boolean",
    "array": "list",
    "object": "object",
}
_FORMATS = {"date-time": "datetime", "date": "date"}
_NUMBERS = {
    "minimum": "min",
    "maximum": "max",
    "exclusiveMinimum": "above",
    "exclusiveMaximum": "below",
}
_LENGTHS = {
    "minLength": "length_min",
    "maxLength": "length_max",
    "minItems": "length_min",
    "maxItems": "length_max",
}
_ALTERNATIVES = {"anyOf": "any_of", "oneOf": "one_of", "allOf": "all_of"}
_ANNOTATIONS = {
    "title", "description", "examples", "example", "deprecated", "readOnly", "writeOnly",
    "$schema", "$id", "$comment", "$defs", "definitions", "discriminator", "format",
    "contentMediaType", "contentEncoding",
}  # fmt: skip
_KNOWN = {
    "$ref", "type", "properties", "required", "additionalProperties", "items", "enum", "const",
    "pattern", "default", "nullable", "uniqueItems",
    *_NUMBERS, *_LENGTHS, *_ALTERNATIVES, *_ANNOTATIONS,
}  # fmt: skip


def tree_of_json_schema(schema: Any, unknown: Unknown, where: str, key: str) -> Node:
    """Return the tree of a JSON Schema; `key` is the setting that names it.

    Raises InvalidDecision, which names the place in the schema.
    """
    tree = _Translation(schema, unknown, where, key).node(schema, "#", 0)
    return msgspec.structs.replace(tree, required=True)


class _Translation:
    def __init__(self, root: Any, unknown: Unknown, where: str, key: str) -> None:
        self._root = root
        self._unknown: Unknown = unknown
        self._where, self._key = where, key
        self._count = 0

    def _fail(self, place: str, reason: str) -> InvalidDecision:
        return InvalidDecision(self._where, self._key, f"{place} {reason}")

    def node(self, schema: Any, place: str, depth: int) -> Node:
        self._count += 1
        if self._count > NODES_MAX or depth > DEPTH_MAX:
            reason = f"is nested more than {DEPTH_MAX} deep, or has more than {NODES_MAX} parts"
            raise self._fail(place, f"{reason}: a schema must not contain itself")
        if schema is True:
            return Node(nullable=True)
        if not isinstance(schema, dict):
            raise self._fail(place, "is not a schema: an object is needed")
        if strange := sorted(schema.keys() - _KNOWN):
            raise self._fail(place, f"has {strange[0]!r}, which rdv cannot check")
        if self._flag(schema, "uniqueItems", place):
            raise self._fail(place, "has 'uniqueItems', which rdv cannot check")
        if "$ref" in schema:
            return self._referred(schema, place, depth)
        return self._node(schema, place, depth)

    def _referred(self, schema: dict[str, Any], place: str, depth: int) -> Node:
        reference = schema["$ref"]
        found = self.node(self._find(reference, place), place, depth + 1)
        rest = {k: v for k, v in schema.items() if k not in _ANNOTATIONS and k != "$ref"}
        if strange := sorted(rest.keys() - {"default"}):
            raise self._fail(place, f"has {strange[0]!r} beside '$ref', which rdv cannot check")
        return msgspec.structs.replace(found, default=rest["default"]) if rest else found

    def _find(self, reference: Any, place: str) -> Any:
        if not isinstance(reference, str) or not (reference == "#" or reference[:2] == "#/"):
            raise self._fail(place, f"refers to {reference!r}: only '#/…' of the same file can be")
        found = self._root
        for escaped in unquote(reference).removeprefix("#").split("/")[1:]:
            part = escaped.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and part.isdecimal() and int(part[:9]) < len(found):
                found = found[int(part[:9])]
                continue
            if not isinstance(found, dict) or part not in found:
                raise self._fail(place, f"refers to {reference!r}, which is not there")
            found = found[part]
        return found

    def _node(self, schema: dict[str, Any], place: str, depth: int) -> Node:
        types, nullable = self._types(schema, place)
        made: dict[str, Any] = {}
        for limits, number_of in ((_NUMBERS, self._number), (_LENGTHS, self._length)):
            for keyword, name in limits.items():
                if keyword in schema:
                    made[name] = number_of(schema[keyword], f"{place}/{keyword}")
        if "pattern" in schema:
            made["pattern"] = self._text(schema, "pattern", place)
            check_pattern(made["pattern"], self._key, f"{self._where}: {place}/pattern")
        if (values := self._values(schema, place)) is not None:
            nullable = nullable and None in values
            made["values"] = [value for value in values if value is not None]
        if "default" in schema:
            made["default"] = schema["default"]
        if "items" in schema:
            made["items"] = self.node(schema["items"], f"{place}/items", depth + 1)
        self._alternatives(schema, place, depth, made)
        named = schema.get("type")
        fills_null = nullable and (bool(named) or self._flag(schema, "nullable", place))
        node = Node(types=types, nullable=nullable, fills_null=fills_null, **made)
        return self._with_fields(node, schema, place, depth)

    def _types(self, schema: dict[str, Any], place: str) -> tuple[tuple[str, ...], bool]:
        named = schema.get("type")
        names = [] if "type" not in schema else [named] if isinstance(named, str) else named
        if not isinstance(names, list) or ("type" in schema and not names):
            raise self._fail(f"{place}/type", "is neither a name nor a list of names")
        types: list[str] = []
        for name in names:
            if not isinstance(name, str) or (name not in _TYPES and name != "null"):
                raise self._fail(f"{place}/type", f"{name!r} is no type of JSON Schema")
            if name in _TYPES and _TYPES[name] not in types:
                types.append(_TYPES[name])
        form = self._text(schema, "format", place)
        if "string" in types and (time := _FORMATS.get(form)):
            types[types.index("string")] = time
        nullable = not names or "null" in names or self._flag(schema, "nullable", place)
        if not types and names:
            return ("null",), True
        return tuple(types), nullable

    def _flag(self, schema: dict[str, Any], keyword: str, place: str) -> bool:
        value = schema.get(keyword, False)
        if not isinstance(value, bool):
            raise self._fail(f"{place}/{keyword}", "is neither true nor false")
        return value

    def _text(self, schema: dict[str, Any], keyword: str, place: str) -> str:
        value = schema.get(keyword, "")
        if not isinstance(value, str):
            raise self._fail(f"{place}/{keyword}", "is not a string")
        return value

    def _number(self, value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._fail(place, "is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._fail(place, "is not a finite number")
        return number

    def _length(self, value: Any, place: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._fail(place, "is not a length")
        return min(value, LENGTH_MAX)

    def _values(self, schema: dict[str, Any], place: str) -> list[Any] | None:
        values = schema.get("enum")
        if "enum" in schema and (not isinstance(values, list) or not values):
            raise self._fail(f"{place}/enum", "is not a list of values")
        if "const" not in schema:
            return values
        const = schema["const"]
        if values is not None and not any(is_same(const, one) for one in values):
            raise self._fail(f"{place}/const", "is not one of enum: no value would be valid")
        return [const]

    def _alternatives(
        self, schema: dict[str, Any], place: str, depth: int, made: dict[str, Any]
    ) -> None:
        for keyword, name in _ALTERNATIVES.items():
            if keyword not in schema:
                continue
            given = schema[keyword]
            if not isinstance(given, list) or not given:
                raise self._fail(f"{place}/{keyword}", "is not a list of schemas")
            made[name] = [
                self.node(one, f"{place}/{keyword}/{number}", depth + 1)
                for number, one in enumerate(given)
            ]

    def _with_fields(self, node: Node, schema: dict[str, Any], place: str, depth: int) -> Node:
        """Add the properties; an object that is only one of two, the other null, becomes itself."""
        node = _without_null(node)
        fields = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(fields, dict):
            raise self._fail(f"{place}/properties", "is not an object")
        if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
            raise self._fail(f"{place}/required", "is not a list of names")
        made = {
            name: self._field(
                one, f"{place}/properties/{name}", depth, is_required=name in required
            )
            for name, one in fields.items()
        }
        for name in required:
            if name not in made:
                made[name] = Node(nullable=True, required=True)
        if not made and "additionalProperties" not in schema:
            return node
        more = schema.get("additionalProperties", True)
        if not isinstance(more, bool | dict):
            raise self._fail(f"{place}/additionalProperties", "is neither a schema nor a boolean")
        unknown: Unknown = "reject" if more is False else self._unknown
        rest = None
        if isinstance(more, dict):
            rest = self.node(more, f"{place}/additionalProperties", depth + 1)
        return msgspec.structs.replace(node, fields=made, unknown=unknown, rest=rest)

    def _field(self, schema: Any, place: str, depth: int, *, is_required: bool) -> Node:
        node = self.node(schema, place, depth + 1)
        if not isinstance(node.default, UnsetType):
            for fault in find_faults(node.default, node, ""):
                raise self._fail(f"{place}/default", fault.reason)
        return msgspec.structs.replace(node, required=is_required)


def _without_null(node: Node) -> Node:
    """Return `anyOf: [X, null]`, as pydantic writes an optional value, as X that may be null."""
    is_null: Callable[[Node], bool] = lambda one: one.types == ("null",)  # noqa: E731
    for name in ("any_of", "one_of"):
        alternatives: list[Node] = getattr(node, name)
        others = [one for one in alternatives if not is_null(one)]
        if len(alternatives) == 2 and len(others) == 1 and node.types == ():  # noqa: PLR2004
            plain = msgspec.structs.replace(node, **{name: []})
            if plain == msgspec.structs.replace(Node(nullable=True), default=node.default):
                return msgspec.structs.replace(
                    others[0], nullable=True, fills_null=True, default=node.default
                )
    return node
