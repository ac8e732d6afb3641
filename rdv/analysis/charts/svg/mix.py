"""Draw stacked bars of shares."""

from __future__ import annotations

from rdv.analysis.charts.axis import number as numeral
from rdv.analysis.charts.chart import Mix
from rdv.analysis.charts.markup import Markup, tag
from rdv.analysis.charts.svg import palette
from rdv.analysis.charts.svg.frame import WIDTH, write
from rdv.analysis.charts.svg.palette import cut, width
from rdv.analysis.charts.svg.plot import svg

_BAR = 26.0
_STEP = 38.0
_LABEL_MAX = 130.0


def draw_mix(mix: Mix, number: int = 1) -> Markup:
    """Return one `<svg>`: a bar for each row, its parts in order, shares where there is room."""
    parts, y = _legend(mix)
    left = 10 + min(_LABEL_MAX, max((width(label) for label, _ in mix.rows), default=0.0))
    for label, shares in mix.shares():
        parts.append(
            write(cut(label, _LABEL_MAX), left - 8, y + _BAR / 2 + 4, anchor="end", ink=True)
        )
        parts += _bar(mix, label, shares, left, y)
        if not any(shares):
            parts.append(write("nothing", left + 4, y + _BAR / 2 + 4))
        y += _STEP
    for share, anchor in (
        (0.0, "start"),
        (0.25, "middle"),
        (0.5, "middle"),
        (0.75, "middle"),
        (1.0, "end"),
    ):
        x = left + share * (WIDTH - 20 - left)
        parts.append(write(f"{share * 100:.0f} %", x, y + 6, anchor=anchor))
    return svg(mix.title, mix.note, y + 14, parts, number)


def _bar(mix: Mix, label: str, shares: list[float], left: float, y: float) -> list[Markup]:
    drawn: list[Markup] = []
    full, x = WIDTH - 20 - left, left
    for n, share in enumerate(shares):
        wide = share * full
        if wide <= 0:
            continue
        percent = f"{numeral(share * 100, 3)} %"
        drawn.append(
            tag(
                "rect",
                tag("title", f"{label}, {mix.parts[n]}: {percent}"),
                x=x,
                y=y,
                width=wide,
                height=_BAR,
                fill=palette.colour(n),
                stroke=palette.PAPER,
                stroke_width=1,
                class_=f"{palette.fill_class(n)} gap",
            )
        )
        if width(percent) + 6 <= wide:
            drawn.append(
                write(
                    percent,
                    x + wide / 2,
                    y + _BAR / 2 + 4.5,
                    anchor="middle",
                    class_="on-part",
                    fill=_readable(n),
                    weight="600",
                )
            )
        x += wide
    return drawn


def _legend(mix: Mix) -> tuple[list[Markup], float]:
    drawn: list[Markup] = []
    x, y = 4.0, 14.0
    for n, part in enumerate(mix.parts):
        name = cut(part, _LABEL_MAX)
        wide = 18 + width(name) + 18
        if x + wide > WIDTH and x > 4:  # noqa: PLR2004 - not the first of a row
            x, y = 4.0, y + 20
        drawn.append(
            tag(
                "rect",
                x=x,
                y=y - 10,
                width=12,
                height=12,
                fill=palette.colour(n),
                class_=palette.fill_class(n),
            )
        )
        drawn.append(write(name, x + 18, y, ink=True))
        x += wide
    return drawn, y + 16


def _readable(series: int) -> str:
    """Return black or white, whichever contrasts with the part's colour (WCAG relative
    luminance).
    """
    shade = palette.colour(series)
    red, green, blue = (int(shade[n : n + 2], 16) / 255 for n in (1, 3, 5))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return "#ffffff" if luminance < 0.18 else "#0b0d10"  # noqa: PLR2004 - equal contrast to both
