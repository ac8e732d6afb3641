"""Declares settings: type, range, comment and effect of each, in one place.

The comment becomes the line above the key in a new `rdv.toml`; it names what the setting is, its
unit and when not to touch it. The effect says when an edit of it is applied to a decision that is
being served; `rdv serve`, the tests and the comments in `rdv.toml` all read it from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

COUNT_MAX = 1_000_000_000
MS_MAX = 3_600_000

Effect = Literal["live", "replace", "serve", "command"]
"""When an edit takes effect.

- live: at once, while requests flow.
- replace: at once, by replacing the model's processes; no request is lost.
- serve: at the next `rdv serve`; until then every process, also a restarted one, keeps the old
  value.
- command: whenever a command reads it (`rdv promote`); serving does not depend on it.
"""


def setting(
    comment: str,
    ge: float | None = None,
    le: float | None = None,
    *,
    effect: Effect | None = None,
) -> Meta:
    """Return the annotation of a setting; the bounds belong to the valid values.

    Every setting declares its `effect`: a test names those that do not.
    """
    return Meta(description=comment, ge=ge, le=le, extra={"effect": effect})


def milliseconds(comment: str, *, effect: Effect | None = None) -> Meta:
    """Return the annotation of a duration of 1 ms to an hour."""
    return setting(comment, 1, MS_MAX, effect=effect)


class Field(NamedTuple):
    """Describes a setting as `rdv.toml` shows it; `effect` is None where none is declared."""

    name: str
    comment: str
    default: Any
    effect: Effect | None


def setting_fields(kind: type[msgspec.Struct]) -> Iterator[Field]:
    """Yield the settings of a section, in order. Fields without a comment are not settings."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        metas = [item for item in getattr(hints[field.name], "__metadata__", ()) if _is_meta(item)]
        if metas:
            effect = (metas[0].extra or {}).get("effect")
            yield Field(field.name, metas[0].description or "", _default(field), effect)


def _is_meta(item: object) -> bool:
    return isinstance(item, Meta)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default
