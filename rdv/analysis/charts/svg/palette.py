"""Colours and dashes of series: every series differs by more than its colour.

Colours: Okabe & Ito, *Color Universal Design* (2008), which colour-blind readers can distinguish.
On a dark page their order changes and blue is lighter (`dark_style`).
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
    """Return the colour written into the drawing; a dark page replaces it by class (s0, f0)."""
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
        f".on-part{{fill:#0b0d10}}.answer{{stroke:{DARK_INK}}}",
    ]
    return "".join(rules)


def readable_on(series: int) -> str:
    """Return black or white, whichever contrasts more with the colour (WCAG relative luminance)."""
    shade = colour(series)
    red, green, blue = (int(shade[n : n + 2], 16) / 255 for n in (1, 3, 5))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "#ffffff" if luminance < 0.18 else "#0b0d10"  # noqa: PLR2004 - equal contrast to both
