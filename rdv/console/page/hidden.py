"""Leave fields that are configured as hidden out of what the page shows.

A name hides every field of that name, however deep; a dotted name (`card.number`) hides the field
where the path ends so. What is not JSON is not shown at all while fields are hidden, since it
cannot be searched for them. Longer values of hidden fields are also removed from other texts about
the same request, such as an answer or an error that quotes them; a text that equals a hidden value
is not shown, however short it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import orjson

HIDDEN = "(hidden)"
NOT_SHOWN = "(not shown: it is not JSON, and fields are hidden)"
QUOTED_MIN = 4
"""The least length of a hidden value that is removed from within other texts."""
_QUOTED_MAX = 1_000


class Hider:
    """Hides fields by name. Immutable."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(tuple(name.split(".")) for name in names if name)

    def __bool__(self) -> bool:
        return bool(self._names)

    def json(self, raw: bytes, texts: Collection[str] = ()) -> str:
        """Return JSON as text, without the values of hidden fields; unchanged without any names.

        `texts` are outermost fields that may quote hidden values: they are hidden as well.
        """
        if not self._names:
            return raw.decode(errors="replace")
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return NOT_SHOWN
        if isinstance(value, dict):
            value |= {name: HIDDEN for name in texts if value.get(name)}
        # Always encoded anew: a repeated name would hide a field from this reader only.
        return orjson.dumps(self._without(value, ())).decode()

    def quoted(self, *raws: bytes) -> tuple[str, ...]:
        """Return the hidden values as they may be quoted in other texts, the longest first.

        Short ones are among them, for `without_quotes` to compare with whole texts.
        """
        found: set[str] = set()
        for raw in raws if self._names else ():
            try:
                value = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            for hidden in self._found(value, ()):
                found.update(_texts(hidden))
                if len(found) > _QUOTED_MAX:
                    break
        return tuple(sorted(filter(None, found), key=len, reverse=True))

    def _hides(self, path: tuple[str, ...]) -> bool:
        return any(path[-len(name) :] == name for name in self._names)

    def _without(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {
                name: HIDDEN if self._hides((*path, name)) else self._without(one, (*path, name))
                for name, one in value.items()
            }
        if isinstance(value, list):
            return [self._without(one, path) for one in value]
        return value

    def _found(self, value: Any, path: tuple[str, ...]) -> Iterator[Any]:
        """Yield the values of the hidden fields."""
        if isinstance(value, dict):
            for name, one in value.items():
                if self._hides((*path, name)):
                    yield one
                else:
                    yield from self._found(one, (*path, name))
        elif isinstance(value, list):
            for one in value:
                yield from self._found(one, path)


def without_quotes(text: str, quoted: Sequence[str]) -> str:
    """Return the text without values that are hidden."""
    if text in quoted:
        return HIDDEN
    for value in quoted:
        if len(value) >= QUOTED_MIN:
            text = text.replace(value, HIDDEN)
    return text


def _texts(value: Any) -> Iterator[str]:
    """Yield a hidden value, and those inside it, as texts."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value
        yield orjson.dumps(value).decode()[1:-1]
    elif value is not None and not isinstance(value, bool):
        yield orjson.dumps(value).decode()
