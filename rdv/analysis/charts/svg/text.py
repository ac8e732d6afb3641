"""Text in a drawing: an estimate of its width, and writing it so that it is not clipped."""

from __future__ import annotations

from unicodedata import east_asian_width

from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg.palette import INK, PAPER, SOFT

SIZE = 12.0
_WIDTHS = (
    ("ijl.,:;'|!I ", 0.35), ('ftr()[]{}/-\\"', 0.45), ("mwMWQO@%…", 1.0),
    ("ABCDEFGHJKLNPRSTUVXYZ&_<>+=", 0.8),
)  # fmt: skip
_WIDTH_OF = {char: width for chars, width in _WIDTHS for char in chars}
_USUAL, _WIDE = 0.65, 1.05


def width(text: str, size: float = SIZE) -> float:
    """Return the pixels that a sans-serif text needs at most (DejaVu Sans, one of the widest)."""
    return size * sum(_WIDTH_OF.get(char, _of_other(char)) for char in text)


def _of_other(char: str) -> float:
    return _USUAL if char.isascii() or east_asian_width(char) not in "WF" else _WIDE


def cut(text: str, pixels: float) -> str:
    """Return `text`, or as much of it as fits, with an ellipsis."""
    if width(text) <= pixels:
        return text
    kept = text
    while kept and width(kept + "…") > pixels:
        kept = kept[:-1]
    return kept + "…"


def write(
    text: str,
    x: float,
    y: float,
    *,
    anchor: str = "start",
    most: float | None = None,
    ink: bool = False,
    class_: str | None = None,
    fill: str | None = None,
    weight: str | None = None,
    halo: bool = False,
) -> Markup:
    """Write text at a position, soft unless `ink`, or with a given class and colour.

    `most`: the pixels that there are; a longer text is cut, and its title has the whole of it.
    `halo`: with an edge in the paper's colour, to be readable over lines.
    """
    look: dict[str, str | float | None] = {
        "x": x,
        "y": y,
        "text_anchor": anchor,
        "font_size": SIZE,
        "font_weight": weight,
    }
    shown = text if most is None else cut(text, most)
    title = [] if shown == text else [tag("title", text)]
    colour = fill or (INK if ink else SOFT)
    class_ = class_ or ("ink" if ink else "soft")
    written = tag("text", shown, *title, **look, fill=colour, class_=class_)
    if not halo:
        return written
    # A separate text below, since some viewers do not support paint-order.
    edge: dict[str, str | float] = {"stroke": PAPER, "stroke_width": 4, "stroke_linejoin": "round"}
    below = tag("text", shown, **look, **edge, fill=PAPER, class_="halo", aria_hidden="true")
    return Markup(below + written)
