"""Small pieces of HTML that several views use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from rdv.analysis.charts.markup import Markup, tag
from rdv.console.page.latest import LastRequests

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHOWN_MAX = 160
"""The maximum number of characters of data in a cell of a table."""


def when(time_ns: int) -> str:
    """Return `2026-05-01 12:30:00.123 UTC`."""
    return f"{_moment(time_ns):%Y-%m-%d %H:%M:%S}.{time_ns // 1_000_000 % 1000:03d} UTC"


def iso(time_ns: int) -> str:
    """Return a time as `--since` reads it, to the millisecond."""
    return f"{_moment(time_ns):%Y-%m-%dT%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}Z"


def clock_time(time_ns: int) -> Markup:
    """Return the time of day, with the whole time for who points at it."""
    text = f"{_moment(time_ns):%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}"
    return tag("time", text, datetime=iso(time_ns), title=when(time_ns))


def _moment(time_ns: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return _EPOCH


def kind_mark(kind: str, text: str = "") -> Markup:
    """Return the kind of an answer with its sign, which differs in form and colour."""
    return tag("span", text or kind or "no result", class_=f"kind {kind}")


def link(text: str, path: str, query: Mapping[str, str] | None = None) -> Markup:
    """Return a link; parameters without a value are left out."""
    return tag("a", text, href=address(path, query))


def address(path: str, query: Mapping[str, str] | None = None) -> str:
    text = urlencode({name: value for name, value in (query or {}).items() if value})
    return f"{path}?{text}" if text else path


def decision_link(id_: str, text: str = "") -> Markup:
    return tag("a", text or short_id(id_), href=decision_path(id_), class_="mono nowrap")


def decision_path(id_: str) -> str:
    return f"/decisions/{quote(id_, safe='')}"


def short_id(id_: str) -> str:
    return id_ if len(id_) <= 16 else f"{id_[:8]}…{id_[-6:]}"  # noqa: PLR2004 - both ends


def short(text: str, most: int = SHOWN_MAX) -> str:
    """Return at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut_cell(text: str, most: int = SHOWN_MAX) -> Markup:
    """Return a long text on one line of a table."""
    return tag("span", short(text, most), class_="cut mono", title=short(text, 2_000))


def field(label: str, name: str, value: str = "", **attributes: str | None) -> Markup:
    """Return a text field with its label."""
    more = {"type": "text", **attributes}
    return tag("label", label, tag("input", name=name, value=value, **more))


def choice(label: str, name: str, options: Sequence[tuple[str, str]], chosen: str) -> Markup:
    """Return a list to choose from; options are (value, text)."""
    items = [
        tag("option", text, value=value, selected="" if value == chosen else None)
        for value, text in options
    ]
    return tag("label", label, tag("select", *items, name=name))


def check(label: str, name: str, *, is_on: bool) -> Markup:
    """Return a box to tick."""
    box = tag("input", type="checkbox", name=name, value="1", checked="" if is_on else None)
    return tag("label", box, label, class_="check")


def hidden_field(name: str, value: str) -> Markup:
    return tag("input", type="hidden", name=name, value=value)


def button(text: str, **attributes: str | None) -> Markup:
    return tag("button", text, **{"type": "submit", **attributes})


def form(action: str, *inner: Markup, method: str = "get", **attributes: str | None) -> Markup:
    """Return a form on one line, or more on a narrow screen."""
    more = {"class_": "tools", **attributes}
    return tag("form", *inner, action=action, method=method, **more)


def facts(items: Sequence[tuple[str, str | Markup]]) -> Markup:
    """Return a list of names and values."""
    rows = [Markup(tag("dt", name) + tag("dd", value)) for name, value in items]
    return tag("dl", *rows, class_="facts")


def code(text: str, label: str) -> Markup:
    """Return text that is meant to be copied, such as a command."""
    return tag("pre", text, tabindex="0", role="region", aria_label=label)


def row(*items: Markup) -> Markup:
    """Return links or buttons side by side."""
    return tag("div", *items, class_="pager")


def span_of(last: LastRequests) -> str:
    """Return from when to when the requests are."""
    times_ns = last.joined.append_ns
    return f"{when(int(times_ns.min()))} to {when(int(times_ns.max()))}"
