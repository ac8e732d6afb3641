"""The HTML around each view: head, top bar, navigation, and the place of the content."""

from __future__ import annotations

from typing import NamedTuple

from rdv.analysis.charts.markup import Markup, tag
from rdv.console.page.assets import asset


class View(NamedTuple):
    """One entry of the navigation."""

    path: str
    name: str


VIEWS = (
    View("/", "Now"),
    View("/race", "Race"),
    View("/decisions", "Decisions"),
    View("/whatif", "What if"),
    View("/models", "Models"),
    View("/records", "Records"),
)


def opening(title: str, decision: str, path: str) -> str:
    """Return everything before the content, so that a browser can paint it at once."""
    css, js = asset("page.css"), asset("page.js")
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        tag("title", f"{title} · {decision} · rdv"),
        Markup(f'<link rel="stylesheet" href="{css.path}">'),
        Markup('<link rel="icon" href="data:,">'),
        Markup(f'<script src="{js.path}" defer></script>'),
    )
    links = [
        tag("a", view.name, href=view.path, aria_current="page" if view.path == path else None)
        for view in VIEWS
    ]
    state = tag(
        "p", tag("span", class_="dot", aria_hidden="true"), tag("span", "not live", data_words=""),
        class_="status", hidden="", data_live_state="", role="status",
    )  # fmt: skip
    bar = tag(
        "header",
        tag("a", tag("span", "rdv"), decision, href="/", class_="brand"),
        tag("nav", *links, aria_label="Views"),
        state,
        class_="bar",
    )
    skip = tag("a", "Skip to the content", href="#content", class_="skip")
    return f'<!doctype html>\n<html lang="en">{head}<body>{skip}{bar}<main id="content">'


def closing() -> str:
    """Return everything after the content."""
    return "</main></body></html>\n"
