"""Write XML and HTML that content cannot break."""

from __future__ import annotations

import re
from html import escape

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_VOID = frozenset({"meta", "br", "hr", "input"})


class Markup(str):
    """Text that is already markup. Everything else is escaped."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Return `value` as text of an element or attribute, without characters that XML forbids."""
    return Markup(escape(_FORBIDDEN.sub("\ufffd", value), quote=True))


def tag(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """Return one element; `class_`, `font_size` are `class`, `font-size`; None is left out.

    Numbers are rounded to a hundredth: they are positions in a drawing.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(child if isinstance(child, Markup) else text(child) for child in children)
    if not inner and name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{inner}</{name}>")


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return text(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
