"""Checks the `data` of requests against a schema, which is compiled once.

A valid row is decoded once by msgspec, in C, into types that are made for the schema. Only a row
that these types refuse (it is invalid, lacks a column that has a default, or the types cannot
express a limit) is looked at in Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple, Union

import msgspec
import orjson
from msgspec import UNSET, Raw, UnsetType

from rdv.decision.schema_tree import FAULTS_MAX, Fault, Node, fill_of, find_faults

_INT_MAX = 2**63 - 1
_LITERALS_MAX = 10_000

_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


Decode = Callable[[Raw], Any]


class Checked:
    """Is the outcome of a check: the data with its defaults, and what is wrong with it."""

    __slots__ = ("data", "faults")

    def __init__(self, data: Raw, faults: Sequence[Fault] = ()) -> None:
        self.data = data
        self.faults = faults

    def text(self) -> str:
        """Return the faults as one sentence."""
        more = f", and more than {FAULTS_MAX - 1} more" if len(self.faults) >= FAULTS_MAX else ""
        return "; ".join(map(str, self.faults)) + more


class _Fills(NamedTuple):
    """Holds what is put into an object where it is missing, and the same for the objects in it."""

    own: dict[str, Any]
    inner: dict[str, _Fills]


class SchemaChecker:
    """Checks rows against the schema of a decision. Thread-safe."""

    def __init__(self, tree: Node) -> None:
        self._tree = tree
        self._fills = _fills_of(tree)
        self._complete = _decoder(tree, is_complete=True)
        self._partial = _decoder(tree, is_complete=False) if self._fills else None

    def check(self, data: Raw) -> Raw | Checked:
        """Return the data itself where it is valid and complete, else what `Checked` says.

        Missing columns get their defaults in its text; the rest of the text stays as it is.
        """
        if _fits(self._complete, data):
            return data
        if _fits(self._partial, data):
            assert self._fills is not None
            return Checked(_filled(data, self._fills))
        value = orjson.loads(bytes(data))
        faults = list(islice(find_faults(value, self._tree), FAULTS_MAX))
        if self._fills is not None and isinstance(value, dict):
            data = _filled(data, self._fills)
        return Checked(data, faults)


def _decoder(tree: Node, *, is_complete: bool) -> Decode | None:
    kind = _type_of(tree, is_complete)
    return None if kind is None else msgspec.json.Decoder(kind).decode


def _fits(decode: Decode | None, data: Raw) -> bool:
    if decode is None:
        return False
    try:
        decode(data)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def read_tree(text: str) -> Node:
    """Return the tree of a published schema. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=Node)


def tree_text(tree: Node) -> str:
    """Return the tree as it is published to the proxies."""
    return msgspec.json.encode(tree).decode()


def _fills_of(node: Node) -> _Fills | None:
    own = {name: fill_of(field) for name, field in node.fields.items()}
    inner = {name: _fills_of(field) for name, field in node.fields.items()}
    found = _Fills(
        {name: fill for name, fill in own.items() if not isinstance(fill, UnsetType)},
        {name: fills for name, fills in inner.items() if fills is not None},
    )
    return found if found.own or found.inner else None


def _filled(data: Raw, fills: _Fills) -> Raw:
    """Return the JSON of an object with the defaults of missing columns, also in its objects."""
    texts: dict[str, Any] = _decode_object(data)
    changed = {name: fill for name, fill in fills.own.items() if name not in texts}
    for name, inner in fills.inner.items():
        before = texts.get(name)
        if before is not None and bytes(before).startswith(b"{"):
            after = _filled(before, inner)
            if after is not before:
                changed[name] = after
    return Raw(_encode(texts | changed)) if changed else data


# Types for msgspec. What they accept is valid; they may refuse more.


def _type_of(node: Node, is_complete: bool) -> Any:
    """Return a type that accepts valid and complete values only; None where there is none."""
    if node.any_of or node.one_of or node.all_of or node.rest is not None or len(node.types) > 1:
        return None
    kind = _plain_type(node, is_complete) if node.values is None else _literal(node)
    if kind is None:
        return None
    return Union[kind, None] if node.nullable else kind  # noqa: UP007  kind is a value


def _literal(node: Node) -> Any:
    values = [one for one in node.values or () if next(find_faults(one, node), None) is None]
    is_text = all(type(value) is str for value in values)
    is_number = all(type(value) is int and abs(value) < _INT_MAX for value in values)
    if not values or not (is_text or is_number) or len(values) > _LITERALS_MAX:
        return None
    return Literal[tuple(values)]


def _plain_type(node: Node, is_complete: bool) -> Any:
    if not node.types:
        return _any_type(node)
    name = node.types[0]
    if name in ("number", "integer"):
        return _number_type(node, is_integer=name == "integer")
    if name == "string":
        return _limited(str, pattern=node.pattern or None, **_lengths(node))
    if name == "list":
        item = Raw if node.items is None else _type_of(node.items, is_complete)
        return None if item is None else _limited(list[item], **_lengths(node))  # type: ignore[valid-type]
    if name == "object":
        return _object_type(node, is_complete)
    return {"boolean": bool, "datetime": datetime, "date": date}.get(name)


def _any_type(node: Node) -> Any:
    has_limits = node.pattern or node.items or node.fields or node.unknown == "reject"
    limits = (node.min, node.max, node.above, node.below, node.length_min, node.length_max)
    if has_limits or any(limit is not None for limit in limits):
        return None
    return Raw if node.nullable else bool | int | float | str | list[Raw] | dict[str, Raw]


def _lengths(node: Node) -> dict[str, Any]:
    return {"min_length": node.length_min, "max_length": node.length_max}


def _number_type(node: Node, *, is_integer: bool) -> Any:
    if (node.min is not None and node.above is not None) or (
        node.max is not None and node.below is not None
    ):
        return None
    limits: dict[str, Any] = {
        "ge": node.min, "le": node.max, "gt": node.above, "lt": node.below
    }  # fmt: skip
    if not is_integer:
        return _limited(float, **limits)
    for key, towards in (
        ("ge", math.ceil),
        ("le", math.floor),
        ("gt", math.floor),
        ("lt", math.ceil),
    ):
        if limits[key] is not None:
            limits[key] = towards(limits[key])
            if abs(limits[key]) >= _INT_MAX:
                return None
    return _limited(int, **limits)


def _limited(kind: Any, **limits: Any) -> Any:
    given = {key: limit for key, limit in limits.items() if limit is not None}
    return Annotated[kind, msgspec.Meta(**given)] if given else kind


def _object_type(node: Node, is_complete: bool) -> Any:
    if not node.fields and node.unknown != "reject":
        return dict[str, Raw]
    fields: list[Any] = []
    names: dict[str, str] = {}
    for number, (name, field) in enumerate(node.fields.items()):
        kind = _type_of(field, is_complete)
        if kind is None:
            return None
        own = f"f{number}"
        names[own] = name
        if field.required or (is_complete and not isinstance(fill_of(field), UnsetType)):
            fields.append((own, kind))
        else:
            fields.append((own, Union[kind, UnsetType], UNSET))  # noqa: UP007
    return msgspec.defstruct(
        "Row",
        fields,
        rename=names,
        forbid_unknown_fields=node.unknown == "reject",
        gc=False,
        kw_only=True,
    )
