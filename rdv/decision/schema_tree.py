"""A tree of nodes says what `data` must be; it is made of columns, or of a JSON Schema. Pure."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from rdv.decision.errors import InvalidDecision
from rdv.decision.schema import Column, Schema, Unknown

FAULTS_MAX = 20
"""The maximum number of faults that are named of one row."""
DEPTH_MAX = 20
"""The maximum nesting of a schema."""
NODES_MAX = 5_000
"""The maximum number of columns, at all depths."""
LENGTH_MAX = 2**40
"""A larger limit of a length is the same as this one."""
_SHOWN_MAX = 60

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DOT = re.compile(r"(?<!\\)\.")


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Describes one value: its types, its limits, and what is below it.

    A limit counts for values of the type that it is for. `types` empty: any.
    """

    types: tuple[str, ...] = ()
    nullable: bool = False
    required: bool = False
    default: Any = UNSET
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    values: list[Any] | None = None
    pattern: str = ""
    length_min: int | None = None
    length_max: int | None = None
    items: Node | None = None
    fields: dict[str, Node] = {}
    rest: Node | None = None
    """What fields must be that are not among `fields`."""
    unknown: Unknown = "pass"
    fills_null: bool = False
    """Whether a missing one is null."""
    implied: bool = False
    """Whether the object is only there to hold declared columns: `user` of `user.age`."""
    any_of: list[Node] = []
    one_of: list[Node] = []
    all_of: list[Node] = []


class Fault(NamedTuple):
    """Says which part of the data is invalid (`data.user.age`), and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def tree_of_columns(schema: Schema, where: str) -> Node:
    """Return the tree of [schema.columns]. Raises InvalidDecision for contradictions."""
    root: dict[str, Any] = {}
    for name, column in schema.columns.items():
        key = f"schema.columns.{name}"
        _check_column(column, key, where)
        *above, last = [part.replace("\\.", ".") for part in _DOT.split(name)]
        if len(above) >= DEPTH_MAX:
            raise InvalidDecision(where, key, f"is nested more than {DEPTH_MAX} deep")
        place = root
        for part in above:
            place = place.setdefault(part, {})
            if isinstance(place, Node):
                raise InvalidDecision(where, key, f"{part!r} is a column of its own")
        if last in place:
            raise InvalidDecision(where, key, "there are columns in it, or it is given twice")
        place[last] = _node_of(column)
    return _object(root, schema.unknown, is_required=True)


def _object(fields: dict[str, Any], unknown: Unknown, *, is_required: bool = False) -> Node:
    nodes = {
        name: one if isinstance(one, Node) else _object(one, unknown)
        for name, one in fields.items()
    }
    is_required = is_required or any(node.required for node in nodes.values())
    return Node(
        types=("object",), fields=nodes, unknown=unknown, required=is_required, implied=True
    )


def _node_of(column: Column) -> Node:
    return Node(
        types=() if column.type == "any" else (column.type,),
        nullable=column.nullable,
        fills_null=column.nullable,
        required=column.is_required,
        default=column.default,
        min=column.min,
        max=column.max,
        above=column.above,
        below=column.below,
        values=column.values,
        pattern=column.pattern,
        length_min=column.length_min,
        length_max=column.length_max,
        items=None if column.items is None else _node_of(column.items),
    )


_FOR_TYPES = {
    "min": ("number", "integer"),
    "max": ("number", "integer"),
    "above": ("number", "integer"),
    "below": ("number", "integer"),
    "pattern": ("string",),
    "length_min": ("string", "list"),
    "length_max": ("string", "list"),
    "items": ("list",),
}


def _check_column(column: Column, key: str, where: str) -> None:
    """Raise InvalidDecision for settings of a column that contradict each other."""
    for name, types in _FOR_TYPES.items():
        if getattr(column, name) not in (None, "") and column.type not in types:
            wanted = " or ".join(f'"{one}"' for one in types)
            raise InvalidDecision(where, f"{key}.{name}", f"is for the type {wanted} only")
    _check_limits(column, key, where)
    if column.items is not None:
        if column.items.default is not UNSET or column.items.required is not None:
            raise InvalidDecision(where, f"{key}.items", "an item has no default, no required")
        _check_column(column.items, f"{key}.items", where)
    check_pattern(column.pattern, f"{key}.pattern", where)
    _check_values(column, key, where)


def _check_limits(column: Column, key: str, where: str) -> None:
    for low, high in (("min", "max"), ("length_min", "length_max")):
        least, most = getattr(column, low), getattr(column, high)
        if least is not None and most is not None and least > most:
            raise InvalidDecision(where, f"{key}.{low}", f"{least:g} is more than {high}, {most:g}")
    for name in ("min", "max", "above", "below"):
        if (limit := getattr(column, name)) is not None and not math.isfinite(limit):
            raise InvalidDecision(where, f"{key}.{name}", "is not a finite number")


def _check_values(column: Column, key: str, where: str) -> None:
    """Check the values and the default, which have to be valid themselves."""
    node = _node_of(column)
    bare = msgspec.structs.replace(node, values=None)
    for value in column.values or ():
        _check_value(bare, value, f"{key}.values", where)
    if column.values == []:
        raise InvalidDecision(where, f"{key}.values", "is empty: no value would be valid")
    if not isinstance(column.default, UnsetType):
        if column.required:
            raise InvalidDecision(where, f"{key}.default", "is never used: required = true")
        _check_value(node, column.default, f"{key}.default", where)


def check_pattern(pattern: str, key: str, where: str) -> None:
    """Raise InvalidDecision for a pattern that is not a regular expression."""
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidDecision(where, key, f"is not a regular expression: {error}") from None


def _check_value(node: Node, value: Any, key: str, where: str) -> None:
    try:
        plain = orjson.loads(orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATETIME))
    except TypeError as error:
        raise InvalidDecision(where, key, f"is not JSON: {error}") from None
    if plain != value:
        raise InvalidDecision(where, key, f"{value!r} is not JSON")
    for fault in find_faults(value, node, ""):
        raise InvalidDecision(where, key, f"{_shown(value)}: {fault.path} {fault.reason}".strip())


def fill_of(node: Node) -> Any:
    """Return the value of a missing node; UNSET where it stays missing."""
    if not isinstance(node.default, UnsetType):
        return node.default
    if node.required:
        return UNSET
    if node.fills_null:
        return None
    if node.implied:
        fills = {name: fill_of(field) for name, field in node.fields.items()}
        return {n: v for n, v in fills.items() if not isinstance(v, UnsetType)} or UNSET
    return UNSET


# Looking for faults.


def find_faults(value: Any, node: Node, path: str = "data") -> Iterator[Fault]:
    """Yield what is invalid in a value of JSON, in its order."""
    if value is None:
        if not node.nullable:
            yield Fault(path, f"is null, not {_wanted(node)}" if node.types else "is null")
        else:
            yield from _alternative_faults(value, node, path)
        return
    if node.types and not any(_is_of(value, name) for name in node.types):
        yield Fault(path, f"is {_shown(value)}, not {_wanted(node)}")
        return
    if node.values is not None and not any(is_same(value, one) for one in node.values):
        yield Fault(path, f"is {_shown(value)}, not one of {_shown(node.values)}")
        return
    if isinstance(value, str):
        yield from _text_faults(value, node, path)
    elif isinstance(value, list):
        yield from _list_faults(value, node, path)
    elif isinstance(value, dict):
        yield from _object_faults(value, node, path)
    elif not isinstance(value, bool):
        yield from _number_faults(value, node, path)
    yield from _alternative_faults(value, node, path)


def _number_faults(value: float, node: Node, path: str) -> Iterator[Fault]:
    number = value if node.types == ("integer",) else float(value)
    if node.min is not None and number < node.min:
        yield Fault(path, f"is {_shown(value)}, less than {node.min:g}")
    elif node.above is not None and number <= node.above:
        yield Fault(path, f"is {_shown(value)}, not above {node.above:g}")
    if node.max is not None and number > node.max:
        yield Fault(path, f"is {_shown(value)}, more than {node.max:g}")
    elif node.below is not None and number >= node.below:
        yield Fault(path, f"is {_shown(value)}, not below {node.below:g}")


def _text_faults(value: str, node: Node, path: str) -> Iterator[Fault]:
    yield from _length_faults(len(value), "characters", node, path)
    if node.pattern and not re.search(node.pattern, value):
        yield Fault(path, f"is {_shown(value)}, which does not match {_shown(node.pattern)}")


def _list_faults(value: list[Any], node: Node, path: str) -> Iterator[Fault]:
    yield from _length_faults(len(value), "items", node, path)
    if node.items is not None:
        for number, item in enumerate(value):
            yield from find_faults(item, node.items, f"{path}[{number}]")


def _length_faults(length: int, what: str, node: Node, path: str) -> Iterator[Fault]:
    if node.length_min is not None and length < node.length_min:
        yield Fault(path, f"has {length} {what}, fewer than {node.length_min}")
    elif node.length_max is not None and length > node.length_max:
        yield Fault(path, f"has {length} {what}, more than {node.length_max}")


def _object_faults(value: dict[str, Any], node: Node, path: str) -> Iterator[Fault]:
    for name, field in node.fields.items():
        place = below(path, name)
        if name in value:
            yield from find_faults(value[name], field, place)
        elif field.required and field.implied:
            yield from _object_faults({}, field, place)
        elif field.required:
            yield Fault(place, "is missing")
    if node.unknown == "reject" or node.rest is not None:
        for name in value.keys() - node.fields.keys():
            if node.rest is not None:
                yield from find_faults(value[name], node.rest, below(path, name))
            else:
                yield Fault(below(path, name), "is not declared in [schema]")


def _alternative_faults(value: Any, node: Node, path: str) -> Iterator[Fault]:
    for one in node.all_of:
        yield from find_faults(value, one, path)
    for alternatives, wanted in ((node.any_of, "any"), (node.one_of, "exactly one")):
        if not alternatives:
            continue
        fits = [next(find_faults(value, one, path), None) is None for one in alternatives]
        if not any(fits) or (wanted != "any" and sum(fits) > 1):
            yield Fault(path, f"is {_shown(value)}, which fits {sum(fits)} of {len(fits)} shapes")


def below(path: str, name: str) -> str:
    """Return the path of a field."""
    if _PLAIN_NAME.fullmatch(name):
        return f"{path}.{name}"
    return f"{path}[{_shown(name)}]"


def _is_of(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, int):
        return name in ("integer", "number")
    if isinstance(value, float):
        return name == "number" or (name == "integer" and value.is_integer())
    if isinstance(value, str):
        if name in ("datetime", "date"):
            return _is_time(value, datetime if name == "datetime" else date)
        return name == "string"
    return name == ("list" if isinstance(value, list) else "object")


def _is_time(value: str, kind: type[date]) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def is_same(value: Any, other: Any) -> bool:
    """Return whether two values of JSON are equal: 1 is 1.0, and not true."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(is_same, value, other))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(is_same(value[k], other[k]) for k in value)
    return bool(value == other)


_WANTED = {
    "number": "a number",
    "integer": "a whole number",
    "string": "a string",
    "boolean": "true or false",
    "list": "a list",
    "object": "an object",
    "datetime": "a time as 2026-11-22T14:00:00Z",
    "date": "a date as 2026-11-22",
    "null": "null",
}


def _wanted(node: Node) -> str:
    names = [_WANTED[name] for name in node.types]
    return " or ".join([*names, "null"] if node.nullable else names)


def _shown(value: Any) -> str:
    """Return JSON of a value, shortened."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, RecursionError):
        text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 1]}…"
