"""Define colours, dashes and shapes: every series differs by more than its colour.

Colours: Okabe & Ito, *Color Universal Design* (2008), which colour-blind readers can distinguish.
On a dark page their order changes and blue is lighter; see `STYLE`.

Estimate the width of text, to leave room for it.
"""

from __future__ import annotations

LIGHT = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6B6B6B", "#8C7A00",
)  # fmt: skip
DARK = (
    "#56B4E9", "#FF8A3D", "#2FC99B", "#E39AC2", "#E69F00", "#7FA6FF", "#A8A8A8", "#F0E442",
)  # fmt: skip
DASHES = (None, "7 3", "2 3", "9 3 2 3", "12 4", "4 2", "1 4", "14 3 2 3 2 3")
INK, SOFT, GRID, PAPER = "#1b1f24", "#59636e", "#dfe3e8", "#ffffff"
DARK_INK, DARK_SOFT, DARK_GRID, DARK_PAPER = "#e6edf3", "#9aa5b1", "#30363d", "#14181d"


def colour(series: int) -> str:
    """Return the colour written into the drawing; a page's style may change it by the classes s0…,
    f0…
    """
    return LIGHT[series % len(LIGHT)]


def dash(series: int) -> str | None:
    return DASHES[series % len(DASHES)]


def stroke_class(series: int) -> str:
    return f"s{series % len(LIGHT)}"


def fill_class(series: int) -> str:
    return f"f{series % len(LIGHT)}"


def dark_style() -> str:
    """Return the rules by which a dark page changes a drawing made for a light one."""
    rules = [f".s{n}{{stroke:{shade}}}.f{n}{{fill:{shade}}}" for n, shade in enumerate(DARK)]
    rules += [
        f".ink{{fill:{DARK_INK}}}.soft{{fill:{DARK_SOFT}}}.grid{{stroke:{DARK_GRID}}}",
        f".frame{{stroke:{DARK_SOFT}}}.guide{{stroke:{DARK_SOFT}}}.gap,.halo{{stroke:{DARK_PAPER}}}.halo{{fill:{DARK_PAPER}}}",
        ".on-part{fill:#0b0d10}",
    ]
    return "".join(rules)


SIZE = 12.0
_NARROW = frozenset("iljtfrI.,:;'|!()[] -")
_WIDE = frozenset("mwMW%@")


def width(text: str, size: float = SIZE) -> float:
    """Return the pixels of a sans-serif text, a little more than it will need."""
    units = sum(0.36 if c in _NARROW else 0.9 if c in _WIDE else 0.58 for c in text)
    return units * size


def cut(text: str, pixels: float, size: float = SIZE) -> str:
    """Return `text`, or as much of it as fits with an ellipsis."""
    if width(text, size) <= pixels:
        return text
    kept = text
    while kept and width(kept + "…", size) > pixels:
        kept = kept[:-1]
    return kept + "…"
