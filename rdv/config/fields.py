"""How a setting is written down: its type, its range and its comment, in one place.

The comment becomes the line above the key in a new `rdv.toml`; say what the setting is, its unit
and when not to touch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

COUNT_MAX = 1_000_000_000
MS_MAX = 3_600_000


def setting(comment: str, ge: int | None = None, le: int | None = None) -> Meta:
    """The annotation of a setting; the bounds belong to those that can be used."""
    return Meta(description=comment, ge=ge, le=le)


def milliseconds(comment: str) -> Meta:
    """The annotation of a duration of 1 ms to an hour."""
    return Meta(description=comment, ge=1, le=MS_MAX)


class Field(NamedTuple):
    """One setting as `rdv.toml` shows it."""

    name: str
    comment: str
    default: Any


def setting_fields(kind: type[msgspec.Struct]) -> Iterator[Field]:
    """The settings of a section, in their order. Fields without a comment are not settings."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        metas = [item for item in getattr(hints[field.name], "__metadata__", ()) if _is_meta(item)]
        if metas:
            yield Field(field.name, metas[0].description or "", _default(field))


def _is_meta(item: object) -> bool:
    return isinstance(item, Meta)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
