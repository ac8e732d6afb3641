"""Implement `rdv tail`, which shows records as a table, as JSON lines, or unchanged."""

from __future__ import annotations

import base64
import select
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, TextIO

import orjson
import typer

from rdv.commands.errors import InvalidOption
from rdv.commands.exits import PipeClosedError
from rdv.commands.options import Partition, PathOrTopic, span_ns
from rdv.commands.terminal import fit, is_terminal, paint, printable, width
from rdv.commands.units import iso_time, local_time
from rdv.rendezvous.messages import one_line
from rdv.stream import Record

EXAMPLES = (
    "rdv tail fraud/results",
    "rdv tail -f fraud/input:requests",
    "rdv tail fraud/scores --since 10m --format json | jq .value.model",
    "rdv tail fraud/input:requests --partition 0 --offset 1200 -n 1 --format raw",
)


def tail(
    address: PathOrTopic,
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Continue with new records, and with new topics of a bare PATH."
        ),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--lines",
            metavar="N",
            help="How many: the last N, or with --offset the first N. Default: 10; with --since "
            "or --offset all.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only records from this time on: 10m (ago), yesterday, 11:37 or an ISO time.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only records appended before this time, as --since."),
    ] = None,
    offset: Annotated[
        int | None,
        typer.Option(
            metavar="OFFSET", help="Only records from this offset on, in every partition."
        ),
    ] = None,
    partition: Partition = None,
    format_: Annotated[
        Literal["table", "json", "raw"] | None,
        typer.Option(
            "--format",
            envvar="RDV_FORMAT",
            help="table; json: an object a line, which embeds a value that is JSON; raw: the "
            "values as they are. Default: table on a terminal, else json.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Show the newest records of a stream, and follow.

    Records of several partitions are shown in the order of their append times. A time without a
    zone is UTC. With -f it ends on Ctrl-C; records that retention deletes before they were read are
    reported on stderr; damaged ones end it.
    """
    from rdv.commands.opening import open_files, places_of, read_target
    from rdv.stream.window import Window, follow_on, read_window, window_of

    if count is not None and count < 0:
        raise InvalidOption("-n", "is 0 or more")
    if follow and until is not None:
        raise InvalidOption("--until", "does not go with --follow")
    if since is not None and offset is not None:
        raise InvalidOption("--offset", "does not go with --since")
    target = read_target(address)
    chosen = "json" if as_json else format_ or ("table" if is_terminal(sys.stdout) else "json")
    with open_files(target, look=True) as stream:
        window = Window(count, *span_ns(since, until), offset)
        ranges = window_of(stream, places_of(stream, target, partition), window)
        renderer = make_renderer(chosen, [place.topic for place in ranges])
        renderer.show(read_window(stream, ranges, window, _note))
        if follow:
            for records in follow_on(stream, target.topic, partition, ranges, _note):
                if records:
                    renderer.show([records])
                elif is_reader_gone(sys.stdout):
                    raise PipeClosedError


def _note(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


_TIME_COLUMNS = 29
_OFFSET_COLUMNS = 8
_TOPIC_COLUMNS_MAX = 32


class Renderer:
    """Write batches of records to stdout, each batch at once."""

    def __init__(self, dump: Callable[[Record], bytes], head: bytes = b"") -> None:
        self._dump = dump
        self._head = head

    def show(self, batches: Iterable[Sequence[Record]]) -> None:
        """Write the records and flush, even if the batches end with an error."""
        out = sys.stdout.buffer
        try:
            if self._head:
                out.write(self._head)
                self._head = b""
            for records in batches:
                out.write(b"".join(map(self._dump, records)))
        finally:
            out.flush()


def make_renderer(kind: str, topics: Sequence[str]) -> Renderer:
    """Return a renderer for `table`, `json` or `raw`; `topics` set the width of their column."""
    if kind == "raw":
        return Renderer(lambda record: record.value)
    if kind == "json":
        return Renderer(json_line)
    return _table(topics)


def json_line(record: Record) -> bytes:
    """Return one line of JSON; a value that is JSON is embedded unchanged."""
    return orjson.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp_ns": record.timestamp_ns,
            "time": iso_time(record.timestamp_ns),
            "value": json_value(record.value),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def json_value(value: bytes) -> Any:
    """Return JSON unchanged, other text as a string, and other bytes as {"base64": …}."""
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return orjson.Fragment(one_line(value.strip()))  # it may span several lines


def _table(topics: Sequence[str]) -> Renderer:
    topic_columns = min(max((len(name) for name in topics), default=5), _TOPIC_COLUMNS_MAX)
    topic_columns = max(topic_columns, len("TOPIC"))
    is_wide = not is_terminal(sys.stdout)

    def dump(record: Record) -> bytes:
        topic = fit(record.topic, topic_columns).ljust(topic_columns)
        place = f"{topic}  {record.partition:>4}  {record.offset:>{_OFFSET_COLUMNS}}  "
        text = printable(record.value.decode("utf-8", "backslashreplace").rstrip("\r\n"))
        if not is_wide:
            text = fit(text, max(1, width() - _TIME_COLUMNS - 2 - len(place)))
        time_text = paint(local_time(record.timestamp_ns).ljust(_TIME_COLUMNS), "dim", sys.stdout)
        return f"{time_text}  {place}{text}\n".encode()

    head = (
        f"{'TIME'.ljust(_TIME_COLUMNS)}  {'TOPIC'.ljust(topic_columns)}  PART  "
        f"{'OFFSET':>{_OFFSET_COLUMNS}}  VALUE"
    )
    return Renderer(dump, (paint(head, "bold", sys.stdout) + "\n").encode())


def is_reader_gone(stream: TextIO) -> bool:
    """Return whether the reader of our output pipe has closed it."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
