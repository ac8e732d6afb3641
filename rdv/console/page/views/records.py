"""Records: the end of any stream, filtered; consumer groups with their lag; sizes and retention."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rdv.analysis.charts import Figure, Report
from rdv.analysis.charts.markup import Markup, tag
from rdv.console.page import parts
from rdv.console.page.errors import StreamUnknown
from rdv.console.page.hidden import Hider
from rdv.console.page.site import Site
from rdv.errors import RdvError
from rdv.named_times import bound_of
from rdv.stream import Record, TopicPartition, open_stream
from rdv.stream.errors import RecordsDamaged
from rdv.stream.files import FileStream, files_of, is_stream
from rdv.stream.window import Window, read_window, window_of

NAMES = ("input", "scores", "results", "outcomes", "control")
SHOWN_MAX = 100
LOOKED_MAX = 20_000
"""How many of the last records are searched for a text."""
VALUE_MAX = 400
PARTITIONS_SHOWN = 200
TEXTS = {
    "input": ("key", "invalid", "x_request_id", "idempotency"),
    "scores": ("result", "error", "detail"),
    "results": ("result", "reason"),
    "control": ("message", "last_line"),
}
"""By stream, the fields that may quote the data of requests. They are not shown while fields are
hidden: the request that would tell what they quote is in another stream."""
_KB = 1_000
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Wanted:
    """Which records are shown."""

    stream: str = "results"
    topic: str = ""
    text: str = ""
    until: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        return cls(
            query.get("stream", "results"),
            query.get("topic", ""),
            query.get("text", "").strip(),
            query.get("until", "").strip(),
        )


def records_view(site: Site, wanted: Wanted) -> Report:
    """Return the view. Raises StreamUnknown, InvalidQuantity, the log's faults."""
    names = [name for name in NAMES if is_stream(os.path.join(site.directory, name))]
    report = Report("Records", "What is in the log, newest first")
    if not names:
        report.paragraphs(["The decision has no streams yet: it was never served."])
        return report
    if wanted.stream not in names:
        if wanted.stream not in NAMES:
            raise StreamUnknown(wanted.stream, ", ".join(names))
        wanted = Wanted(names[0])
    path = os.path.join(site.directory, wanted.stream)
    hider = site.hider(site.decision())
    with files_of(open_stream(path, look=True)) as stream:
        topics = stream.topics()
        report.add(_form(wanted, names, topics))
        _add_records(report, stream, wanted, topics, site, hider)
        report.heading("Groups and lag")
        _add_groups(report, stream)
        report.heading("Sizes and retention")
        _add_sizes(report, stream, topics)
    report.add(parts.code(f"rdv tail {site.folder}/{wanted.stream} -f", "The same in a terminal"))
    return report


def _form(wanted: Wanted, names: list[str], topics: list[str]) -> Markup:
    chosen = [("", "all"), *((topic, topic) for topic in topics)]
    return parts.form(
        "/records",
        parts.choice("Stream", "stream", [(name, name) for name in names], wanted.stream),
        parts.choice("Topic", "topic", chosen, wanted.topic),
        parts.field("With this text", "text", wanted.text, autocomplete="off"),
        parts.field("Before (UTC)", "until", wanted.until, placeholder="11:37, 10m, 2026-05-01"),
        parts.button("Show", class_="main"),
        role="search",
    )


def _add_records(
    report: Report, stream: FileStream, wanted: Wanted, topics: list[str], site: Site, hider: Hider
) -> None:
    places = [
        TopicPartition(topic, number)
        for topic in topics
        if wanted.topic in ("", topic)
        for number in range(stream.partitions(topic))
    ]
    until_ns = bound_of(wanted.until, site.now_ns()).time_ns if wanted.until else None
    lost: list[str] = []
    found = _last(stream, places, wanted, until_ns, hider, lost)
    columns = ["time (UTC)", "topic", "partition", "offset", "value"]
    rows: list[list[object]] = [
        [
            parts.clock_time(record.timestamp_ns),
            record.topic,
            Figure(str(record.partition)),
            Figure(str(record.offset)),
            tag("span", parts.short(text, VALUE_MAX), class_="mono"),
        ]
        for record, text in found
    ]
    if rows:
        report.table(columns, rows, full=True)
    else:
        report.paragraphs(["No record was found."])
    report.bullets(lost)


def _last(
    stream: FileStream, places: list[TopicPartition], wanted: Wanted, until_ns: int | None,
    hider: Hider, lost: list[str],
) -> list[tuple[Record, str]]:  # fmt: skip
    """Return the last records with the text, the newest first, as they may be shown.

    What is hidden cannot be searched for either.
    """
    count = LOOKED_MAX if wanted.text else SHOWN_MAX
    window = Window(count, until_ns=until_ns)
    found: list[tuple[Record, str]] = []
    for record in _read(stream, places, window, lost):
        text = hider.json(record.value.strip(), TEXTS.get(wanted.stream, ()))
        if wanted.text in text:
            found.append((record, text))
    return found[::-1][:SHOWN_MAX]


def _read(
    stream: FileStream, places: list[TopicPartition], window: Window, lost: list[str]
) -> Iterator[Record]:
    ranges = window_of(stream, places, window)
    try:
        for batch in read_window(stream, ranges, window, lost.append):
            yield from batch
    except RecordsDamaged as error:
        lost.append(error.text())


def _add_groups(report: Report, stream: FileStream) -> None:
    rows: list[list[object]] = []
    for name in stream.groups():
        try:
            state, lag = stream.group_state(name), stream.lag(name)
            absent = stream.absent_members(name)
        except RdvError as error:
            rows.append([name, error.text(), None])
            continue
        for member in sorted(state.members) or [""]:
            held = state.held_by(member) if member else {}
            own = sum(lag.get(place, 0) for place in held) if member else sum(lag.values())
            words = f"{member} (gone)" if member in absent else member or "no member"
            rows.append([name, words, own])
    if rows:
        report.table(["group", "member", "records behind"], rows)
    else:
        report.paragraphs(["No group reads this stream: the decision's own processes need none."])


def _add_sizes(report: Report, stream: FileStream, topics: list[str]) -> None:
    places = [(t, n) for t in topics for n in range(stream.partitions(t))]
    rows: list[list[object]] = []
    total = 0
    for topic, number in places[:PARTITIONS_SHOWN]:
        begin, end = stream.begin(topic, number), stream.end(topic, number)
        size = stream.size_bytes(topic, number)
        total += size
        rows.append([topic, Figure(str(number)), end - begin, Figure(str(begin)),
                     Figure(str(end)), Figure(_size(size))])  # fmt: skip
    kept_ms = stream.config.retention_ms
    kept = "for ever" if kept_ms is None else f"for {kept_ms / _DAY_MS:.3g} days"
    report.paragraphs([f"{_size(total)} on disk; records are kept {kept}."])
    report.table(["topic", "partition", "records", "from offset", "to", "on disk"], rows)


def _size(count: int) -> str:
    """Return `12.3 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < _KB:
            return f"{size:.3g} {unit}"
        size /= _KB
    return f"{size:.3g} TB"
